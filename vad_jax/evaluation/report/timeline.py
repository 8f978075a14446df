"""Where the lines and shades of a video's timeline go, in shares of its width and height.

Shares rather than pixels: the page stretches them to the reader's screen.
"""

from __future__ import annotations

import numpy as np

POINTS = 600  # a line's most points; beyond that each point is the largest of its frames
WIDTH, HEIGHT = 1000, 100  # the unit box of the drawing


def runs(true: np.ndarray) -> list[tuple[int, int]]:
    """The maximal runs of a `[F]` bool array as half-open intervals.

    >>> runs(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], true.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def shades(true: np.ndarray) -> list[dict[str, float]]:
    """The runs of a `[F]` bool array as `left` and `width`, per cent of the timeline."""
    return [
        {
            "left": round(100 * start / len(true), 3),
            "width": round(100 * (end - start) / len(true), 3),
        }
        for start, end in runs(true)
    ]


def line(scores: np.ndarray, low: float, high: float) -> str:
    """The path of a video's scores in a box of 1000 x 100, broken where there is none.

    Args:
      scores: `[F]`, NaN = no score.
      low, high: scores at the box's lower and upper edge.
    """
    values, step = _peaks(scores)
    y = _height(values, low, high)
    x = WIDTH * (np.arange(len(values)) + 0.5) * step / max(len(scores), 1)
    pieces = []
    for start, end in runs(~np.isnan(values)):
        points = [f"{x[i]:.1f},{y[i]:.1f}" for i in range(start, end)]
        pieces.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return "".join(pieces)


def level(score: float, low: float, high: float) -> str:
    """The path of one score across the whole timeline; arguments as `line`'s.

    >>> level(1.0, 0.0, 4.0)
    'M0,75.0L1000,75.0'
    """
    y = _height(score, low, high)
    return f"M0,{y:.1f}L{WIDTH},{y:.1f}"


def _height(values, low, high):
    return HEIGHT * (1 - np.clip((values - low) / (high - low if high > low else 1.0), 0, 1))


def _peaks(scores):
    step = -(-len(scores) // POINTS)
    if step <= 1:
        return scores, 1
    padded = np.pad(scores, (0, -len(scores) % step), constant_values=np.nan)
    return np.fmax.reduce(padded.reshape(-1, step), axis=1), step  # fmax leaves NaN aside


def extent(videos: list[np.ndarray]) -> tuple[float, float]:
    """The least and the largest score of a set; 0 and 1 where there is none."""
    given = [video[~np.isnan(video)] for video in videos]
    given = np.concatenate(given) if given else np.zeros(0)
    return (float(given.min()), float(given.max())) if given.size else (0.0, 1.0)
