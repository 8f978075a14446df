"""Scores videos that have no labels: a file, a folder of videos, a folder of frames.

    python -m vad_jax.score --workdir=runs/NAME --source=PATH [--output=FOLDER] [--fps=25]
        [--overlay] [--threshold=calibrated|NUMBER|none]

Writes for each video `NAME.csv` (frame, seconds, score, alarm; higher = stranger, empty where a
frame has none), `NAME.events.csv` (its alarms, one a row) and with --overlay `NAME.mp4`. Alarm is
where a score is above the threshold, by default the one that the run's normal footage gives. Given
again, the same command goes on: what `manifest.json` holds with the same content, scorer and
options is not scored again. Scores are those of the protocol `online`: nothing of a video's future
is used.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from vad_jax import cli

log = logging.getLogger("vad_jax.score")  # __name__ is `__main__` in a command


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("workdir", None, "Folder of a finished run.", needs="the run's folder")
    command.string(
        "source",
        None,
        "A video file, a folder of videos, or a folder of frames.",
        needs="a video or a folder",
    )
    command.string("output", None, "Where the files go; default WORKDIR/scored.")
    command.switch("overlay", "Draw each video with its score, alarms and error regions.")
    command.string(
        "threshold",
        "calibrated",
        "Alarm where a score is above: calibrated (from the run's normal footage), a number, none.",
    )
    command.number(
        "fps",
        None,
        "Frames a second of folders of frames, and of normal footage where the run does not say.",
        least=1e-3,
    )
    return command.run(_score, argv)


def _score(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs.folder_scoring import score

    output = given.output or Path(given.workdir) / "scored"
    options = given.only("overlay", "threshold", "fps")
    figures = score(given.workdir, given.source, output, **options)
    done = f"Videos scored: {figures['videos']}, done before: {figures['skipped']}"
    print(f"{done}; {figures['scored']} of {figures['frames']} frames have a score. {output}")
    if figures["threshold"] is not None:
        line = f"threshold {figures['threshold']:.4g}, {figures['threshold_says']}"
        print(f"Alarms: {figures['alarms']} ({line}).")
    for line in figures["left_out"]:
        log.warning("Left out: %s", line)
    return cli.Outcome.of(figures, figures["left_out"])


if __name__ == "__main__":
    sys.exit(main())
