"""Regions, tracks and boxes: the truth that masks hold, and what error maps find.

Boxes in results are x0, y0, x1, y1, inclusive pixels. Source: evaluation.md section 3; the golden
cases are met exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vad_jax.evaluation.regions import iou
from vad_jax.types import DataError


def tracks_from_masks(
    masks: Iterable[np.ndarray], *, min_area: int = 10, link_iou: float = 0.1
) -> np.ndarray:
    """The regions of one video's masks, linked from frame to frame into tracks.

    A region is an 8-connected component. From a frame to the next one, pairs of regions are linked
    in order of falling IoU (ties: the older track, then the region whose first pixel comes first),
    one to one. A region without a partner begins a track, a track without one ends.

    Args:
      masks: `[F, H, W]`, or an iterator of frames `[H, W]`; not 0 where anomalous.
      min_area: pixels from which a component is a region; data sets hold stray specks.
      link_iou: IoU of the boxes from which two regions may be linked.

    Returns:
      `[R, 6]` int64: track, frame, x0, y0, x1, y1, inclusive, sorted by track, then frame.
    """
    rows, tracks, boxes, count = [], [], np.zeros((0, 4), np.int64), 0
    for frame, mask in enumerate(masks):
        mask = np.asarray(mask)
        if mask.ndim != 2:
            raise DataError(f"Mask {frame} (counted from 0) is {mask.shape}, expected [H, W].")
        before, boxes = boxes, np.array([c.box for c in _components(mask != 0, min_area)], np.int64)
        boxes = boxes.reshape(-1, 4)
        linked = _linked(before, boxes, tracks, link_iou)
        tracks = []
        for region, box in enumerate(boxes):
            if region not in linked:
                linked[region], count = count, count + 1
            tracks.append(linked[region])
            rows.append((tracks[-1], frame, *box[:2], *(box[2:] - 1)))
    return np.array(sorted(rows), np.int64).reshape(-1, 6)


def _linked(before, boxes, tracks, link_iou):
    """Region of this frame → track, for those that go on."""
    overlap = iou(before[:, None], boxes[None])  # [before, now]
    pairs = [
        (-overlap[old, new], tracks[old], new) for old, new in np.argwhere(overlap >= link_iou)
    ]
    linked = {}
    for _, track, new in sorted(pairs):
        if new not in linked and track not in linked.values():
            linked[new] = track
    return linked


def boxes_from_map(
    map: np.ndarray, *, threshold: float, min_share: float = 0.001
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of one frame's map: 8-connected components above a threshold.

    Args:
      map: `[H, W]`, higher = stranger, at the size that boxes are wanted in. NaN throughout, no
        score, has no boxes.
      threshold: a pixel belongs to a component if it is above; the 99th percentile of the map's
        values on normal clips, never a value chosen by test labels.
      min_share: of the frame's pixels from which a component has a box.

    Returns:
      Boxes `[D, 4]` int64, x0, y0, x1, y1 inclusive, in raster order of their first pixels; scores
      `[D]` float64, the largest value inside each component.

    Raises:
      DataError: a map that is no image, infinite, or NaN in some of its pixels; a threshold of NaN.
    """
    values = np.asarray(map, np.float64)
    if values.ndim != 2 or not values.size:
        raise DataError(f"The map is {values.shape}, expected [H, W].")
    if np.isnan(threshold):
        raise DataError("The threshold of the map is NaN: the run has none, so there are no boxes.")
    empty = np.isnan(values).all()
    if not empty and not np.isfinite(values).all():
        raise DataError(
            f"The map has {np.count_nonzero(~np.isfinite(values))} of {values.size} pixels that "
            "are NaN or infinite. A map is finite, or NaN throughout: no score."
        )
    # a share of 0.001 of 3,000 pixels is 3, however float64 rounds the product
    least = min_share * values.size * (1 - 1e-12)
    found = [] if empty else _components(values > threshold, least)
    boxes = np.array([component.box for component in found], np.int64).reshape(-1, 4)
    scores = np.array([values[component.where][component.shape].max() for component in found])
    return boxes - [0, 0, 1, 1], scores.astype(np.float64)


def boxes_at(
    map: np.ndarray, size: tuple[int, int], *, threshold: float, min_share: float = 0.001
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of a map that is smaller than its frame, in pixels of the frame.

    The map is brought to the frame's size bilinearly first; all that shows or counts boxes does so
    by this rule.

    Args:
      map: `[h, w]`; further arguments, result and errors as `boxes_from_map`'s.
      size: (H, W) of the frame.
    """
    import cv2

    values = np.asarray(map, np.float32)
    sized = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    return boxes_from_map(sized, threshold=threshold, min_share=min_share)


class _Component(NamedTuple):
    first: tuple[int, int]  # row and column of its first pixel in raster order
    box: tuple[int, int, int, int]  # half-open
    where: tuple[slice, slice]  # the box as an index
    shape: np.ndarray  # bool, of the box's size


def _components(mask, min_area):
    """The 8-connected components of at least `min_area` pixels, in raster order."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for label, (x, y, width, height, area) in enumerate(stats.tolist()):
        if label == 0 or area < min_area:
            continue
        where = slice(y, y + height), slice(x, x + width)
        shape = labels[where] == label
        first = y, x + int(np.argmax(shape[0]))
        found.append(_Component(first, (x, y, x + width, y + height), where, shape))
    return sorted(found, key=lambda component: component.first)
