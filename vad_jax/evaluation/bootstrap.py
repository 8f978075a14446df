"""Intervals: how far a figure would move with other videos of the same kind.

The bootstrap draws whole videos, because the frames of one are not independent; where several
videos show one scene, it can draw whole scenes (`groups`). With a dozen videos the interval is wide
and, by nature, too short: say the number of videos beside it.

Letters: V videos, G groups, B replicates. Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.evaluation import metrics
from vad_jax.evaluation.metrics import Videos
from vad_jax.types import DataError

Metric = Callable[[Any, Any], Any]  # (labels, scores) → float, None, or a tuple that begins so


class Interval(NamedTuple):
    """What the replicates say of a figure, or of the difference of two.

    Attributes:
      low, high: the percentiles that leave `level` between them; None where no replicate was kept.
      level: share of the replicates inside.
      mean: of the replicates kept, or None.
      replicates: kept.
      dropped: replicates without the metric (one class only).
      values: `[replicates]` float64, in the order of the draws.
      p: two-sided p-value of a paired difference; None elsewhere.
    """

    low: float | None
    high: float | None
    level: float
    mean: float | None
    replicates: int
    dropped: int
    values: np.ndarray
    p: float | None = None

    def figure(self, value: float) -> dict[str, Any]:
        """A figure and its interval as `metrics.json` holds them."""
        names = ("low", "high", "level", "replicates", "dropped")
        return {"value": value} | {name: getattr(self, name) for name in names}


def bootstrap(
    labels: Videos,
    scores: Videos,
    metric: Metric,
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """The percentile interval of a metric over resampled videos.

    Args:
      labels, scores: `[F]` a video.
      metric: a function of `metrics.py`, or any of (labels, scores) with such a result.
      replicates: B. The AUCs of `metrics.py` cost next to nothing; others are made anew B times.
      seed: of the draws `default_rng(seed).integers(0, V, size=(B, V))`.
      level: share of the replicates inside.
      groups: `[V]`, which videos belong together, as those of one scene do: whole groups are drawn,
        `integers(0, G, size=(B, G))`. By default every video is drawn by itself.

    Raises:
      DataError: no videos, or not one group for each of them.
    """
    draws = _draws(len(labels), replicates, seed, groups)
    values = _replicates(*metrics.scored_frames(labels, scores), metric, draws)
    return _interval(values, level)


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
) -> Interval:
    """The interval of metric(a) − metric(b) on common draws, over the frames that both score.

    Arguments as `bootstrap`'s.

    Returns:
      The interval, with p = 2·(1 + min(#{d ≤ 0}, #{d ≥ 0})) / (B + 1), at most 1, B as kept.

    Raises:
      DataError: as `bootstrap`, or a video of two lengths.
    """
    kept_a, kept_b = common(scores_a, scores_b)
    draws = _draws(len(labels), replicates, seed, groups)
    values = np.subtract(
        _replicates(*metrics.scored_frames(labels, kept_a), metric, draws),
        _replicates(*metrics.scored_frames(labels, kept_b), metric, draws),
    )
    interval = _interval(values, level)
    if not interval.replicates:
        return interval
    rarer = min((interval.values <= 0).sum(), (interval.values >= 0).sum())
    return interval._replace(p=min(1.0, float(2 * (1 + rarer) / (interval.replicates + 1))))


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


def draws_of(videos: int, *, replicates: int, seed: int) -> np.ndarray:
    """How often each of B draws holds each of V videos, `[B, V]`."""
    return _counts(_draws(videos, replicates, seed), videos)


def interval_of(values: np.ndarray, *, level: float) -> Interval:
    """The percentile interval of replicates `[B]`, NaN where a draw has no figure."""
    return _interval(values, level)


def _draws(videos, replicates, seed, groups=None):
    """The videos of each draw; with groups, draws differ in length."""
    if not videos:
        raise DataError("There is no video to draw from. Give labels and scores of one at least.")
    random = np.random.default_rng(seed)
    if groups is None:
        return random.integers(0, videos, size=(replicates, videos))
    if len(groups) != videos:
        raise DataError(f"{len(groups)} groups are given for {videos} videos: name one for each.")
    names = list(dict.fromkeys(groups))
    members = [[i for i in range(videos) if groups[i] == name] for name in names]
    drawn = random.integers(0, len(names), size=(replicates, len(names)))
    return [np.concatenate([members[i] for i in draw]) for draw in drawn]


def _interval(values, level):
    kept = values[~np.isnan(values)]
    dropped = len(values) - len(kept)
    if not len(kept):
        return Interval(None, None, level, None, 0, dropped, kept)
    low, high = np.percentile(kept, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high), level, float(kept.mean()), len(kept), dropped, kept)


def _replicates(labels, scores, metric, draws):
    """The metric of every draw, `[B]`, NaN where it does not exist."""
    if metric is metrics.auc_micro:
        return _micro(labels, scores, _counts(draws, len(labels)))
    if metric in OWN:
        return _means(OWN[metric](labels, scores), _counts(draws, len(labels)))
    return np.array([_value(metric, labels, scores, draw) for draw in draws], np.float64)


def _value(metric, labels, scores, draw):
    value = metrics.value_of(metric, [labels[i] for i in draw], [scores[i] for i in draw])
    return np.nan if value is None else value


def _counts(draws, videos):
    """How often each draw holds each video, `[B, V]`."""
    return np.stack([np.bincount(draw, minlength=videos) for draw in draws])


def _micro(labels, scores, counts):
    """AUC = wᵀUw / ((w·n₁)(w·n₀)): exact, and U is built once."""
    return weighted(counts, *pair_wins(labels, scores))


def weighted(
    counts: np.ndarray, wins: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> np.ndarray:
    """The AUC of every draw, `[B]`, NaN where it is of one class.

    Args:
      counts: how often each draw holds each video, `[B, V]`.
      wins, positives, negatives: as `pair_wins` returns them.
    """
    pairs = (counts @ positives) * (counts @ negatives)
    won = np.sum((counts @ wins) * counts, axis=1)
    return np.divide(won, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def pair_wins(
    labels: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ of (1, ½, 0) over positives of one video and negatives of another.

    Args:
      labels, scores: of scored frames only (`metrics.scored_frames`).

    Returns:
      U `[V, V]`, positives of the row's video against negatives of the column's; the numbers of
      positives and of negatives `[V]`.
    """
    videos = len(labels)
    positives = np.array([np.sum(truth) for truth in labels])
    negatives = np.array([np.sum(~truth) for truth in labels])
    owner = np.repeat(np.arange(videos), positives)
    positive = np.concatenate([values[truth] for truth, values in zip(labels, scores, strict=True)])
    wins = np.empty((videos, videos))
    for column, (truth, values) in enumerate(zip(labels, scores, strict=True)):
        negative = np.sort(values[~truth])
        twice = np.searchsorted(negative, positive, "left") + np.searchsorted(
            negative, positive, "right"
        )
        wins[:, column] = np.bincount(owner, weights=twice, minlength=videos) / 2
    return wins, positives, negatives


def _means(own, counts):
    """A mean over videos resampled: the same mean, weighted by the draw."""
    has = np.array([value is not None for value in own], np.float64)
    values = np.array([0.0 if value is None else value for value in own])
    used = counts @ has
    return np.divide(counts @ values, used, out=np.full(len(counts), np.nan), where=used > 0)


OWN = {  # metrics that are means of a value that each video has by itself
    metrics.auc_macro: metrics.per_video_auc,
    metrics.auc_macro_padded: lambda labels, scores: metrics.per_video_padded(
        labels, scores, (-np.inf, np.inf)
    ),
    metrics.auc_macro_padded01: lambda labels, scores: metrics.per_video_padded(
        labels, scores, (0.0, 1.0)
    ),
}
