"""Evaluates a trained run on its labelled test videos.

    python -m vad_jax.evaluate --workdir=runs/quickstart [--root=FOLDER] [--labels=FILE]
        [--false_alarms_per_hour=R]
    python -m vad_jax.evaluate --workdir=runs/a,runs/b,runs/c        (or --workdir once for each)
    python -m vad_jax.evaluate --workdir=runs/a,runs/b --shots=0,1,5,10 [--support=first|normal]
    python -m vad_jax.evaluate --scores=FILE.npz --labels=FILE [--root=FOLDER --data=NAME]

Writes `scores.npz`, `metrics.json`, `report.html` and `pictures/` into the workdir and prints the
table. Several workdirs are compared in one table, made from their `metrics.json`; only those that
have none yet are evaluated. Scores from anywhere: see `evaluation.read_external`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vad_jax import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.strings("workdir", "Folder of a run; several with commas, or the flag for each.")
    command.string("root", None, "The raw data, where it lies elsewhere than in training.")
    command.string("labels", None, "Label file or folder instead of the one found.")
    command.switch("all_frames", "Give the frames before a video's first score that score.")
    command.number(
        "false_alarms_per_hour",
        None,
        "The rate for which a threshold is calibrated on normal videos; default 1, or the lowest "
        "that they are long enough for.",
        least=1e-9,
    )
    command.number("fps", None, "Frames a second, where the data do not say.", least=1e-9)
    command.string("scores", None, "Scores from elsewhere (.npz) instead of a run.")
    command.string("output", None, "With --scores: where the files go; default beside it.")
    command.string("normal_scores", None, "With --scores: scores of held-out normal videos.")
    command.string("data", None, "With --root: which set lies there; for --scores and --shots.")
    command.list("shots", "Adapt to each test video on so many of its windows: 0,1,5,10.")
    command.choice(
        "support",
        "first",
        ["first", "normal"],
        "With --shots: a video's first windows, or its first of normal frames (an oracle).",
    )
    command.integer("steps", None, "With --shots: gradient steps; default adapt.steps.", least=0)
    command.number(
        "learning_rate",
        None,
        "With --shots: fine-tune at this rate, without step sizes.",
        least=0.0,
    )
    command.switch("lower_is_stranger", "With --scores: they fall where it is strange.")
    return command.run(_evaluate, argv)


def _evaluate(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs.which_evaluation import evaluated

    figures, left_out = evaluated(given)
    return cli.Outcome.of(figures, left_out)


if __name__ == "__main__":
    sys.exit(main())
