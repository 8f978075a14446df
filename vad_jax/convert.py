"""Makes a run of published tensors: what PyTorch trained is scored and evaluated here.

    python -m vad_jax.convert --config=configs/mnad.py:ped2 --config.data.root=PED2
        --tensors=state_dict.npz [--memory=items.npz] [--step_size=sizes.npz]
        --workdir=runs/published

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
    config,
    tensors: str | Path,
    workdir: str | Path,
    *,
    memory: str | Path | None = None,
    step_size: str | Path | None = None,
) -> None:
    """Writes a finished run whose variables are a published state dict.

    Args:
      config: of the method, size and data.
      tensors: state dict, see `interop.files.read`.
      workdir: made; refused if it holds another run.
      memory: items `[M, C]`, see `interop.files.read_memory`; without them those of a fresh start.
      step_size: a learned step size for each parameter that is adapted, by state-dict name, in the
        same forms as `tensors`; `stage_names` must have the stage that learns them.

    Raises:
      VadError: bad config or data, tensors that do not fit, a workdir of another run.
    """
    import vad_jax
    from vad_jax import config as configs
    from vad_jax.datasets import splits
    from vad_jax.interop import tensors as files
    from vad_jax.interop import torch as names
    from vad_jax.learning import loop
    from vad_jax.runs import workdir as workdirs
    from vad_jax.types import ConfigError

    config, workdir = configs.complete(config), Path(workdir)
    items = None if memory is None else files.read_memory(memory)
    sizes = None if step_size is None else files.read(step_size)
    variables = names.variables(config, files.read(tensors), memory=items, step_size=sizes)
    method = vad_jax.create(config)
    if sizes is not None and not _learns_step_sizes(method):
        raise ConfigError(
            f"No stage of stage_names={config.stage_names} learns step sizes: name one that does, "
            "or leave --step_size out."
        )
    dataset = splits.find(config.data)
    training, validation = splits.training(dataset, config.data, method.stages[0].inputs)
    with workdirs.locked(workdir):
        digest = workdirs.claim(workdir, config, training, validation)
        loop.adopt(method, config, training, validation, workdir, digest=digest, given=variables)
    log.info("%s holds the run: vad_jax.evaluate and vad_jax.score take it.", workdir)


def _learns_step_sizes(method) -> bool:
    import jax

    return "step_size" in jax.eval_shape(method.init, jax.random.key(0))["state"]


def main() -> cli.Outcome:
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    for name in ("tensors", "workdir"):
        if not given[name].value:
            raise ConfigError(f"Give --{name}=PATH.")
    convert(
        cli.config_of(given.config),
        given.tensors,
        given.workdir,
        memory=given.memory,
        step_size=given.step_size,
    )
    return cli.Outcome({"workdir": given.workdir})


if __name__ == "__main__":
    flags.DEFINE_string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    flags.DEFINE_string("tensors", None, "State dict: .npz, .safetensors or .pt.")
    flags.DEFINE_string("memory", None, "Memory items [M, C]: .npz, .npy, .safetensors or .pt.")
    flags.DEFINE_string("step_size", None, "Learned step sizes by state-dict name, like --tensors.")
    flags.DEFINE_string("workdir", None, "Where the run is kept.")
    cli.run(main)
