"""Several runs side by side: what `vad_jax.evaluate --workdir=A,B` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vad_jax import evaluation
from vad_jax.evaluate import evaluate
from vad_jax.types import ConfigError


def compare(workdirs: Sequence[str | Path], **options: Any) -> dict[str, Any]:
    """Prints one table of several runs; evaluates those that have no `metrics.json`, or all of
    them where an option is given.

    Args:
      workdirs: of finished runs, or folders that `evaluate_scores` wrote.
      options: for `evaluate`.

    Returns:
      Name of a run (its folder's) → the content of its `metrics.json`.

    Raises:
      VadError: two runs of one name, other test frames or labels, or as `evaluate`.
    """
    found, scored = {}, {}
    for workdir in map(Path, workdirs):
        name = workdir.resolve().name
        if name in found:
            raise ConfigError(f"Two workdirs are called {name}: rename one, tables name runs so.")
        if any(options.values()) or not (workdir / "metrics.json").exists():
            evaluate(workdir, **options)
        found[name] = evaluation.read_metrics(workdir / "metrics.json")
        scored[name] = evaluation.read_scores(workdir / "scores.npz")
    print(evaluation.comparison(found, scored))
    return found
