"""The tables of a scored video: its frames with score and alarm, and its alarms as events."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from vad_jax import atomic


def alarms(
    values: np.ndarray, threshold: float, times: np.ndarray, *, hold_seconds: float
) -> np.ndarray:
    """The frames in alarm: runs of scores above a threshold, short gaps bridged.

    As `evaluation.events` has them, by the frames' own times.

    Args:
      values: scores `[F]`, NaN where there is none: such a frame is not above.
      threshold: alarm where a score is above.
      times: seconds `[F]`.
      hold_seconds: a gap, at most, that an alarm bridges.

    Returns:
      int64 `[S, 2]`, first frame and the one behind the last.

    >>> alarms(np.array([0, 9, 0, 9, 0]), 5, np.arange(5) / 10, hold_seconds=0.1).tolist()
    [[1, 4]]
    """
    edges = np.flatnonzero(np.diff(values > threshold, prepend=False, append=False))
    runs = edges.reshape(-1, 2).astype(np.int64)
    if not len(runs):
        return runs
    gaps = times[runs[1:, 0]] - times[runs[:-1, 1]]
    apart = gaps > hold_seconds + 1e-6
    begins, ends = np.append(True, apart), np.append(apart, True)
    return np.stack([runs[begins, 0], runs[ends, 1]], axis=1)


def write_scores(
    path: Path,
    values: np.ndarray,
    times: np.ndarray | None,
    threshold: float | None,
    found: np.ndarray,
) -> None:
    """Writes a row a frame: `frame, seconds, score, alarm`.

    Args:
      path: of the CSV.
      values: scores `[F]`, NaN = none: an empty cell.
      times: seconds `[F]`, or None: empty cells.
      threshold: None for no alarms: empty cells.
      found: the frames in alarm, as `alarms` gives them.
    """
    inside = np.zeros(len(values), int)
    for first, behind in found.tolist():
        inside[first:behind] = 1
    with atomic.whole(path, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "seconds", "score", "alarm"])
        for frame, value in enumerate(values.tolist()):
            score = "" if math.isnan(value) else f"{value:.6g}"
            alarm = "" if threshold is None else inside[frame]
            rows.writerow([frame, _when(times, frame), score, alarm])


def write_events(
    path: Path, values: np.ndarray, times: np.ndarray | None, found: np.ndarray
) -> None:
    """Writes a row an alarm: its first and last frame, when they are seen, and its peak.

    Arguments as `write_scores`'s.
    """
    with atomic.whole(path, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["first_frame", "last_frame", "first_seconds", "last_seconds", "peak_frame", "peak"]
        )
        for first, behind in found.tolist():
            peak = first + int(np.nanargmax(values[first:behind]))
            frames = [first, behind - 1]
            seen = [_when(times, frame) for frame in frames]
            rows.writerow([*frames, *seen, peak, f"{values[peak]:.6g}"])


def _when(times: np.ndarray | None, frame: int) -> str:
    return "" if times is None else f"{times[frame]:.3f}"
