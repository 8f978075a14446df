"""Makes a run of published tensors: what PyTorch trained is scored and evaluated here.

    python -m vad_jax.convert --config=configs/mnad.py:ped2 --config.data.root=PED2
        --tensors=state_dict.npz [--memory=items.npz] --workdir=runs/published

The training videos that the config names are read once: the statistics of normal clips, which the
protocol `online` needs, are measured on them. Then `vad_jax.evaluate` and `vad_jax.score` take the
workdir like any other.
"""

from __future__ import annotations

import logging
from pathlib import Path

from absl import flags

from vad_jax import cli

log = logging.getLogger("vad_jax.convert")  # __name__ is `__main__` in a command


def convert(
    config, tensors: str | Path, workdir: str | Path, *, memory: str | Path | None = None
) -> None:
    """Writes a finished run whose variables are a published state dict.

    Args:
      config: of the method, size and data.
      tensors: state dict, see `interop.files.read`.
      workdir: made; refused if it holds another run.
      memory: items `[M, C]`, see `interop.files.read_memory`; without them those of a fresh start.

    Raises:
      VadError: bad config or data, tensors that do not fit, a workdir of another run.
    """
    import vad_jax
    from vad_jax import config as configs
    from vad_jax.data import splits
    from vad_jax.interop import files
    from vad_jax.interop import torch as names
    from vad_jax.learning import loop
    from vad_jax.learning import workdir as workdirs

    config, workdir = configs.complete(config), Path(workdir)
    items = None if memory is None else files.read_memory(memory)
    variables = names.variables(config, files.read(tensors), memory=items)
    method = vad_jax.create(config)
    dataset = splits.find(config.data)
    training, validation = splits.training(dataset, config.data, method.stages[0].inputs)
    with workdirs.locked(workdir):
        digest = workdirs.claim(workdir, config, training, validation)
        loop.adopt(method, config, training, validation, workdir, digest=digest, given=variables)
    log.info("%s holds the run: vad_jax.evaluate and vad_jax.score take it.", workdir)


def main() -> cli.Outcome:
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    for name in ("tensors", "workdir"):
        if not given[name].value:
            raise ConfigError(f"Give --{name}=PATH.")
    convert(cli.config_of(given.config), given.tensors, given.workdir, memory=given.memory)
    return cli.Outcome({"workdir": given.workdir})


if __name__ == "__main__":
    flags.DEFINE_string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    flags.DEFINE_string("tensors", None, "State dict: .npz, .safetensors or .pt.")
    flags.DEFINE_string("memory", None, "Memory items [M, C]: .npz, .npy, .safetensors or .pt.")
    flags.DEFINE_string("workdir", None, "Where the run is kept.")
    cli.run(main)
