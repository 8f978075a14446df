"""One scored test set against another: the paired difference of a figure.

Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vad_jax.evaluation.bootstrap import common, paired_bootstrap
from vad_jax.evaluation.metrics import COMPARED, value_of
from vad_jax.evaluation.score_files import Scored, known_scores, truth_of
from vad_jax.types import DataError


def difference(a: Scored, b: Scored, column: str, metric: str, **draw: Any) -> dict[str, Any]:
    """A figure of `a` minus that of `b` over the frames that both score.

    Args:
      a, b: scores of the same videos.
      column: of `scores`, like `paper_raw`.
      metric: of `metrics.COMPARED`.
      draw: options of `paired_bootstrap`.

    Returns:
      `value`, None where one of the two has none, its interval as `metrics.json` holds it, and `p`.

    Raises:
      DataError: the two are of other videos or labels.
    """
    check_same({"one run": a, "the other": b})
    truth = truth_of(a)
    one, other = common(known_scores(a, a.scores[column]), known_scores(b, b.scores[column]))
    found = paired_bootstrap(truth, one, other, COMPARED[metric], **draw)
    values = [value_of(COMPARED[metric], truth, videos) for videos in (one, other)]
    value = None if None in values else values[0] - values[1]
    return {**found.figure(value), "p": found.p}


def check_same(scored: Mapping[str, Scored]) -> None:
    """Raises DataError where not all are of the same videos and labels, with their names."""
    (first, base), *others = scored.items()
    for name, other in others:
        if other.names != base.names or not all(map(np.array_equal, other.labels, base.labels)):
            raise DataError(
                f"{name} and {first} were evaluated on other videos or labels: their figures "
                "do not compare. Evaluate both on the same test set with the same --labels."
            )


def difference_text(figure: Mapping[str, Any]) -> str:
    """A difference × 100 with its interval and p, or a dash."""
    if figure["value"] is None or figure["low"] is None:
        return "–"
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}), p {figure['p']:.3f}"
