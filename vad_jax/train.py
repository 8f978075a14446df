"""Trains a method from raw footage and evaluates it.

    python -m vad_jax.train --config=configs/quickstart.py [--workdir=runs/quickstart]
        [--config.KEY=VALUE ...]

Given again, the same command goes on where it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vad_jax import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/quickstart.py", "Config file, or FILE:PRESET.")
    command.string("workdir", None, "Where the run is kept; default runs/FILE_PRESET.")
    return command.run(_train, argv)


def _train(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs.evaluating import left_out
    from vad_jax.runs.training import train

    config = given.read_config()
    metrics = train(config, given.workdir or _default_workdir(given.config))
    return cli.Outcome.of(metrics, left_out(metrics))


def _default_workdir(path: str) -> Path:
    file, _, preset = path.partition(":")
    return Path("runs") / "_".join(filter(None, (Path(file).stem, preset)))


if __name__ == "__main__":
    sys.exit(main())
