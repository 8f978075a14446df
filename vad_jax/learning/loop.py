"""The one training loop: stages, epochs, steps; it knows no method by name.

Order of a start, for each stage: finished already → go on from the middle → begin, from the stage
before, from `init_from`, or from the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax

from vad_jax.data.footage import Footage
from vad_jax.learning import optim
from vad_jax.learning.checkpoint import Checkpoints, check_origin
from vad_jax.learning.stage_run import StageRun, check_rows
from vad_jax.types import IDLE, Method, Variables, last_stage

log = logging.getLogger(__name__)


def train(
    method: Method,
    config,
    training: Footage,
    validation: Footage,
    files: Any,
    *,
    digest: str,
    init: Variables | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Variables:
    """Trains every stage.

    Args:
      method, config: the method and the completed config that made it.
      training, validation: decoded normal footage; validation may be empty.
      files: of the run (`runs/workdir.py`): where checkpoints and the log go.
      digest: of config and data, kept with each checkpoint.
      init: variables to start from instead of `method.init`.
      stop: asked after each step; once it is true the run is saved as it is.

    Returns:
      The trained variables, finished layout.

    Raises:
      Stopped: `stop` was true, and the step is saved.
      TrainingError: a loss that is not finite; names the step and the last good checkpoint.
      DataError: no training video has a row.
    """
    if not method.stages:
        check_rows(method.inputs, training, validation, "scoring")
        return _untrained(method, config, init or _fresh(method, config), files, digest=digest)
    if init is None and (needed := method.stages[0].builds_on):
        log.warning(
            "Stage %s comes first and builds on %s: that stays as random as it begins. Give "
            "--config.init_from=WORKDIR of a run that trained it, or name a stage that does before "
            "it in --config.stage_names.",
            method.stages[0].name, needed,
        )  # fmt: skip
    variables = init or _fresh(method, config)
    for index, stage in enumerate(method.stages):
        run = StageRun(config, stage, index, training, validation, files, digest=digest, stop=stop)
        variables = stage.finish(run.train(stage.begin(variables)))
    return variables


def _fresh(method: Method, config) -> Variables:
    return jax.jit(method.init)(jax.random.key(config.seed))


def _untrained(method: Method, config, variables: Variables, files: Any, *, digest: str):
    """The variables of a method without stages as its checkpoint; those that are there stay."""
    checkpoints = Checkpoints(files.checkpoints(IDLE.name), keep=config.checkpoint.keep)
    if found := checkpoints.latest(variables, ()):
        check_origin(checkpoints.folder, found[2], digest)
        return found[0]
    keep(method, config, variables, files, digest=digest, step=0)
    return variables


def adopt(
    method: Method,
    config,
    training: Footage,
    validation: Footage,
    files: Any,
    *,
    digest: str,
    given: Variables,
) -> Variables:
    """Makes checkpoints of variables that were trained elsewhere; arguments as `train`'s.

    Args:
      given: finished layout.

    Returns:
      The same with what the stages measure.

    Raises:
      CheckpointError: the workdir holds other checkpoints already.
    """
    if not method.stages:
        check_rows(method.inputs, training, validation, "scoring")
        return _untrained(method, config, given, files, digest=digest)
    for index, stage in enumerate(method.stages):
        run = StageRun(config, stage, index, training, validation, files, digest=digest)
        given = stage.finish(run.adopt(stage.begin(given)))
    return given


def keep(
    method: Method, config, variables: Variables, files: Any, *, digest: str, step: int
) -> None:
    """Saves finished variables as the last stage's checkpoint, with slots of a fresh start.

    Args:
      method, config, files: as `train`'s.
      variables: finished layout.
      digest: of config and data.
      step: that the variables are said to be of.
    """
    stage = last_stage(method)
    begun = stage.begin(variables)
    slots = ()
    if stage.optimizer:
        optimizer = stage.optimizer(steps_per_epoch=1, steps=1)
        slots = optim.only(optimizer, stage.trainable, begun["params"]).init(begun["params"])
    position = {"step": step, "epoch": 0, "digest": digest, "unlogged": []}
    checkpoints = Checkpoints(files.checkpoints(stage.name), keep=config.checkpoint.keep)
    checkpoints.save(begun, slots, position)
