"""What the operations of a fusion do, one after the other, to the values of several videos.

A series is `[N]` or `[N, K]` of one video: its rows, where rows are objects that are not yet
reduced, else its frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vad_jax.evaluation.assigning import Pairs, highest
from vad_jax.evaluation.objects import map_scores
from vad_jax.evaluation.series import minmax, smooth, smooth_on
from vad_jax.types import ConfigError

Series = list[np.ndarray]  # one a video
Operation = tuple[Any, ...]
Past = dict[int, dict[tuple[str, int], np.ndarray]]  # place of a `smooth` → name, label → values


class Values:
    """What the operations move.

    Attributes:
      now: name → series a video: the parts, and what was made of them.
      parts: names of those that have statistics.
      statistics: part → `mean` and `std` on normal clips.
      signs: name → −1 where it was turned.
      known: names that operations may speak of, there or not.
      rows: a video's rows while they are not reduced to its frames; None where values are of
        frames.
      lengths: frames of each video.
      wanted: the result that is asked for.
      single: whether the video was given by itself rather than as a set.
    """

    def __init__(
        self,
        given: Mapping[str, Series],
        *,
        parts: tuple[str, ...],
        statistics: Mapping[str, Mapping[str, float]] | None,
        known: set[str],
        lengths: Sequence[int],
        wanted: str,
        rows: Sequence[Pairs] | None,
        single: bool,
    ):
        self.now = {name: list(videos) for name, videos in given.items()}
        self.parts = parts
        self.signs = dict.fromkeys(self.now, 1)
        self.statistics = statistics or {}
        self.known, self.rows = known, rows
        self.lengths, self.wanted, self.single = lengths, wanted, single

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Changes every series, by label where there are several."""
        self.now = {
            name: [by_label(change, video) for video in videos] for name, videos in self.now.items()
        }

    def run(self, operations: Sequence[Operation], *, past: Past | None = None) -> None:
        """Does the operations in order.

        Args:
          operations: that `fusion_check.well_formed` let through.
          past: of a stream, moved on: what smoothing needs of the frames before these, which
            belong to one video then.
        """
        for number, (name, *arguments) in enumerate(operations):
            if name == "reduce":
                _reduce(self, *arguments, behind=operations[number + 1 :])
            elif name == "smooth" and past is not None:
                _smooth_on(self, *arguments, past=past.setdefault(number, {}))
            elif name not in ("assign", "filter"):  # done on the way in, and by `reduce`
                OPERATIONS[name](self, *arguments)


def by_label(change: Callable[[np.ndarray], np.ndarray], series: np.ndarray) -> np.ndarray:
    """A change of `[N]` done to each label of `[N, K]`."""
    if series.ndim == 1 or not series.shape[1]:
        return change(series)
    return np.stack([change(label) for label in series.T], axis=1)


def sources(how: Mapping[str, float] | str, parts: Sequence[str]) -> tuple[str, ...]:
    """The values that a `combine` takes."""
    return tuple(how) if isinstance(how, Mapping) else tuple(parts)


def _negate(values, part):
    if part in values.now:
        values.now[part] = [-video for video in values.now[part]]
        values.signs[part] = -values.signs.get(part, 1)
    elif part not in values.known:
        raise ConfigError(
            f"The fusion negates {part!r}, which is no part: {', '.join(sorted(values.known))}."
        )


def _standardise(values):
    for part in values.parts:
        known = values.statistics.get(part)
        if known is None:
            raise ConfigError(
                f"There are no statistics of normal clips for the part {part!r}. "
                "Standardising needs its mean and deviation: measure them on normal videos."
            )
        mean, deviation = values.signs[part] * float(known["mean"]), float(known["std"])
        if not (np.isfinite(mean) and 0 <= deviation < np.inf):
            raise ConfigError(
                f"The part {part!r} has mean {known['mean']} and deviation {known['std']} on "
                "normal clips; standardising needs finite numbers."
            )
        # A part without spread has no scale: it says nothing, as a constant one under min–max.
        values.now[part] = [
            (video - mean) / deviation if deviation else 0 * video for video in values.now[part]
        ]


def _minmax(values, over):
    if over == "video":
        values.each(minmax)
        return
    if values.single:
        raise ConfigError(
            "Min–max over the set needs all its videos, not one by itself: give a list of them."
        )
    for name, videos in values.now.items():
        ends = np.cumsum([len(video) for video in videos])[:-1]
        values.now[name] = np.split(by_label(minmax, np.concatenate(videos)), ends)


def _combine(values, result, how, *parts):
    found = [part for part in sources(how, parts) if part in values.now]
    if not found:
        return
    columns = [values.now[part] for part in found]
    videos = [_stacked(video, found) for video in zip(*columns, strict=True)]  # [P, N] or [P, N, K]
    if isinstance(how, Mapping):
        weights = np.array([how[part] for part in found], np.float64)
        if not weights.sum():
            raise ConfigError(f"The weights of {result!r} over {', '.join(found)} add up to 0.")
        weights /= weights.sum()
        # Not a matrix product: it rounds a frame otherwise than a whole video.
        values.now[result] = [
            sum(weight * part for weight, part in zip(weights, video, strict=True))
            for video in videos
        ]
    elif how == "max":
        values.now[result] = [video.max(axis=0) for video in videos]
    elif len(found) == 2:  # squared_difference
        values.now[result] = [np.square(video[0] - video[1]) for video in videos]


def _stacked(series, names):
    if len({one.shape for one in series}) > 1:
        shapes = ", ".join(f"{name} {one.shape}" for name, one in zip(names, series, strict=True))
        raise ConfigError(f"Parts of several labels combine with parts of as many: {shapes}.")
    return np.stack(series)


def _reduce(values, how, *, behind):
    """Rows to frames; what is of frames already stays."""
    if values.rows is None:
        return
    window = behind[0][1] if behind and behind[0][0] == "filter" else (1, 1, 1)
    later = [sources(taken, parts) for _, _, taken, *parts in _combines(behind)]
    needed = {values.wanted}.union(*later)
    reduced = {}
    for name in sorted(values.now.keys() & needed):
        own = zip(values.now[name], values.rows, values.lengths, strict=True)
        reduced[name] = [
            map_scores(rows.frame, video, rows.boxes, length, window=window)
            if how == "map"
            else highest(rows.frame, video, length)
            for video, rows, length in own
        ]
    values.now, values.rows = reduced, None


def _combines(operations):
    return [operation for operation in operations if operation[0] == "combine"]


def _smooth(values, kernel, edges, causal):
    values.each(lambda video: smooth(video, kernel, edges=edges, causal=causal))


def _smooth_on(values, kernel, edges, causal, *, past):
    """`_smooth` of a stream, by the past alone (`causal`, as `fusion_check` has seen to)."""
    for name, (video,) in values.now.items():
        labels = []
        for label, series in enumerate((video[:, None] if video.ndim == 1 else video).T):
            smoothed, past[name, label] = smooth_on(
                series, kernel, edges=edges, past=past.get((name, label))
            )
            labels.append(smoothed)
        values.now[name] = [np.stack(labels, axis=1).reshape(video.shape)]


def _floor(values, value):
    """No value below `value`, which also stands where there is none: «nothing there»."""
    values.now = {
        name: [np.fmax(video, value) for video in videos] for name, videos in values.now.items()
    }


OPERATIONS = {
    "negate": _negate,
    "standardise": _standardise,
    "minmax": _minmax,
    "combine": _combine,
    "smooth": _smooth,
    "floor": _floor,
}
