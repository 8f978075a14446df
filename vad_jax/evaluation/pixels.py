"""Pixel metrics: how well error maps show where it is strange.

`masks` and `maps` hold one item a video, in the same order: an array `[F, h, w]` or an iterator of
frames `[h, w]`. Both are read once, a frame at a time, so that a test set need not fit in memory.
A map is higher = stranger and is brought to its mask's size (bilinear). A frame whose map is NaN
has no score and leaves the metric with its mask. Only videos with masks take part: leave the
others out of both.

Source: evaluation.md section 2; the golden cases are met to 1e-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np

from vad_jax.evaluation.metrics import auc_micro
from vad_jax.types import DataError

Frames = Iterable[np.ndarray]  # `[h, w]` each

RUN = 2**20  # values of a sorted run: 4 MiB of float32


def pixel_auc_40(masks: Iterable[Frames], maps: Iterable[Frames]) -> float | None:
    """The UCSD criterion: an anomalous frame is a hit where 40 % of its anomalous pixels alarm.

    At a threshold a normal frame is a false alarm if any pixel is at or above it. It does not
    punish false pixels in anomalous frames: a map that is flat within each frame has the frame
    AUC. Hence always beside `pixel_auc`.

    Args:
      masks: `[F, H, W]` a video, not 0 where anomalous.
      maps: `[F, h, w]` a video.

    Returns:
      The AUC over frames in 0..1; None where the scored frames are of one class.

    Raises:
      DataError: masks and maps of different length, a map with an infinite value, or with NaN in
        some of its pixels.

    Source: Mahadevan et al. 2010. With P truth pixels an anomalous frame counts by the k-th
    largest map value inside them, k = ⌈0.4 P⌉, a normal frame by the map's maximum.
    """
    pairs = _pairs(masks, maps, "video")
    levels = [
        frame_levels(its_masks, its_maps, video=v) for v, (its_masks, its_maps) in enumerate(pairs)
    ]
    return auc_micro([labels for labels, _ in levels], [values for _, values in levels])


def frame_levels(masks: Frames, maps: Frames, *, video: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The threshold from which each scored frame of a video alarms by the UCSD criterion.

    Args:
      masks: `[F, H, W]`, not 0 where anomalous.
      maps: `[F, h, w]`.
      video: its number, for messages.

    Returns:
      Whether the mask holds a pixel, bool, and the level, float64, of each frame with a score.
    """
    labels, levels = [], []
    for mask, values in _of_video(masks, maps, video):
        inside = values[mask]
        labels.append(inside.size > 0)
        levels.append(_hit_level(inside) if inside.size else values.max())
    return np.array(labels, bool), np.array(levels, np.float64)


def histograms(
    masks: Frames, maps: Frames, *, unit: float = 1.0, video: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How many anomalous and how many normal pixels of a video have each value, as float16.

    Args:
      masks: `[F, H, W]`, not 0 where anomalous.
      maps: `[F, h, w]`.
      unit: a value that is common among the high ones, above 0: float16 has no room for numbers
        that are very small.
      video: its number, for messages.

    Returns:
      Two histograms `[65536]` int64, in rising order of the values; values over `unit` are rounded
      to float16, so that an AUC from them differs by up to 1e-4 from `pixel_auc`'s.
    """
    positive, negative = np.zeros((2, 1 << 16), np.int64)
    for mask, values in _of_video(masks, maps, video):
        largest = np.finfo(np.float16).max
        bits = np.clip(values / unit, -largest, largest).astype(np.float16).view(np.uint16)
        ranks = np.where(bits & 0x8000, 0xFFFF - bits, bits | 0x8000)  # floats order like integers
        positive += np.bincount(ranks[mask], minlength=1 << 16)
        negative += np.bincount(ranks[~mask], minlength=1 << 16)
    return positive, negative


def _hit_level(inside):
    least = (2 * inside.size + 4) // 5  # ⌈0.4 P⌉ in integers
    return np.partition(inside, inside.size - least)[inside.size - least]


def pixel_auc(masks: Iterable[Frames], maps: Iterable[Frames]) -> float | None:
    """The probability that an anomalous pixel of any frame outranks a normal one of any frame.

    Exact up to 2**20 pixels a class. Of more, n, a class keeps a sample in which every rank is
    right to (2 + log₂(n / 2**20)) / 2**22 of n, whatever the values and their order; the AUC is
    right to the sum of both classes' errors, 3e-6 for Ped2's 174 million pixels. That takes a
    quarter of a GB; every doubling of n adds a run of 4 MiB a class (8 for float64 maps).

    Args:
      masks: `[F, H, W]` a video, not 0 where anomalous.
      maps: `[F, h, w]` a video.

    Returns:
      P(positive > negative) + ½ P(equal) in 0..1, or None where the pixels are of one class.

    Raises:
      DataError: as for `pixel_auc_40`.
    """
    positive, negative = _Ranks(RUN), _Ranks(RUN)
    for mask, values in _frames(masks, maps):
        positive.add(values[mask])
        negative.add(values[~mask])
    return _auc(positive.weighted(), negative.weighted())


def _auc(positive, negative):
    (strange, times), (normal, weights) = positive, negative
    if not strange.size or not normal.size:
        return None
    up_to = np.append(0.0, np.cumsum(weights))
    below = up_to[np.searchsorted(normal, strange, "left")]
    at_most = up_to[np.searchsorted(normal, strange, "right")]
    return float(times @ (below + at_most) / (2 * times.sum() * up_to[-1]))


class _Ranks:
    """A sorted sample of all values that were added, thinned where they outgrow memory.

    Values wait until a run of them can be sorted. Two runs of one weight become one of the double
    weight: merged, every second value kept, first the odd then the even ones in turn. A merge of
    weight w moves no rank by more than w, in turns up and down (Manku, Rajagopalan and Lindsay,
    SIGMOD 1998, with alternating offsets).
    """

    def __init__(self, size: int):
        self._size = size
        self._waiting = []
        self._count = 0
        self._runs = {}  # level → its run, of weight 2**level
        self._offsets = {}

    def add(self, values):
        self._waiting.append(values)
        self._count += values.size
        if self._count < 2 * self._size:
            return
        values = np.concatenate(self._waiting)
        whole = values.size - values.size % self._size
        for run in np.split(values[:whole], whole // self._size):
            self._carry(np.sort(run))
        self._waiting, self._count = [values[whole:]], values.size - whole

    def _carry(self, run, level=0):
        while level in self._runs:
            offset = self._offsets.get(level, 0)
            self._offsets[level] = 1 - offset
            run = np.sort(np.concatenate([self._runs.pop(level), run]))[offset::2]
            level += 1
        self._runs[level] = run

    def weighted(self):
        """Values in rising order and how many each stands for, float64."""
        runs = [(values, 1.0) for values in self._waiting]
        runs += [(values, 2.0**level) for level, values in self._runs.items()]
        if not runs:
            return np.zeros(0), np.zeros(0)
        values = np.concatenate([values for values, _ in runs])
        weights = np.repeat([weight for _, weight in runs], [values.size for values, _ in runs])
        order = np.argsort(values)
        return values[order], weights[order]


def _frames(masks, maps) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Mask `[H, W]` bool and map `[H, W]` of every frame that has a score."""
    for video, (its_masks, its_maps) in enumerate(_pairs(masks, maps, "video")):
        yield from _of_video(its_masks, its_maps, video)


def _of_video(masks, maps, video) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    where = f" of video {video}"
    for frame, (mask, values) in enumerate(_pairs(masks, maps, "frame", where)):
        mask = np.asarray(mask) != 0
        values = _scored(np.asarray(values), mask, f"frame {frame}{where} (counted from 0)")
        if values is not None:
            yield mask, values


def _pairs(masks, maps, what, where=""):
    end = object()
    for number, (mask, values) in enumerate(zip_longest(masks, maps, fillvalue=end)):
        if mask is end or values is end:
            has, lacks = ("maps", "masks") if mask is end else ("masks", "maps")
            raise DataError(
                f"There are {has} but no {lacks} from {what} {number}{where} (counted from 0) on. "
                "Both hold the same videos and every frame; a frame without a score is NaN."
            )
        yield mask, values


def _scored(values, mask, where):
    if mask.ndim != 2 or values.ndim != 2 or not mask.size or not values.size:
        raise DataError(
            f"The mask {mask.shape} or the map {values.shape} of {where} is no image [h, w]."
        )
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    elif values.dtype != np.float32:
        values = values.astype(np.float64)
    if np.isnan(values).all():
        return None
    if not np.isfinite(values).all():
        raise DataError(
            f"The map of {where} has {np.count_nonzero(~np.isfinite(values))} of {values.size} "
            "pixels that are NaN or infinite. A map is finite, or NaN throughout: no score."
        )
    if values.shape == mask.shape:
        return values
    import cv2

    return cv2.resize(values, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
