"""Which evaluation a command line asks for, and whether its options go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vad_jax.runs.comparing import compare
from vad_jax.runs.evaluating import evaluate, left_out
from vad_jax.runs.external import evaluate_scores
from vad_jax.runs.few_shot import evaluate_shots
from vad_jax.types import ConfigError

_OPTIONS = {  # what is evaluated → the options that have an effect on it
    "workdir": ("root", "labels", "all_frames", "false_alarms_per_hour", "fps"),
    "shots": ("support", "steps", "learning_rate", "data", "root", "labels"),
    "scores": (
        "labels",
        "root",
        "data",
        "lower_is_stranger",
        "normal_scores",
        "false_alarms_per_hour",
        "fps",
        "output",
    ),
}


def evaluated(given: Any) -> tuple[dict[str, Any], list[str]]:
    """Evaluates what the flags of `vad_jax.evaluate` name.

    Args:
      given: flags as attributes, and `present(name)`.

    Returns:
      The figures, and a line for everything that was left out.

    Raises:
      VadError: flags that do not go together; or as the evaluation that they ask for.
    """
    workdirs = [folder for text in given.workdir or () for folder in text.split(",") if folder]
    if workdirs and given.scores:
        raise ConfigError("Give --workdir or --scores, not both; --output says where files go.")
    if not workdirs and not given.scores:
        raise ConfigError("Give the run's folder, --workdir=runs/NAME, or --scores=FILE.npz.")
    kind = "scores" if given.scores else "shots" if given.shots else "workdir"
    _check_options(given, kind)
    options = {name: getattr(given, name) for name in _OPTIONS[kind]}
    if kind == "scores":
        options["output"] = options["output"] or Path(given.scores).with_suffix("")
        options["data"] = options["data"] or "folder"
        found = evaluate_scores(given.scores, **options)
        return found, left_out(found)
    if kind == "shots":
        found = evaluate_shots(workdirs, _numbers(given.shots), **options)
        return found, [line for run in found.values() for line in run["left_out"]]
    if len(workdirs) > 1:
        found = compare(workdirs, **options)
        return found, [line for metrics in found.values() for line in left_out(metrics)]
    found = evaluate(workdirs[0], **options)
    return found, left_out(found)


def _check_options(given: Any, kind: str) -> None:
    """Raises ConfigError for an option that would have no effect."""
    known = {name for names in _OPTIONS.values() for name in (*names, "shots")}
    for name in sorted(known - {*_OPTIONS[kind], kind}):
        if given.present(name):
            takes = [f"--{other}" for other, names in _OPTIONS.items() if name in names]
            raise ConfigError(
                f"--{name} has no effect with --{kind}: leave it out"
                + (f", or give it with {' or '.join(takes)}." if takes else ".")
            )
    if kind == "scores" and given.data and not given.root:
        raise ConfigError("--data says what lies in --root: give both, or neither.")


def _numbers(shots: Sequence[str]) -> list[int]:
    try:
        return [int(number) for number in shots]
    except ValueError:
        raise ConfigError(f"--shots={','.join(shots)}: give whole numbers, 0,1,5,10.") from None
