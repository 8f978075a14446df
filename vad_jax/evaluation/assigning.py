"""Which frame a row gives its values to, where rows share frames.

Letters: R rows, S frames that a row scores, K labels, N pairs of a row and a frame, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from vad_jax.types import ConfigError, DataError, VideoScores

NINTH = 8  # offset of the ninth frame among those that a row scores
WAYS = ("mean", "ninth", "newest")

How = Literal["mean", "ninth", "newest"] | None  # None: rows are reduced to frames later


class Pairs(NamedTuple):
    """What rows say of frames, in the order of the rows.

    Attributes:
      frame: int64 `[N]`, counted in the video.
      parts: name → float64 `[N]` or `[N, K]`, NaN = none.
      boxes: float64 `[N, 4]` in pixels of the source frame, or None.
    """

    frame: np.ndarray
    parts: dict[str, np.ndarray]
    boxes: np.ndarray | None

    def where(self, kept: np.ndarray) -> Pairs:
        """Some of them: `kept` bool `[N]`."""
        parts = {name: values[kept] for name, values in self.parts.items()}
        return Pairs(self.frame[kept], parts, None if self.boxes is None else self.boxes[kept])

    def after(self, other: Pairs) -> Pairs:
        """These behind others; a part that one of the two lacks is NaN there."""
        both = other, self
        shapes = _shapes(both)
        parts = {
            name: np.concatenate([_of(each, name, shape) for each in both])
            for name, shape in shapes.items()
        }
        boxes = [each.boxes for each in both if len(each.frame)]
        joined = None if not boxes or boxes[0] is None else np.concatenate(boxes)
        return Pairs(np.concatenate([each.frame for each in both]), parts, joined)


NOTHING = Pairs(np.zeros(0, np.int64), {}, None)


def _shapes(several):
    """Part → shape of a value; pairs that are none cannot say how many labels there are."""
    shapes = {}
    for values in several:
        for name, part in values.parts.items():
            if len(part) or name not in shapes:
                shapes[name] = part.shape[1:]
    return shapes


def _of(values, name, shape):
    """A part of pairs; where they lack it, NaN."""
    if name in values.parts and len(values.frame):
        return values.parts[name]
    return np.full((len(values.frame), *shape), np.nan)


def pairs(rows: VideoScores, how: How, *, behind: int = -1) -> tuple[Pairs, int]:
    """The frames that each row gives a value to.

    `mean`: all that it scores. `ninth`: the ninth of them, which takes the row's mean. `newest`:
    those behind every frame that an earlier row scored, so that a frame takes the value of the
    oldest row that scores it, and after a gap a row gives all it can. `ninth` says a frame once,
    too. None: all, as `mean`.

    Args:
      rows: of one video, rising.
      how: see above.
      behind: the last frame that rows before these scored; −1 where there were none.

    Returns:
      The pairs, and the last frame that is scored by now (`newest`) or has its value (`ninth`).

    Raises:
      ConfigError: rows without a ninth frame; a way that does not exist.
      DataError: values of another shape than the frames.
    """
    frame = np.asarray(rows.frame, np.int64)
    parts = {name: np.asarray(part, np.float64) for name, part in rows.parts.items()}
    for name, part in parts.items():
        if part.shape[:2] != frame.shape or part.ndim not in (2, 3):
            raise DataError(
                f"{rows.name}: {frame.shape[0]} rows that score {frame.shape[1]} frames each need "
                f"values of shape {frame.shape}, and perhaps an axis of labels; the part "
                f"{name!r} is {part.shape}."
            )
    if how == "ninth":
        frame, parts = _ninth(frame, parts, rows.name)
    if how in ("newest", "ninth"):
        kept, behind = _new(frame, behind)
    elif how in ("mean", None):
        kept = np.ones(frame.shape, bool)
    else:
        raise ConfigError(f"No way to assign rows is called {how!r}: {', '.join(WAYS)}.")
    boxes = None
    if rows.boxes is not None:
        boxes = np.asarray(rows.boxes, np.float64).reshape(-1, 4)
        boxes = np.repeat(boxes, frame.shape[1], axis=0)[kept.ravel()]
    return Pairs(frame[kept], {name: part[kept] for name, part in parts.items()}, boxes), behind


def _ninth(frame, parts, video):
    if frame.shape[1] <= NINTH:
        raise ConfigError(
            f"{video}: rows that score {frame.shape[1]} frames have no ninth: let the fusion "
            'assign their mean, ("assign", "mean").'
        )
    rows = np.repeat(np.arange(len(frame)), frame.shape[1])
    means = {
        name: mean(rows, part.reshape(len(rows), *part.shape[2:]), len(frame))[:, None]
        for name, part in parts.items()
    }
    return frame[:, NINTH : NINTH + 1], means


def _new(frame, behind):
    """Which frames lie behind all those of earlier rows, `[R, S]`, and the last of all."""
    last = frame.max(axis=1, initial=-1)
    seen = np.maximum.accumulate(np.concatenate([[behind], last]))
    return frame > seen[:-1, None], int(seen[-1])


def mean(frame: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    """The mean of the values that each frame has, NaN left out, added up in their order.

    Args:
      frame: `[N]`, below `length`.
      values: `[N]` or `[N, K]`.

    Returns:
      `[F]` or `[F, K]`, NaN where a frame has none.
    """
    if values.ndim == 2:
        columns = [mean(frame, column, length) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.zeros((length, 0))
    given = ~np.isnan(values)
    number = np.bincount(frame[given], minlength=length)
    total = np.bincount(frame[given], weights=values[given], minlength=length)
    return np.divide(total, number, out=np.full(length, np.nan), where=number > 0)


def highest(frame: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    """The largest of the values that each frame has; arguments and result as `mean`'s."""
    found = np.full((length, *values.shape[1:]), np.nan)
    np.fmax.at(found, frame, values)
    return found


def inside(found: Pairs, length: int, video: str) -> Pairs:
    """The pairs as they are, if what they say is of frames of the video.

    Raises:
      DataError: a value for a frame that the video does not have.
    """
    for values in found.parts.values():
        given = ~np.isnan(values)
        given = given.any(axis=1) if given.ndim == 2 else given
        outside = given & ((found.frame < 0) | (found.frame >= length))
        if outside.any():
            raise DataError(
                f"{video}: a row scores frame {found.frame[outside][-1]} of a video of {length} "
                "frames. Rows lie inside their video: check the length."
            )
    return found.where((found.frame >= 0) & (found.frame < length))


def aligned(videos: Sequence[Pairs]) -> list[Pairs]:
    """Videos with the same parts each, sorted: what one of them lacks is NaN there."""
    shapes = sorted(_shapes(videos).items())
    return [
        video._replace(parts={name: _of(video, name, shape) for name, shape in shapes})
        for video in videos
    ]
