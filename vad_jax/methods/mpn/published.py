"""The tensors of the authors' published network."""

from __future__ import annotations

from vad_jax.methods.mpn.network import adapted
from vad_jax.types import Published


def published(config) -> Published:
    """Where each tensor of the authors' state dict lies in our variables; θ's have step sizes."""
    blocks = {
        "encoder.moduleConv1": "encoder/block1",
        "encoder.moduleConv2": "encoder/block2",
        "encoder.moduleConv3": "encoder/block3",
        "encoder.moduleConv4": "encoder/block4",
        "decoder.moduleConv": "decoder/block4",
        "decoder.moduleDeconv3": "decoder/block3",
        "decoder.moduleDeconv2": "decoder/block2",
        "ohead": "decoder/block1",
    }
    layers = {}
    for theirs, ours in blocks.items():
        for i, index in ((1, 0), (2, 2)):
            layers[f"{theirs}.{index}"] = (f"{ours}/conv{i}", "conv")
    for level in (3, 2, 1):
        layers[f"decoder.moduleUpsample{level + 1}.0"] = (f"decoder/up{level}/conv", "upsample")
    layers["ohead.4"] = ("decoder/out", "conv")
    values = {}
    for theirs, (ours, kind) in layers.items():
        values[f"{theirs}.weight"] = (f"params/{ours}/kernel", kind)
        values[f"{theirs}.bias"] = (f"params/{ours}/bias", "plain")
    if config.prototypes:
        values["prototype.Mheads.weight"] = ("params/prototype/kernel", "linear")
    theta = ["prototype", *(f"decoder/{part}" for part in adapted(config.plug))]
    theta = tuple(f"params/{part}/" for part in theta)
    step_sizes = tuple(name for name, (path, _) in values.items() if path.startswith(theta))
    return Published(values, step_sizes=step_sizes)
