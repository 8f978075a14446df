"""The U-Net of the future-frame line of work (Liu et al. 2018; MNAD; MPN), in two halves.

Height and width are halved three times. With w the width, the levels have w, 2w, 4w and 8w
channels. Block and layer names give the paths that `trainable` and the published names refer to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vad_jax.nets.conv import Conv, ConvApart, UpsampleConvApart, max_pool, with_bias
from vad_jax.nets.norm import BatchNorm

LEVELS = (4, 3, 2, 1)  # of the decoder, in its order


class Block(nn.Module):
    """Two convolutions, each followed by BatchNorm (if `norm`) and ReLU.

    `open_end` leaves the second bare.
    """

    features: int
    norm: bool = True
    open_end: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        for i in (1, 2):
            if i == 2 and self.open_end:
                return Conv(self.features, self.dtype, name="conv2")(x)
            if not self.norm:
                x = jax.nn.relu(Conv(self.features, self.dtype, name=f"conv{i}")(x))
                continue
            x, bias = ConvApart(self.features, self.dtype, name=f"conv{i}")(x)
            x = jax.nn.relu(BatchNorm(name=f"norm{i}")(x, mask, train=train, shift=bias))
        return x


class Upsample(nn.Module):
    """Transposed convolution, BatchNorm (if `norm`), ReLU: twice the height and width."""

    features: int
    norm: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        x, bias = UpsampleConvApart(self.features, self.dtype, name="conv")(x)
        if not self.norm:
            return jax.nn.relu(with_bias(x, bias))
        return jax.nn.relu(BatchNorm(name="norm")(x, mask, train=train, shift=bias))


class Encoder(nn.Module):
    """Frames `[B, H, W, T·C]` to features `[B, H/8, W/8, 8w]` and the three skips above them."""

    width: int
    norm: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        skips = []
        for level, factor in enumerate((1, 2, 4), start=1):
            block = Block(factor * self.width, self.norm, dtype=self.dtype, name=f"block{level}")
            x = block(x, mask, train=train)
            skips.append(x)
            x = max_pool(x)
        last = Block(8 * self.width, self.norm, open_end=True, dtype=self.dtype, name="block4")
        return last(x, mask, train=train), tuple(skips)


class Decoder(nn.Module):
    """Features `[B, H/8, W/8, any]` to a frame `[B, H, W, C]` in -1..1.

    A level is a block and the way up to the next one, skip included; level 1 ends with the frame.
    With only some `levels` a call takes and gives the map between two of them, so that what a
    method does there stands in the method.

    Without skips the transposed convolutions are twice as wide, so that the blocks behind them
    see the same number of channels.
    """

    width: int
    channels: int
    skips: bool = True
    norm: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x, skips, mask, *, train, levels: Sequence[int] = LEVELS):
        for level in levels:
            features = 2 ** (level - 1) * self.width
            block = Block(features, self.norm, dtype=self.dtype, name=f"block{level}")
            x = block(x, mask, train=train)
            if level == 1:
                return jnp.tanh(Conv(self.channels, self.dtype, name="out")(x))
            above = features // 2 * (1 if self.skips else 2)
            up = Upsample(above, self.norm, self.dtype, name=f"up{level - 1}")
            x = up(x, mask, train=train)
            if self.skips:
                x = jnp.concatenate([skips[level - 2], x], axis=-1)
        return x
