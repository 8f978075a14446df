"""Figures of resampled videos: drawn with replacement, or each cluster left out in turn.

A cluster is what is drawn: a video, or the videos of one scene. A resample is a row of counts, how
often it holds each video.

Letters: V videos, G clusters, B resamples. Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.evaluation import metrics
from vad_jax.types import DataError

Metric = Callable[[Any, Any], Any]  # (labels, scores) → float, None, or a tuple that begins so
Figures = Callable[[np.ndarray], np.ndarray]  # counts [B, V] → the figure of each [B], or NaN


class Clusters(NamedTuple):
    """Which videos are drawn together.

    Attributes:
      members: bool `[G, V]`, one cluster a row.
      unit: `videos` or `scenes`, as people say them.
    """

    members: np.ndarray
    unit: str

    def resamples(self, replicates: int, seed: int) -> np.ndarray:
        """Counts `[1 + G + B, V]`: all videos; all but those of each cluster in turn; and the
        draws, `default_rng(seed).integers(0, G, size=(B, G))`."""
        number, videos = self.members.shape
        drawn = np.random.default_rng(seed).integers(0, number, size=(replicates, number))
        places = drawn + number * np.arange(replicates)[:, None]
        times = np.bincount(places.ravel(), minlength=replicates * number)
        times = times.reshape(replicates, number).astype(np.float64) @ self.members
        whole = np.ones((1, videos), np.int64)
        return np.concatenate([whole, whole - self.members, times.astype(np.int64)])

    def holding(self, videos: np.ndarray) -> np.ndarray:
        """Which clusters hold one of the videos marked `[V]`, bool `[G]`."""
        return (self.members & videos).any(axis=1)


def clusters(videos: int, *, groups: Sequence[Hashable] | None = None) -> Clusters:
    """The clusters of V videos: `groups` names the one of each video; None, each is its own.

    Raises:
      DataError: no video, or not one group for each.
    """
    if not videos:
        raise DataError("There is no video to draw from. Give labels and scores of one at least.")
    if groups is None:
        return Clusters(np.eye(videos, dtype=bool), "videos")
    if len(groups) != videos:
        raise DataError(f"{len(groups)} groups are given for {videos} videos: name one for each.")
    names = dict.fromkeys(groups)
    return Clusters(np.array([[own == name for own in groups] for name in names]), "scenes")


def figures_of(
    metric: Metric, labels: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> Figures:
    """What gives the metric of every resample; the AUCs of `metrics.py` cost next to nothing.

    Args:
      metric: a function of `metrics.py`, or any of (labels, scores) with such a result.
      labels, scores: of scored frames only (`metrics.scored_frames`).
    """
    if metric is metrics.auc_micro:
        wins = pair_wins(labels, scores)
        return lambda counts: weighted(counts, *wins)
    if metric in PER_VIDEO:
        own = PER_VIDEO[metric](labels, scores)
        return lambda counts: _means(own, counts, *of_classes(labels))

    def anew(counts):
        videos = (np.repeat(np.arange(len(labels)), row) for row in counts)
        return np.array([_value(metric, labels, scores, row) for row in videos], np.float64)

    return anew


def _value(metric, labels, scores, drawn):
    value = metrics.value_of(metric, [labels[i] for i in drawn], [scores[i] for i in drawn])
    return np.nan if value is None else value


def of_classes(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which videos hold anomalous frames, and which hold normal ones, bool `[V]` each."""
    positive = np.array([truth.any() for truth in labels], bool)
    return positive, np.array([(~truth).any() for truth in labels], bool)


def weighted(
    counts: np.ndarray, wins: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> np.ndarray:
    """The micro AUC of every resample: wᵀUw / ((w·n₁)(w·n₀)), exact, and U is built once.

    Args:
      counts: `[B, V]`.
      wins, positives, negatives: as `pair_wins` returns them.

    Returns:
      `[B]`, NaN where a resample is of one class.
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


def _means(own, counts, positive, negative):
    """A mean over videos resampled: the same mean, weighted; NaN where a resample is of one class,
    so that no padding alone makes a figure."""
    has = np.array([value is not None for value in own], np.float64)
    values = np.array([0.0 if value is None else value for value in own])
    used = counts @ has
    known = (used > 0) & (counts @ positive > 0) & (counts @ negative > 0)
    return np.divide(counts @ values, used, out=np.full(len(counts), np.nan), where=known)


PER_VIDEO = {  # metrics that are means of a value that each video has by itself
    metrics.auc_macro: metrics.per_video_auc,
    metrics.auc_macro_padded: lambda labels, scores: metrics.per_video_padded(
        labels, scores, (-np.inf, np.inf)
    ),
    metrics.auc_macro_padded01: lambda labels, scores: metrics.per_video_padded(
        labels, scores, (0.0, 1.0)
    ),
}
