"""Intervals: how far a figure would move with other videos of the same kind.

Whole videos are drawn, or left out, because the frames of one are not independent; where several
videos show one scene, whole scenes (`groups`). By default the interval is the jackknife's of
`certainty.py`, whose coverage holds with few videos; `method="percentile"` gives the percentiles of
the replicates instead, which are too close together by nature.

Letters: V videos, G clusters, B replicates. Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from vad_jax.evaluation import certainty, metrics, resampling
from vad_jax.evaluation.certainty import Law
from vad_jax.evaluation.metrics import Videos
from vad_jax.evaluation.resampling import Clusters, Metric
from vad_jax.types import ConfigError, DataError

Method = Literal["jackknife", "percentile"]
METHODS = ("jackknife", "percentile")


class Interval(NamedTuple):
    """What other videos say of a figure, or of the difference of two.

    Attributes:
      low, high: the bounds that leave `level` between them; None where there are none.
      level: of the interval.
      mean: of the replicates kept, or None.
      replicates: kept.
      dropped: replicates without the metric (one class only).
      values: `[replicates]` float64, in the order of the draws.
      p: two-sided p-value of a paired difference; None elsewhere, and where it cannot be said.
      why: no bounds are given, in words; None where they are.
      law: from which the jackknife's bounds come; None without them.
    """

    low: float | None
    high: float | None
    level: float
    mean: float | None
    replicates: int
    dropped: int
    values: np.ndarray
    p: float | None = None
    why: str | None = None
    law: Law | None = None

    def figure(self, value: float | None) -> dict[str, Any]:
        """A figure and its interval as `metrics.json` holds them."""
        names = ("low", "high", "level", "replicates", "dropped")
        said = {} if self.why is None else {"why": self.why}
        return {"value": value} | {name: getattr(self, name) for name in names} | said


def bootstrap(
    labels: Videos,
    scores: Videos,
    metric: Metric,
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
    method: Method = "jackknife",
) -> Interval:
    """The interval of a metric over videos.

    Args:
      labels, scores: `[F]` a video.
      metric: a function of `metrics.py`, or any of (labels, scores) with such a result in 0..1.
      replicates: B, which make `values`, and the interval if it is of percentiles. The AUCs of
        `metrics.py` cost next to nothing; others are made anew B times.
      seed: of the draws `default_rng(seed).integers(0, V, size=(B, V))`.
      level: of the interval.
      groups: `[V]`, which videos belong together, as those of one scene do: whole groups are drawn,
        `integers(0, G, size=(B, G))`. By default every video is drawn by itself.
      method: `jackknife`: no bounds with fewer than six clusters of both classes (`why`), else
        those of `certainty.share`. `percentile`: of the replicates, whatever their number.

    Raises:
      DataError: no videos, or not one group for each of them.
      ConfigError: no such method, or a metric that leaves 0..1.
    """
    _check(method)
    parts, kept = (
        resampling.clusters(len(labels), groups=groups),
        metrics.scored_frames(labels, scores),
    )
    values = resampling.figures_of(metric, *kept)(parts.resamples(replicates, seed))
    if method == "percentile":
        return _percentile(values[1 + len(parts.members) :], level)
    return _jackknife(values, parts.unit, _Known.of(metric, *kept, parts), level, certainty.share)


def paired_bootstrap(
    labels: Videos,
    scores_a: Videos,
    scores_b: Videos,
    metric: Metric,
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
    method: Method = "jackknife",
) -> Interval:
    """The interval of metric(a) − metric(b) over videos and its p, of the frames that both score.

    Arguments as `bootstrap`'s.

    Returns:
      The interval, with the p of a sign-flip test of what each cluster adds to the difference
      (`certainty.sign_flip`); neither with fewer than six clusters of both classes. With
      `method="percentile"` p = 2·(1 + min(#{d ≤ 0}, #{d ≥ 0})) / (B + 1), at most 1, B as kept:
      it calls two equal methods different in every second trial with two videos.

    Raises:
      DataError: as `bootstrap`, or a video of two lengths.
    """
    _check(method)
    parts = resampling.clusters(len(labels), groups=groups)
    counts = parts.resamples(replicates, seed)
    kept = [metrics.scored_frames(labels, one) for one in common(scores_a, scores_b)]
    values = np.subtract(*(resampling.figures_of(metric, *one)(counts) for one in kept))
    if method == "percentile":
        return _with_rarer(_percentile(values[1 + len(parts.members) :], level))
    known = _Known.of(metric, *kept[0], parts)
    interval = _jackknife(values, parts.unit, known, level, certainty.gap)
    if interval.why:
        return interval
    added = certainty.contributions(values[0], known.without(values))
    return interval._replace(p=certainty.sign_flip(added, seed=seed))


def interval_of(
    values: np.ndarray, parts: Clusters, holding: np.ndarray, *, called: str, level: float
) -> Interval:
    """The jackknife's interval of any figure in 0..1 that is made of resampled videos.

    Args:
      values: of `parts.resamples(…)`, `[1 + G + B]`, NaN where a resample has none.
      parts: the clusters of the videos.
      holding: bool `[V]`, videos without which the figure would not exist; six clusters of them
        are the fewest.
      called: these videos in words, as `with events`.
      level: of the interval.
    """
    counted = np.ones(len(parts.members), bool)
    known = _Known(int(parts.holding(holding).sum()), counted, called)
    return _jackknife(values, parts.unit, known, level, certainty.share)


def common(scores_a: Videos, scores_b: Videos) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both runs with NaN wherever either has no score: they are compared on common frames.

    Raises:
      DataError: a video of two lengths.
    """
    pairs = list(zip(scores_a, scores_b, strict=True))
    for video, (a, b) in enumerate(pairs):
        if len(a) != len(b):
            raise DataError(
                f"Video {video} (counted from 0) has {len(a)} scores in one run and {len(b)} in "
                "the other. Runs are compared on the same videos; score both on the same frames."
            )
    return (
        [np.where(np.isnan(b), np.nan, a) for a, b in pairs],
        [np.where(np.isnan(a), np.nan, b) for a, b in pairs],
    )


class _Known(NamedTuple):
    """What the clusters hold: `both`, at least as many hold one class as hold the other; and which
    of them `[G]` have a part in the figure."""

    both: int
    counted: np.ndarray
    called: str = "of both classes"

    @classmethod
    def of(cls, metric, labels, scores, parts: Clusters) -> _Known:
        positive, negative = resampling.of_classes(labels)
        if metric in resampling.PER_VIDEO:
            own = resampling.PER_VIDEO[metric](labels, scores)
            counted = parts.holding(np.array([value is not None for value in own], bool))
            return cls(int(parts.holding(positive & negative).sum()), counted)
        both = min(int(parts.holding(videos).sum()) for videos in (positive, negative))
        return cls(both, parts.holding(positive | negative))

    def without(self, values: np.ndarray) -> np.ndarray:
        """The figure without each cluster that counts, of the values of `Clusters.resamples`."""
        found = values[1 : 1 + len(self.counted)][self.counted]
        return found[~np.isnan(found)]


def _jackknife(values, unit, known, level, law_of):
    whole, drawn = float(values[0]), values[1 + len(known.counted) :]
    interval = _percentile(drawn, level)._replace(low=None, high=None)
    if why := certainty.too_few(known.both, unit, holding=known.called):
        return interval._replace(why=why)
    if np.isnan(whole):
        return interval._replace(why="no interval: the metric has no value")
    without = known.without(values)
    if law_of is certainty.share and not 0 <= whole <= 1:
        raise ConfigError(
            f"The metric gives {whole:g}, and the jackknife's interval is of a figure in 0..1. "
            "Scale it, or take method='percentile'."
        )
    if law_of is certainty.gap:
        law = certainty.gap(whole, without)
        if law is None:
            return interval._replace(why=certainty.NO_SPREAD)
        ends = law.bounds(level)
    elif whole in (0.0, 1.0):
        law, ends = None, certainty.widest(whole, known.both, level)
    else:
        law = certainty.share(whole, without)
        if law is None:
            return interval._replace(why=certainty.NO_SPREAD)
        ends = np.clip(law.bounds(level), *certainty.widest(whole, known.both, level)).tolist()
    return interval._replace(low=ends[0], high=ends[1], law=law)


def _percentile(drawn, level):
    kept = drawn[~np.isnan(drawn)]
    dropped = len(drawn) - len(kept)
    if not len(kept):
        return Interval(None, None, level, None, 0, dropped, kept)
    low, high = np.percentile(kept, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high), level, float(kept.mean()), len(kept), dropped, kept)


def _with_rarer(interval):
    """A percentile interval with the p of the side of 0 that fewer replicates lie on."""
    if not interval.replicates:
        return interval
    rarer = min((interval.values <= 0).sum(), (interval.values >= 0).sum())
    return interval._replace(p=min(1.0, float(2 * (1 + rarer) / (interval.replicates + 1))))


def _check(method: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"There is no interval by {method!r}: {' or '.join(METHODS)}.")
