"""From the scores of objects to the score of their frame, by way of a map where it is filtered.

A map covers the frame at a quarter of its resolution. A pixel of it holds the largest score of the
boxes that cover it, 0 where there is none; every frame has such a pixel, so that its score by a map
is never below 0, whatever its objects score. The published filter of 5x5 pixels becomes one pixel
of the map: the maximum is the same where objects overlap by 8 pixels or more.

Letters: N objects, F frames. Source: ssmtl.md section 6.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from vad_jax.types import ConfigError, DataError

CELL = 4  # pixels of the source frame along the side of one pixel of a map


def map_scores(
    frame: np.ndarray,
    values: np.ndarray,
    boxes: np.ndarray | None,
    length: int,
    *,
    window: Sequence[int] = (1, 1, 1),
) -> np.ndarray:
    """The maximum of each frame's map, after a mean filter in time, height and width.

    As many maps are in memory as the filter is long in time.

    Args:
      frame: `[N]`, the objects' frames.
      values: `[N]`, their scores; an object of NaN is not painted.
      boxes: `[N, 4]`, x0, y0, x1, y1 in pixels of the source frame.
      length: F.
      window: of the filter: frames, height and width in pixels of the source frame, rounded to
        whole pixels of the map; beyond the video and the frame it counts 0.

    Returns:
      `[F]` float64, never NaN.

    Raises:
      ConfigError: scores of several labels.
      DataError: objects without boxes, or a box that is not finite.
    """
    if values.ndim != 1:
        raise ConfigError("A map is painted of one score an object: labels are reduced by `max`.")
    given = ~np.isnan(values)
    if tuple(window) == (1, 1, 1) or not given.any():
        found = np.zeros(length)
        np.fmax.at(found, frame[given], values[given])
        return found
    if boxes is None:
        raise DataError("Rows without boxes cannot be painted into a map: reduce them by `max`.")
    maps = _maps(frame[given], values[given], boxes[given], length, window[1:])
    return _peaks(maps, length, window[0])


def _maps(frame, values, boxes, length, window) -> Iterator[np.ndarray | None]:
    """The filtered map of each frame; None, 0 throughout, where nothing is painted."""
    if not np.isfinite(boxes).all():
        raise DataError("A box is NaN or infinite. Boxes are x0, y0, x1, y1 in pixels.")
    first = np.rint(boxes[:, :2] / CELL).astype(np.int64)
    end = np.maximum(np.rint(boxes[:, 2:] / CELL).astype(np.int64), first + 1)
    corner = first.min(axis=0, initial=0)
    first, end = first - corner, end - corner
    width, height = end.max(axis=0, initial=1)
    order = np.argsort(frame, kind="stable")
    starts = np.searchsorted(frame[order], np.arange(length + 1))
    for own in (order[begin:stop] for begin, stop in itertools.pairwise(starts)):
        if not len(own):
            yield None
            continue
        painted = np.full((height, width), -np.inf)
        for box in own:
            (x0, y0), (x1, y1) = first[box], end[box]
            np.maximum(painted[y0:y1, x0:x1], values[box], out=painted[y0:y1, x0:x1])
        painted[np.isneginf(painted)] = 0
        yield _filtered(_filtered(painted, window[0], 0), window[1], 1)


def _filtered(values, pixels, axis):
    """The mean of a map in every window of so many pixels of the source frame along an axis."""
    cells = max(1, round(pixels / CELL))
    padded = np.pad(values, [(cells - 1,) * 2 if a == axis else (0, 0) for a in (0, 1)])
    places = range(values.shape[axis] + cells - 1)
    return sum(padded.take(np.add(places, step), axis) for step in range(cells)) / cells


def _peaks(maps, length, frames):
    """The maximum of the mean of neighbouring maps, `[F]`; the window is centred."""
    before, after = frames // 2, (frames - 1) // 2
    near = deque([None] * before, maxlen=frames)  # maps, oldest first
    for _ in range(after):
        near.append(next(maps, None))
    peaks = np.zeros(length)
    for frame in range(length):
        near.append(next(maps, None))
        known = [each for each in near if each is not None]
        if known:
            peaks[frame] = max(0.0, sum(known).max() / frames)
    return peaks
