"""Trains a method from raw footage and evaluates it.

    python -m vad_jax.train --config=configs/quickstart.py [--workdir=runs/quickstart]
        [--config.KEY=VALUE ...]

Given again, the same command goes on where it was stopped.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from absl import flags

from vad_jax import cli

log = logging.getLogger("vad_jax.train")  # __name__ is `__main__` in a command


def train(config, workdir: str | Path) -> dict[str, Any] | None:
    """Trains the config's method; returns the metrics where it is evaluated at the end.

    Args:
      config: as a config file makes it.
      workdir: of this run; made, or gone on with.

    Raises:
      VadError: bad config or data, a workdir of another run, a loss that is not finite.
      Stopped: Ctrl-C or SIGTERM; the last step is saved.
    """
    import vad_jax
    from vad_jax import config as configs
    from vad_jax import evaluate
    from vad_jax.datasets import splits
    from vad_jax.learning import loop
    from vad_jax.runs import workdir as workdirs
    from vad_jax.types import ConfigError, Stopped

    config, workdir = configs.complete(config), Path(workdir)
    method = vad_jax.create(config)
    for stage in method.stages:
        if _frame(stage.inputs) != _frame(method.inputs):
            raise ConfigError(
                f"Stage {stage.name} wants frames {_frame(stage.inputs)}, scoring "
                f"{_frame(method.inputs)}: all of a run's frames are decoded once, at one size."
            )
    dataset = splits.find(config.data)
    training, validation = splits.training(dataset, config.data, method.stages[0].inputs)
    init = _started(method, config) if config.init_from else None
    with workdirs.locked(workdir), cli.until_signal() as stop:
        digest = workdirs.claim(workdir, config, training, validation)
        loop.train(
            method, config, training, validation, workdir, digest=digest, init=init, stop=stop
        )
    if not config.evaluate_at_end:
        return None
    if stop():
        raise Stopped(f"{workdir} is trained. The same command goes on with its evaluation.")
    if dataset.labels is None:
        log.warning("%s has no labels: not evaluated.", dataset.root)
        return None
    return evaluate.evaluate(workdir)


def _started(method, config):
    """The variables of the run that `init_from` names; what it has not got is made afresh.

    State that this config has no place for is left behind: step sizes, say, where no stage goes on
    learning them, and which would not fit parameters that another stage moves.

    Raises:
      ConfigError: it has parameters that this method has not, or other shapes, or state that means
        something else under this config (`STATE` of a method).
    """
    import jax

    import vad_jax
    from vad_jax import config as configs
    from vad_jax.learning.subsets import named
    from vad_jax.types import ConfigError

    fresh = jax.jit(method.init)(jax.random.key(config.seed))
    earlier = vad_jax.load(config.init_from)
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
    for key in configs.module(config.method).STATE if taken else ():
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


def _frame(spec) -> tuple[int, int, int, str]:
    return spec.height, spec.width, spec.channels, spec.colour


def main() -> cli.Outcome:
    from vad_jax.evaluate import outcome

    config = cli.config_of(flags.FLAGS.config)
    return outcome(train(config, flags.FLAGS.workdir or _default_workdir(flags.FLAGS.config)))


def _default_workdir(path: str) -> Path:
    file, _, preset = path.partition(":")
    return Path("runs") / "_".join(filter(None, (Path(file).stem, preset)))


if __name__ == "__main__":
    flags.DEFINE_string("config", "configs/quickstart.py", "Config file, or FILE:PRESET.")
    flags.DEFINE_string("workdir", None, "Where the run is kept; default runs/FILE_PRESET.")
    cli.run(main)
