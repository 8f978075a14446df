"""Adapts a finished run to a new scene from a few windows of normal footage.

    python -m vad_jax.adapt --workdir=runs/NAME --source=PATH --output=runs/NEW [--shots=10]
        [--steps=T] [--learning_rate=R] [--support=first|spread] [--accept_outliers]

Writes a workdir that `vad_jax.score` and `vad_jax.evaluate` take. A run with learned step sizes
(MPU) adapts by them; any other is fine-tuned by plain gradient steps. Their rate and number are
those that are given here or said by the run's config; else they are found on the windows
themselves: steps on one half, judged by the other. Normal clips of the new scene are measured on
what of the source is not adapted on, so give more footage than the shots.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from vad_jax import cli
from vad_jax.spelling import counted

log = logging.getLogger("vad_jax.adapt")  # __name__ is `__main__` in a command


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("workdir", None, "Folder of a finished run.", needs="the run's folder")
    command.string(
        "source",
        None,
        "Normal footage: a video, or a folder of videos or frames.",
        needs="normal footage of the scene",
    )
    command.string("output", None, "The new workdir.", needs="a new workdir")
    command.integer("shots", 10, "Windows that are adapted on.")
    command.integer("steps", None, "Gradient steps; by default learned, said or found.", least=0)
    command.number("learning_rate", None, "Fine-tune at this rate, without step sizes.", least=0.0)
    command.choice("support", "first", ["first", "spread"], "Which windows of the source.")
    command.switch("accept_outliers", "Adapt even if a window disagrees with the others.")
    return command.run(_adapt, argv)


def _adapt(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs.adapting import adapt

    options = given.only("shots", "steps", "learning_rate", "support", "accept_outliers")
    found = adapt(given.workdir, given.source, given.output, **options)
    windows, steps = counted(found["shots"], "window"), counted(found["steps"], "step")
    rate = "" if found["learning_rate"] is None else f" at the rate {found['learning_rate']:.3g}"
    print(
        f"Adapted to {windows} in {steps}{rate}: their loss {found['loss_before']:.6g} before, "
        f"{found['loss_after']:.6g} after. {given.output}"
    )
    if found["held_out_before"] is not None:
        print(
            f"Steps and rate are found on held-out halves: loss {found['held_out_before']:.6g} "
            f"before, {found['held_out_after']:.6g} after."
        )
    if not found["steps"]:
        log.warning("The parameters stay as they are: %s.", found["says"])
    elif found["loss_after"] > found["loss_before"]:
        log.warning(
            "The steps raised the loss: give a lower --learning_rate or fewer --steps, or neither, "
            "and another --output."
        )
    elif found["loss_after"] > 0.999 * found["loss_before"]:
        log.warning(
            "The steps (%s) changed next to nothing: give more --steps or a higher "
            "--learning_rate, and another --output.", found["says"],
        )  # fmt: skip
    return cli.Outcome(found)


if __name__ == "__main__":
    sys.exit(main())
