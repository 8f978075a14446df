"""The network of MNAD: a U-Net in two halves, between which the memory stands."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vad_jax.nets import unet


class Network(nn.Module):
    """Encoder and decoder; the memory stands between them, in `model.Model`."""

    width: int
    channels: int
    skips: bool
    items: int
    dtype: Any = None

    def setup(self):
        self.encoder = unet.Encoder(self.width, dtype=self.dtype)
        self.decoder = unet.Decoder(self.width, self.channels, self.skips, dtype=self.dtype)

    def encode(self, x, mask, *, train):
        return self.encoder(x, mask, train=train)

    def decode(self, code, skips, mask, *, train):
        return self.decoder(code, skips, mask, train=train)

    def __call__(self, x, mask, *, train):
        features, skips = self.encode(x, mask, train=train)
        code = jnp.concatenate([features] * (2 if self.items else 1), axis=-1)
        return self.decode(code, skips, mask, train=train)
