"""What the controls see of raw frames, as these are decoded for something else: a frame is read
once.

An observer watches videos: `start(name)` gives a watch that takes the frames of a video one by one,
and whose `result()` are plain arrays; they may be kept under the observer's `key`, which is another
one where the result would be another.

Source: evaluation.md section 5, whose table is met to 0.01.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

RULES = "1"  # of what is computed of a frame; changes with it


class PixelControls:
    """Scores that need no learning: brightness and change, and the distance to a mean frame.

    Args:
      mean_frame: float64 `[H, W]`, mean of all training frames; a video of another size, and
        every video where it is None, has no distance to it.
    """

    def __init__(self, mean_frame: np.ndarray | None = None):
        self._mean = None if mean_frame is None else np.asarray(mean_frame, np.float64)
        self.key = _key("pixel controls", () if self._mean is None else (self._mean,))

    def start(self, name: str) -> PixelWatch:
        """A watch for the video `name`."""
        return PixelWatch(self._mean)


class PixelWatch:
    """The pixel controls of one video; two frames are held."""

    def __init__(self, mean_frame: np.ndarray | None):
        self._mean, self._before = mean_frame, None
        self._intensity, self._absolute, self._squared, self._distance = [], [], [], []

    def push(self, grey: np.ndarray) -> None:
        """Takes the next frame, uint8 `[H, W]`; the array may be written over afterwards."""
        now = np.asarray(grey).astype(np.int32)
        self._intensity.append(now.mean())
        if self._before is not None:
            difference = now - self._before
            self._absolute.append(np.abs(difference).mean())
            self._squared.append(np.square(difference).mean())
        elif self._mean is not None and self._mean.shape != now.shape:
            self._mean = None
        if self._mean is not None:
            self._distance.append(np.abs(now - self._mean).mean())
        self._before = now

    def result(self) -> dict[str, np.ndarray]:
        """Name → `[F]` float64, in no particular direction."""
        values = {
            "mean intensity": self._intensity,
            "mean absolute difference": _changes(self._absolute),
            "mean squared difference": _changes(self._squared),
        }
        if self._mean is not None:
            values["distance to mean"] = self._distance
        count = len(self._intensity)
        return {name: np.array(column[:count], np.float64) for name, column in values.items()}


def _changes(differences):
    """Frame 0 has no frame −1: it takes the value of frame 1, or 0 where there is none."""
    return (differences[:1] or [0.0]) + differences


class MeanFrame:
    """The sum of training frames, from which their mean is made (`mean_of`).

    Args:
      left_out: video → positions of frames that training leaves out.
    """

    def __init__(self, left_out: Mapping[str, Collection[int]] | None = None):
        self._left_out = {name: frozenset(gone) for name, gone in (left_out or {}).items()}
        named = sorted((name, sorted(gone)) for name, gone in self._left_out.items() if gone)
        self.key = _key("mean frame", [repr(each) for each in named])

    def start(self, name: str) -> SumWatch:
        """A watch for the video `name`."""
        return SumWatch(self._left_out.get(name, frozenset()))


class SumWatch:
    """The sum of the frames of one video."""

    def __init__(self, left_out: Collection[int]):
        self._left_out, self._position, self._count = left_out, 0, 0
        self._total: np.ndarray | None = None
        self._sizes: set[tuple[int, ...]] = set()

    def push(self, grey: np.ndarray) -> None:
        """Takes the next frame, uint8 `[H, W]`; the array may be written over afterwards."""
        position, self._position = self._position, self._position + 1
        if position in self._left_out:
            return
        self._count += 1
        self._sizes.add(np.shape(grey))
        if len(self._sizes) == 1:
            self._total = np.zeros(np.shape(grey)) if self._total is None else self._total
            self._total += grey

    def result(self) -> dict[str, Any]:
        """`total` float64 `[H, W]` of `count` frames; `[0, 0]` of none, or of several sizes."""
        empty = len(self._sizes) != 1
        return {"total": np.zeros((0, 0)) if empty else self._total, "count": self._count}


def mean_of(results: Iterable[Mapping[str, Any]]) -> np.ndarray | None:
    """The mean of the frames of all videos, float64 `[H, W]`.

    Args:
      results: of `MeanFrame`'s watches.

    Returns:
      None where no frame counts, or frames are of several sizes.
    """
    total, count = None, 0
    for result in results:
        if int(result["count"]):
            own, count = np.asarray(result["total"]), count + int(result["count"])
            if not own.size or (total is not None and total.shape != own.shape):
                return None
            total = own if total is None else total + own
    return None if total is None else total / count


def _key(what, values) -> str:
    """A name for results that depend on these values, 16 hex digits."""
    whole = hashlib.sha256(f"{what} {RULES}".encode())
    for value in values:
        data = value if isinstance(value, np.ndarray) else np.frombuffer(value.encode(), np.uint8)
        whole.update(f"\0{data.dtype} {data.shape}\0".encode())
        whole.update(np.ascontiguousarray(data).tobytes())
    return whole.hexdigest()[:16]
