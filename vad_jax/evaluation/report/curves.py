"""ROC and PR curves and histograms of scores, in shares of a box of 100 x 100.

Letters: N scored frames with a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BOX = 100
POINTS = 250  # of a curve; the largest steps of a long one are kept by equal length
BINS = 40


def roc(labels: np.ndarray, scores: np.ndarray) -> str:
    """The ROC as a path: false alarms to the right, recall upwards; one vertex a distinct score.

    Args:
      labels: `[N]` bool.
      scores: `[N]` float64, higher = stranger.
    """
    hits, alarms = _counts(labels, scores)
    recall = np.concatenate([[0], hits / labels.sum()])
    return path(np.concatenate([[0], alarms / (~labels).sum()]), recall)


def precision_recall(labels: np.ndarray, scores: np.ndarray) -> str:
    """The PR curve as steps: recall to the right, precision upwards; arguments as `roc`."""
    hits, alarms = _counts(labels, scores)
    precision, recall = hits / (hits + alarms), hits / labels.sum()
    across = np.repeat(np.concatenate([[0], recall]), 2)[1:-1]
    return path(across, np.repeat(precision, 2))


def histogram(labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """The distribution of both classes as closed paths, each scaled to its own largest bin.

    The axis runs over the central 99 % of all scores; what lies beyond is in the last bins. `ticks`
    are its ends and its middle.
    """
    low, high = np.percentile(scores, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    clipped = np.clip(scores, edges[0], edges[-1])
    marks = (edges[0], (edges[0] + edges[-1]) / 2, edges[-1])
    paths = {"ticks": [f"{mark:.3g}" for mark in marks]}
    for name, chosen in (("normal", ~labels), ("anomalous", labels)):
        share, _ = np.histogram(clipped[chosen], edges)
        heights = np.repeat(share / max(share.max(), 1), 2)
        across = np.repeat(np.linspace(0, 1, BINS + 1), 2)[1:-1]
        paths[name] = path(np.r_[0, across, 1], np.r_[0, heights, 0])
    return paths


def _counts(labels, scores):
    """True and false alarms at each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[last].astype(np.float64)
    return hits, last + 1 - hits


def path(x: np.ndarray, y: np.ndarray) -> str:
    """A curve in 0..1 as a path in the box."""
    if len(x) > POINTS:
        along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)))
        x, y = x[kept], y[kept]
    pairs = zip(BOX * np.asarray(x), BOX * (1 - np.asarray(y)), strict=True)
    return "M" + "L".join(f"{a:.2f},{b:.2f}" for a, b in pairs)
