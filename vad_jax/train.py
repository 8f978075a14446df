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
    from vad_jax.data import splits
    from vad_jax.learning import loop
    from vad_jax.learning import workdir as workdirs
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
    init = vad_jax.load(config.init_from).variables if config.init_from else None
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
