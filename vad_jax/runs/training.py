"""A training run from raw footage to its evaluation: what `vad_jax.train` does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax

from vad_jax import config as configs
from vad_jax import create, messages, runtime
from vad_jax.data.footage import Footage
from vad_jax.data.frames import Frames
from vad_jax.datasets import Dataset, splits
from vad_jax.evaluation import check
from vad_jax.learning import loop
from vad_jax.learning.subsets import named
from vad_jax.runs import evaluating, normal
from vad_jax.runs import workdir as workdirs
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.observing import mean_observer
from vad_jax.runs.stopping import until_signal
from vad_jax.runs.workdir import Workdir
from vad_jax.types import ConfigError, InputSpec, Method, Stopped

log = logging.getLogger(__name__)


def train(config, workdir: str | Path) -> dict[str, Any] | None:
    """Trains the config's method; returns the metrics where it is evaluated at the end.

    Args:
      config: as a config file makes it.
      workdir: of this run; made, or gone on with.

    Raises:
      VadError: bad config or data, a workdir of another run, a loss that is not finite.
      Stopped: Ctrl-C or SIGTERM; the last step is saved.
    """
    messages.speak()
    runtime.compilation_cache()
    config, files = configs.complete(config), Workdir(Path(workdir))
    method = create(config)
    dataset, training, validation = footage(config, method)
    init = _started(method, config) if config.init_from else None
    with locked(files.folder), until_signal() as stop:
        digest = workdirs.claim(files, config, training, validation)
        variables = loop.train(
            method,
            config,
            Footage(training),
            Footage(validation),
            files,
            digest=digest,
            init=init,
            stop=stop,
        )
        normal.finish(method, variables, training, validation, files, fps=dataset.fps)
    if not config.evaluate_at_end:
        return None
    if stop():
        raise Stopped(f"{workdir} is trained. The same command goes on with its evaluation.")
    if dataset.labels is None:
        log.warning("%s has no labels: not evaluated.", dataset.root)
        return None
    return evaluating.evaluate(workdir)


def footage(config, method: Method) -> tuple[Dataset, list[Frames], list[Frames]]:
    """The data set that a config names, and its decoded videos: trained on, and held out.

    Raises:
      ConfigError: stages that want other frames than scoring does; or as `splits.training`.
      DataError: as `splits.training`.
    """
    check(method.fusion)
    for stage in method.stages:
        if _frame(stage.inputs) != _frame(method.inputs):
            raise ConfigError(
                f"Stage {stage.name} wants frames {_frame(stage.inputs)}, scoring "
                f"{_frame(method.inputs)}: all of a run's frames are decoded once, at one size."
            )
    dataset = splits.find(config.data)
    observer = mean_observer(dataset, config.data)
    return dataset, *splits.training(dataset, config.data, method.inputs, observers=(observer,))


def _frame(spec: InputSpec) -> tuple[int, int, int, str]:
    return spec.height, spec.width, spec.channels, spec.colour


def _started(method: Method, config):
    """The variables of the run that `init_from` names; what it has not got is made afresh.

    State that this config has no place for is left behind: step sizes, say, where no stage goes on
    learning them, and which would not fit parameters that another stage moves.

    Raises:
      ConfigError: it has parameters that this method has not, or other shapes, or state that means
        something else under this config (`Key.state`).
    """
    fresh = jax.jit(method.init)(jax.random.key(config.seed))
    earlier = load(config.init_from)
    given = dict(named(earlier.variables))
    begun = dict(named(fresh))
    extra = [path for path in given if path not in begun]
    wrong = [path for path in extra if path.startswith("params/")]
    for path, leaf in begun.items():
        if path in given and given[path].shape != leaf.shape:
            wrong.append(f"{path}, {given[path].shape} there and {leaf.shape} here")
    if wrong:
        raise ConfigError(
            f"init_from={config.init_from}: that run's variables do not fit this config: "
            f"{'; '.join(wrong[:3])}{' …' if wrong[3:] else ''}. Method, width, input.channels and "
            "the like must be those of that run."
        )
    taken = [path for path in begun if path.startswith("state/") and path in given]
    was, now = configs.flatten(earlier.config), configs.flatten(config)
    for key in configs.state_keys(config.method) if taken else ():
        if was[key] != now[key]:
            raise ConfigError(
                f"init_from={config.init_from} was trained with {key}={was[key]}, which gives "
                f"{taken[0]} another meaning than {now[key]}: give --config.{key}={was[key]}."
            )
    missing = [path for path in begun if path not in given]
    if missing:
        log.info("Not in %s, so begun afresh: %s", config.init_from, _first(missing))
    if extra:
        log.info("Left in %s, as no stage of this run uses it: %s", config.init_from, _first(extra))
    leaves = [given.get(path, leaf) for path, leaf in begun.items()]
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves)


def _first(paths: list[str]) -> str:
    return ", ".join(paths[:6]) + (" …" if paths[6:] else "")
