"""What normal footage looks like: means and spreads of losses and of score parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vad_jax.data.feed import Feed
from vad_jax.learning.quantiles import Quantile
from vad_jax.scoring import Video, score_videos
from vad_jax.types import Method, Scores, Variables, VideoScores


def summary(values: Iterable[np.ndarray]) -> dict[str, float]:
    """Mean, deviation (n), min, max and count of all finite values, in float64."""
    joined = np.concatenate([np.ravel(v).astype(np.float64) for v in values] or [np.empty(0)])
    joined = joined[np.isfinite(joined)]
    if not joined.size:
        return {"mean": np.nan, "std": np.nan, "min": np.nan, "max": np.nan, "count": 0}
    return {
        "mean": joined.mean(),
        "std": joined.std(),
        "min": joined.min(),
        "max": joined.max(),
        "count": joined.size,
    }


def measured(
    measure: Callable[..., dict[str, Any]],
    params: Any,
    state: Any,
    feed: Feed,
    store: Any,
    rows: np.ndarray,
    mask: np.ndarray,
) -> dict[str, dict[str, float]]:
    """A stage's own measurements over normal rows, those with mask 0 left out.

    Args:
      measure: of the stage.
      params, state: in the stage's layout.
      feed: of the footage.
      store: the feed's, placed on the device.
      rows, mask: what is measured on.

    Returns:
      Name → `summary`.
    """
    function = jax.jit(lambda p, s, store, item: measure(p, s, feed.gather(store, item)))
    values: dict[str, list[np.ndarray]] = {}
    for item, counts in zip(feed.items(rows, mask), mask, strict=True):
        for name, value in jax.device_get(function(params, state, store, item)).items():
            values.setdefault(name, []).append(value[counts])
    return {name: summary(value) for name, value in values.items()}


class Normal(NamedTuple):
    """The score parts of normal footage.

    Attributes:
      videos: their rows.
      parts: part → `summary` over all rows.
      map_99: the 99th percentile of error maps, the mean over videos; NaN without maps.
    """

    videos: list[VideoScores]
    parts: dict[str, dict[str, float]]
    map_99: float


def normal(method: Method, variables: Variables, videos: Sequence[Video], **options: Any) -> Normal:
    """Scores normal videos, each started anew.

    Args:
      method, variables: what scores.
      videos: whose rows are normal.
      options: for `score_videos`.
    """
    maps: dict[str, Quantile] = {}

    def look(name: str, first: np.ndarray, scores: Scores) -> None:
        if scores.maps is not None:
            maps.setdefault(name, Quantile(0.99)).add(scores.maps)

    scored, highest = [], []
    for video in score_videos(method, variables, videos, anew=True, each=look, **options):
        scored.append(video)
        if video.name in maps:
            highest.append(maps.pop(video.name).value())
    names = dict.fromkeys(name for video in scored for name in video.parts)
    parts = {
        name: summary(video.parts[name] for video in scored if name in video.parts)
        for name in names
    }
    return Normal(scored, parts, float(np.mean(highest)) if highest else float("nan"))
