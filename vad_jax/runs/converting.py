"""A run made of published tensors: what `vad_jax.convert` does."""

from __future__ import annotations

import logging
from pathlib import Path

import jax

from vad_jax import config as configs
from vad_jax import create, messages, runtime
from vad_jax.data.footage import Footage
from vad_jax.interop import tensors as tensor_files
from vad_jax.interop import torch as names
from vad_jax.learning import loop
from vad_jax.runs import normal
from vad_jax.runs import workdir as workdirs
from vad_jax.runs.locking import locked
from vad_jax.runs.training import footage
from vad_jax.runs.workdir import Workdir
from vad_jax.types import ConfigError, Method

log = logging.getLogger(__name__)


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
      tensors: state dict, see `interop.tensors.read`.
      workdir: made; refused if it holds another run.
      memory: items `[M, C]`, see `interop.tensors.read_memory`; without them those of a fresh
        start.
      step_size: a learned step size for each parameter that is adapted, by state-dict name, in the
        same forms as `tensors`; `stage_names` must have the stage that learns them.

    Raises:
      VadError: bad config or data, tensors that do not fit, a workdir of another run.
    """
    messages.speak()
    runtime.compilation_cache()
    config, files = configs.complete(config), Workdir(Path(workdir))
    items = None if memory is None else tensor_files.read_memory(memory)
    sizes = None if step_size is None else tensor_files.read(step_size)
    variables = names.variables(config, tensor_files.read(tensors), memory=items, step_size=sizes)
    method = create(config)
    if sizes is not None and not _learns_step_sizes(method):
        raise ConfigError(
            f"No stage of stage_names={config.stage_names} learns step sizes: name one that does, "
            "or leave --step_size out."
        )
    dataset, training, validation = footage(config, method)
    with locked(files.folder):
        digest = workdirs.claim(files, config, training, validation)
        given = loop.adopt(
            method,
            config,
            Footage(training),
            Footage(validation),
            files,
            digest=digest,
            given=variables,
        )
        normal.finish(method, given, training, validation, files, fps=dataset.fps)
    log.info("%s holds the run: vad_jax.evaluate and vad_jax.score take it.", workdir)


def _learns_step_sizes(method: Method) -> bool:
    return "step_size" in jax.eval_shape(method.init, jax.random.key(0))["state"]
