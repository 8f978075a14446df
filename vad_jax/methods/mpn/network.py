"""The network of MPN, halved at the plug, and its parameters in two parts, θ and the rest.

θ, the unit and all behind it, is what is adapted to a scene. M prototypes, C channels of the map.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from vad_jax.nets import unet
from vad_jax.nets.conv import torch_uniform

# Where the unit stands → the decoder's levels behind it; at 1/8 it takes the encoder's output.
_BEHIND = {"1/1": (1,), "1/2": (2, 1), "1/4": (3, 2, 1), "1/8": (4, 3, 2, 1)}
_CHANNELS = {"1/1": 2, "1/2": 4, "1/4": 8, "1/8": 8}  # of the map there, times the width
PLUGS = tuple(_BEHIND)


class Attention(nn.Module):
    """The weights `[C, M]` of the linear layer that attends to the map."""

    prototypes: int
    scale: float

    @nn.compact
    def __call__(self, channels: int):
        def init(key, shape, dtype=float):
            return self.scale * torch_uniform(channels)(key, shape, dtype)

        return self.param("kernel", init, (channels, self.prototypes))


class Network(nn.Module):
    """The U-Net without BatchNorm, in two halves that meet at the plug, and the unit's weights."""

    width: int
    channels: int
    plug: str
    prototypes: int
    scale: float
    dtype: Any = None

    def setup(self):
        self.encoder = unet.Encoder(self.width, norm=False, dtype=self.dtype)
        self.decoder = unet.Decoder(self.width, self.channels, norm=False, dtype=self.dtype)
        if self.prototypes:
            self.prototype = Attention(self.prototypes, self.scale)

    def before(self, x):
        """The map at the plug, and the skips that what is behind it needs."""
        behind = _BEHIND[self.plug]
        x, skips = self.encoder(x, None, train=False)
        levels = tuple(level for level in unet.LEVELS if level not in behind)
        x = self.decoder(x, skips, None, train=False, levels=levels)
        return x, skips[: len(behind) - 1]

    def behind(self, x, skips):
        """The frame."""
        return self.decoder(x, skips, None, train=False, levels=_BEHIND[self.plug])

    def attention(self):
        return self.prototype(_CHANNELS[self.plug] * self.width)

    def __call__(self, x):
        x, skips = self.before(x)
        if self.prototypes:
            self.attention()
        return self.behind(x, skips)


def adapted(plug: str) -> tuple[str, ...]:
    """The names of the decoder's parts behind a plug: θ, but for the unit."""
    behind = _BEHIND[plug]
    up = (f"up{level - 1}" for level in behind if level > 1)
    return (*(f"block{level}" for level in behind), *up, "out")


def split(params: Any, *, plug: str) -> tuple[Any, Any]:
    """θ and the rest, both in the nesting of the parameters.

    Args:
      params: of `Network`, with or without the unit's.
      plug: where the unit stands.
    """
    decoder, behind = params["decoder"], adapted(plug)
    theta = {"decoder": {name: decoder[name] for name in decoder if name in behind}}
    rest = {name: decoder[name] for name in decoder if name not in behind}
    if "prototype" in params:
        theta["prototype"] = params["prototype"]
    return theta, {"encoder": params["encoder"]} | ({"decoder": rest} if rest else {})


def joined(theta: Any, rest: Any) -> Any:
    """The parameters that `split` took apart."""
    return {**rest, **theta, "decoder": {**rest.get("decoder", {}), **theta["decoder"]}}
