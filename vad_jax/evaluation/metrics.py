"""Frame metrics: how well scores rank anomalous frames above normal ones.

`labels` and `scores` are sequences of one-dimensional arrays, one a video: labels 0 or 1, scores
higher = stranger. A frame whose score is NaN leaves every metric together with its label. A metric
that does not exist, because the frames are of one class, is None, never 0.

Source: evaluation.md section 1; the golden cases are met to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.types import DataError

Videos = Sequence[np.ndarray]  # one array `[F]` a video


class Macro(NamedTuple):
    """The mean of the videos' own AUCs.

    Attributes:
      value: the mean, or None where no video holds both classes.
      used: videos with an AUC of their own.
      skipped: videos without one.
    """

    value: float | None
    used: int
    skipped: int


def scored_frames(labels: Videos, scores: Videos) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames that count: those with a score.

    Args:
      labels, scores: `[F]` a video.

    Returns:
      Labels (bool) and scores (float64) of the scored frames, a video each.

    Raises:
      DataError: lengths differ, a label is neither 0 nor 1, or a score is infinite.
    """
    if len(labels) != len(scores):
        raise DataError(
            f"There are labels of {len(labels)} videos but scores of {len(scores)}. "
            "Both lists hold one array a video, in the same order."
        )
    kept = [_scored(video, *pair) for video, pair in enumerate(zip(labels, scores, strict=True))]
    return [truth for truth, _ in kept], [values for _, values in kept]


def _scored(video, labels, scores):
    labels, scores = np.asarray(labels), np.asarray(scores, np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise DataError(
            f"Video {video} (counted from 0) has labels {labels.shape} but scores {scores.shape}. "
            "Both count every frame of the video; a frame without a score is NaN."
        )
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise DataError(
            f"Video {video} (counted from 0) has the label {wrong}. Labels are 0, normal, or 1, "
            "anomalous; give a frame of unknown label the score NaN and either label."
        )
    if np.isinf(scores).any():
        raise DataError(
            f"Video {video} (counted from 0) has an infinite score at frame "
            f"{np.flatnonzero(np.isinf(scores))[0]}. A score is finite, or NaN where there is none."
        )
    kept = ~np.isnan(scores)
    return labels[kept] == 1, scores[kept]


def _auc(labels, scores):
    positive, negative = scores[labels], np.sort(scores[~labels])
    if not positive.size or not negative.size:
        return None
    below = np.searchsorted(negative, positive, "left")
    at_most = np.searchsorted(negative, positive, "right")  # a tie counts one half
    return float((below.sum() + at_most.sum()) / (2 * positive.size * negative.size))


def auc_micro(labels: Videos, scores: Videos) -> float | None:
    """The probability that an anomalous frame of any video outranks a normal one of any video.

    Args:
      labels, scores: `[F]` a video.

    Returns:
      P(positive > negative) + ½ P(equal) in 0..1, or None.

    >>> auc_micro([[0, 1], [0, 1]], [[0.1, 0.9], [0.5, 0.5]])
    0.875
    """
    labels, scores = scored_frames(labels, scores)
    return _auc(*_joined(labels, scores))


def _joined(labels, scores):
    if not labels:
        return np.zeros(0, bool), np.zeros(0)
    return np.concatenate(labels), np.concatenate(scores)


def per_video_auc(labels: Videos, scores: Videos) -> list[float | None]:
    """The AUC of each video by itself; None where its scored frames are of one class."""
    return [_auc(*video) for video in zip(*scored_frames(labels, scores), strict=True)]


def auc_macro(labels: Videos, scores: Videos) -> Macro:
    """The mean of the videos' own AUCs; videos of one class are skipped and counted (strict)."""
    return _macro(per_video_auc(labels, scores))


def auc_macro_padded(labels: Videos, scores: Videos) -> Macro:
    """The macro AUC over all videos, each padded in rank.

    Every video gains one negative below and one positive above all its frames, so that every
    video has an AUC. That lifts chance above one half: print it beside the strict one only. None
    where all scored frames are of one class: the padding alone would make it.
    """
    return _padded(labels, scores, (-np.inf, np.inf))


def auc_macro_padded01(labels: Videos, scores: Videos) -> Macro:
    """The macro AUC over all videos, each padded with the literal scores 0 and 1.

    What Jigsaw-VAD and AED-MAE publish [code]; for comparison with those papers only.
    """
    return _padded(labels, scores, (0.0, 1.0))


def per_video_padded(
    labels: Videos, scores: Videos, pair: tuple[float, float]
) -> list[float | None]:
    """The AUC of each video with one more negative and one more positive of the scores `pair`.

    A video without a single scored frame has None: it would count as 1 by its padding alone.
    """
    return [
        _auc(np.append(truth, [False, True]), np.append(values, pair)) if values.size else None
        for truth, values in zip(*scored_frames(labels, scores), strict=True)
    ]


def _padded(labels, scores, pair):
    own, (kept, _) = per_video_padded(labels, scores, pair), scored_frames(labels, scores)
    both = any(truth.any() for truth in kept) and not all(truth.all() for truth in kept)
    return _macro(own if both else [None] * len(own))


def _macro(values):
    own = [value for value in values if value is not None]
    mean = float(np.mean(own)) if own else None
    return Macro(mean, len(own), len(values) - len(own))


def _roc(labels, scores):
    """Counts of false and true alarms, `[D]` each, at every distinct threshold, highest first."""
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # ties enter together
    hits = np.cumsum(labels)[last]
    return last + 1 - hits, hits


def average_precision(labels: Videos, scores: Videos) -> float | None:
    """Precision averaged over the recall that each distinct threshold adds: Σ (Rₙ − Rₙ₋₁) Pₙ.

    Chance is the share of positives. No interpolation; all videos in one ranking.
    """
    labels, scores = _joined(*scored_frames(labels, scores))
    if labels.all() or not labels.any():
        return None
    false, hits = _roc(labels, scores)
    return float(np.sum(np.diff(hits, prepend=0) * hits / (false + hits)) / hits[-1])


def equal_error_rate(labels: Videos, scores: Videos) -> float | None:
    """The rate at which as many normal frames alarm as anomalous frames do not, in 0..1.

    Read off the ROC polyline by linear interpolation, so that a constant score has one half.
    """
    labels, scores = _joined(*scored_frames(labels, scores))
    if labels.all() or not labels.any():
        return None
    false, hits = (np.append(0, counts) / counts[-1] for counts in _roc(labels, scores))
    excess = false + hits - 1  # FPR − (1 − TPR): from −1 to 1, never falling
    after = int(np.argmax(excess >= 0))
    share = excess[after - 1] / (excess[after - 1] - excess[after])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def value_of(metric: Callable[..., Any], labels: Videos, scores: Videos) -> float | None:
    """The number itself of a metric, of which some say more."""
    value = metric(labels, scores)
    return value[0] if isinstance(value, tuple) else value


# What methods are compared by; turning a score turns x into 1 − x.
COMPARED = {"auc_micro": auc_micro, "auc_macro": auc_macro}
