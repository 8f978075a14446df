"""From a finished run's folder to a detector."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax

from vad_jax import create, messages, runtime
from vad_jax.detector import Detector
from vad_jax.evaluation import check, mentioned
from vad_jax.learning import checkpoint
from vad_jax.runs import normal, workdir
from vad_jax.runs.workdir import Workdir
from vad_jax.types import CheckpointError, last_stage

log = logging.getLogger(__name__)


def load(folder: str | Path) -> Detector:
    """The detector of a finished run.

    What it compiles is kept for later processes (`runtime.compilation_cache`), and the messages of
    the house are heard where the program has no logging of its own (`messages.speak`).

    Args:
      folder: the workdir that training wrote; copied from another machine will do.

    Raises:
      CheckpointError: there is no run, no readable checkpoint, the run is not finished, or a newer
        version wrote it.
    """
    messages.speak()
    runtime.compilation_cache()
    files = Workdir(Path(folder))
    config, data = workdir.read(files)
    method = create(config)
    check(method.fusion)
    last = last_stage(method)
    shapes = jax.eval_shape(lambda key: last.begin(method.init(key)), jax.random.key(0))
    place = files.checkpoints(last.name)
    variables, position = checkpoint.read_variables(place, _here(shapes))
    checkpoint.check_origin(files.folder, position, workdir.digest(config, data))
    if not files.normal.exists():
        raise CheckpointError(
            f"{folder} holds a run that is not finished (no {files.normal.name}, checkpoint at "
            f"step {position['step']}): give the same command again, it goes on."
        )
    statistics, map_99 = normal.read(files)
    used = mentioned(method.fusion, "online") or statistics
    for name in (name for name, part in statistics.items() if part["std"] == 0 and name in used):
        log.warning(
            "%s: the part %r is the same on all normal clips, so the protocol `online` cannot "
            "scale it and counts it as 0.", folder, name,
        )  # fmt: skip
    return Detector(
        method=method,
        variables=last.finish(variables),
        statistics=statistics,
        map_99=map_99,
        config=config,
        about={**position, "data": data},
    )


def _here(shapes: Any) -> Any:
    """The shapes placed on this machine's first device, wherever the run was."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
