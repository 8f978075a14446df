"""The U-Net of the future-frame line of work (Liu et al. 2018; MNAD; MPN), in two halves.

Height and width are halved three times. With w the width, the levels have w, 2w, 4w and 8w
channels. Block and layer names give the paths that `trainable` and the published names refer to.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vad_jax.nets.conv import Conv, ConvApart, UpsampleConvApart, max_pool
from vad_jax.nets.norm import BatchNorm


class Block(nn.Module):
    """Two convolutions, each followed by BatchNorm and ReLU; `open_end` leaves the second bare."""

    features: int
    open_end: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        for i in (1, 2):
            if i == 2 and self.open_end:
                return Conv(self.features, self.dtype, name="conv2")(x)
            x, bias = ConvApart(self.features, self.dtype, name=f"conv{i}")(x)
            x = jax.nn.relu(BatchNorm(name=f"norm{i}")(x, mask, train=train, shift=bias))
        return x


class Upsample(nn.Module):
    """Transposed convolution, BatchNorm, ReLU: twice the height and width."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        x, bias = UpsampleConvApart(self.features, self.dtype, name="conv")(x)
        return jax.nn.relu(BatchNorm(name="norm")(x, mask, train=train, shift=bias))


class Encoder(nn.Module):
    """Frames `[B, H, W, T·C]` to features `[B, H/8, W/8, 8w]` and the three skips above them."""

    width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x, mask, *, train):
        skips = []
        for level, factor in enumerate((1, 2, 4), start=1):
            block = Block(factor * self.width, dtype=self.dtype, name=f"block{level}")
            x = block(x, mask, train=train)
            skips.append(x)
            x = max_pool(x)
        last = Block(8 * self.width, open_end=True, dtype=self.dtype, name="block4")
        return last(x, mask, train=train), tuple(skips)


class Decoder(nn.Module):
    """Features `[B, H/8, W/8, any]` to a frame `[B, H, W, C]` in -1..1.

    Without skips the transposed convolutions are twice as wide, so that the blocks behind them
    see the same number of channels.
    """

    width: int
    channels: int
    skips: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x, skips, mask, *, train):
        x = Block(8 * self.width, dtype=self.dtype, name="block4")(x, mask, train=train)
        for level, factor in ((3, 4), (2, 2), (1, 1)):
            features = factor * self.width * (1 if self.skips else 2)
            x = Upsample(features, self.dtype, name=f"up{level}")(x, mask, train=train)
            if self.skips:
                x = jnp.concatenate([skips[level - 1], x], axis=-1)
            block = Block(factor * self.width, dtype=self.dtype, name=f"block{level}")
            x = block(x, mask, train=train)
        return jnp.tanh(Conv(self.channels, self.dtype, name="out")(x))
