"""The tensors of the authors' published network."""

from __future__ import annotations

from vad_jax.types import Published


def published(config) -> Published:
    """Where each tensor of the authors' state dict lies in our variables.

    `encoder.moduleBatchNorm.*` is in their network but no path reaches it: it gets no gradient,
    and never moves: it is dropped. The items lie in a file of their own.
    """
    halves = {
        "encoder": {f"moduleConv{i}": f"block{i}" for i in (1, 2, 3, 4)},
        "decoder": {
            "moduleConv": "block4",
            **{f"moduleUpsample{i}": f"up{i - 1}" for i in (4, 3, 2)},
            **{f"moduleDeconv{i}": f"block{i}" for i in (3, 2, 1)},
        },
    }
    layers = {}  # their layer → ours, and what it is
    for half, blocks in halves.items():
        for theirs, ours in blocks.items():
            there, here = f"{half}.{theirs}", f"{half}/{ours}"
            if "Upsample" in theirs:
                layers |= {
                    f"{there}.0": (f"{here}/conv", "upsample"),
                    f"{there}.1": (f"{here}/norm", "norm"),
                }
                continue
            for i, index in ((1, 0), (2, 3)):
                layers[f"{there}.{index}"] = (f"{here}/conv{i}", "conv")
                if not (half == "encoder" and ours == "block4" and i == 2):
                    layers[f"{there}.{index + 1}"] = (f"{here}/norm{i}", "norm")
    layers["decoder.moduleDeconv1.6"] = ("decoder/out", "conv")
    values, dead = {}, []
    for there, (here, kind) in layers.items():
        if kind == "norm":
            values[f"{there}.weight"] = (f"params/{here}/scale", "plain")
            values[f"{there}.bias"] = (f"params/{here}/bias", "plain")
            values[f"{there}.running_mean"] = (f"state/batch_stats/{here}/mean", "plain")
            values[f"{there}.running_var"] = (f"state/batch_stats/{here}/var", "plain")
            dead.append(f"{there}.num_batches_tracked")
        else:
            values[f"{there}.weight"] = (f"params/{here}/kernel", kind)
            values[f"{there}.bias"] = (f"params/{here}/bias", "plain")
    unused = "encoder.moduleBatchNorm"
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    dead += [f"{unused}.{name}" for name in names]
    memory = "state/memory" if config.memory["items"] else None
    return Published(values, tuple(dead), memory=memory)
