"""One scored test set against another: the paired difference of a figure.

Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vad_jax.evaluation.bootstrap import common, paired_bootstrap
from vad_jax.evaluation.metrics import COMPARED, value_of
from vad_jax.evaluation.score_files import Scored, known_scores, scenes_of, truth_of
from vad_jax.evaluation.tables import in_short
from vad_jax.types import DataError


def difference(a: Scored, b: Scored, column: str, metric: str, **draw: Any) -> dict[str, Any]:
    """A figure of `a` minus that of `b` over the frames that both score.

    Args:
      a, b: scores of the same videos.
      column: of `scores`, like `paper_raw`.
      metric: of `metrics.COMPARED`.
      draw: options of `paired_bootstrap`; by default over scenes where `a` names them.

    Returns:
      `value`, None where one of the two has none, its interval as `metrics.json` holds it, and
      `p`; with too few videos neither of these, but `why`.

    Raises:
      DataError: the two are of other videos or labels.
    """
    check_same({"one run": a, "the other": b})
    truth = truth_of(a)
    one, other = common(known_scores(a, a.scores[column]), known_scores(b, b.scores[column]))
    draw = {"groups": scenes_of(a)} | draw
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
    """A difference × 100 with its interval and p, or why there is neither; or a dash."""
    value, said = difference_parts(figure)
    if figure["low"] is None:
        return f"{value} ({said})" if said else value
    return f"{value}, {said}"


def difference_parts(figure: Mapping[str, Any]) -> tuple[str, str]:
    """The same in two: `+1.3 (+0.3 to +2.5)` and `p 0.010`, or `+1.3` and why there is no more."""
    if figure["value"] is None:
        return "–", ""
    value = f"{100 * figure['value']:+.1f}"
    if figure["low"] is None:
        return value, in_short(figure["why"])
    places = 3 if figure["p"] >= 0.001 else 4
    low, high = (100 * figure[name] for name in ("low", "high"))
    return f"{value} ({low:+.1f} to {high:+.1f})", f"p {figure['p']:.{places}f}"
