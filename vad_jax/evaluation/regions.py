"""Region and track criteria: how many regions and tracks are found, for how many false boxes.

Boxes are x0, y0, x1, y1. In rows and files they are inclusive pixels; the arithmetic inside is on
half-open ones.

Letters: R truth regions, D detections, N frames of all test videos. Source: evaluation.md
section 3 (Street Scene, WACV 2020); the golden cases are met to 1e-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.types import ConfigError, DataError

TRUTH = ("video", "track", "frame", "x0", "y0", "x1", "y1")
DETECTION = ("video", "frame", "x0", "y0", "x1", "y1", "score")


class RegionCriteria(NamedTuple):
    """How many regions and tracks are found for how many false detections a frame.

    Attributes:
      rbdc: area under (FPR, RBDR) for FPR in 0..1: region-based detection; None without truth.
      tbdc: area under (FPR, TBDR): track-based detection; None without truth.
      curve: `[1 + distinct scores, 3]` float64, FPR, RBDR and TBDR from the highest threshold to
        the lowest, the first row 0, not cut at FPR 1; None without truth.
    """

    rbdc: float | None
    tbdc: float | None
    curve: np.ndarray | None


def region_criteria(
    truth: Iterable[Sequence[Any]],
    detections: Iterable[Sequence[Any]],
    num_frames: int,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
    inclusive: bool = True,
) -> RegionCriteria:
    """RBDC and TBDC of all test videos together; equal scores enter together.

    Args:
      truth: R rows of video, track, frame, x0, y0, x1, y1. Tracks are of their video; frames count
        from 0.
      detections: D rows of video, frame, x0, y0, x1, y1, score; higher = stranger.
      num_frames: N, frames of **all** test videos, with or without truth.
      alpha: share of a track's regions that must be found, in 0..1 without 0.
      beta: IoU from which a detection meets a region, in 0..1 without 0.
      inclusive: x1 and y1 are the last pixel; False: the first behind it.

    Raises:
      DataError: a row that cannot be, by its number; or frames beyond `num_frames`.

    >>> truth = [("01", 0, 7, 10, 10, 19, 19)]
    >>> detections = [("01", 7, 10, 10, 19, 19, 0.9), ("01", 8, 0, 0, 4, 4, 0.8)]
    >>> region_criteria(truth, detections, 10).rbdc
    1.0
    """
    _check_shares(alpha, beta)
    truth = _table(truth, TRUTH, "Truth row", num_frames, inclusive)
    detections = _table(detections, DETECTION, "Detection", num_frames, inclusive)
    _check_length(truth, detections, num_frames)
    if not len(truth["frame"]):
        return RegionCriteria(None, None, None)
    levels, false = _matched(truth, detections, beta)
    thresholds = np.unique(detections["score"])[::-1]
    curve = np.zeros((1 + len(thresholds), 3))
    curve[1:, 0] = _at_least(detections["score"][false], thresholds) / num_frames
    curve[1:, 1] = _at_least(levels, thresholds) / len(levels)
    tracks, _ = _track_levels(truth, levels, alpha)
    curve[1:, 2] = _at_least(tracks, thresholds) / len(tracks)
    return RegionCriteria(_area(curve[:, 0], curve[:, 1]), _area(curve[:, 0], curve[:, 2]), curve)


def region_draws(
    truth: Iterable[Sequence[Any]],
    detections: Iterable[Sequence[Any]],
    num_frames: Sequence[int],
    counts: np.ndarray,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
) -> np.ndarray:
    """RBDC and TBDC of test sets drawn from the videos of one, exactly and without matching anew.

    Regions, tracks and detections belong to one video each, so that a draw only weighs them.

    Args:
      truth, detections: rows as for `region_criteria`, inclusive; videos are numbers from 0.
      num_frames: `[V]`, frames of each video.
      counts: `[B, V]`, how often each draw holds each video.
      alpha, beta: as for `region_criteria`.

    Returns:
      `[B, 2]` float64, NaN for a draw without a region.
    """
    _check_shares(alpha, beta)
    total = int(np.sum(num_frames))
    truth = _table(truth, TRUTH, "Truth row", total, True)
    detections = _table(detections, DETECTION, "Detection", total, True)
    values = np.full((len(counts), 2), np.nan)
    if not len(truth["frame"]):
        return values
    levels, false = _matched(truth, detections, beta)
    tracks, first = _track_levels(truth, levels, alpha)
    owner = np.array(truth["video"], np.int64)
    alarms = detections["score"][false], np.array(detections["video"], np.int64)[false]
    thresholds = np.unique(detections["score"])

    def place(scores, videos):
        """How many thresholds lie above each score, of those that any detection reaches."""
        reached = ~np.isneginf(scores)
        return len(thresholds) - np.searchsorted(thresholds, scores[reached]), videos[reached]

    wrong = place(*alarms)
    wholes = (levels, owner), (tracks, owner[first])
    places = [place(*whole) for whole in wholes]
    for draw, weights in enumerate(np.asarray(counts, np.float64)):
        rate = _weighed(wrong, weights, len(thresholds)) / (weights @ num_frames)
        for column, ((_, videos), found) in enumerate(zip(wholes, places, strict=True)):
            if (whole := weights[videos].sum()) > 0:
                share = _weighed(found, weights, len(thresholds)) / whole
                values[draw, column] = _area(rate, share)
    return values


def _weighed(found, weights, thresholds):
    """The weight of what reaches each threshold, highest first, from 0 on: `[1 + thresholds]`."""
    place, videos = found
    return np.cumsum(np.bincount(place, weights[videos], minlength=1 + thresholds))


def _check_shares(alpha, beta):
    for name, share in (("alpha", alpha), ("beta", beta)):
        if not 0 < share <= 1:
            raise ConfigError(f"{name} is {share}. It is a share above 0 and at most 1.")


def _at_least(values, thresholds):
    """How many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, "left")


def _matched(truth, detections, beta):
    """The highest score that finds each region `[R]`, −inf where none; which detections are false.

    A pair is any detection with any region of its frame.
    """
    names = {name: code for code, name in enumerate({*truth["video"], *detections["video"]})}
    keys, owners = (
        np.array([names[name] for name in rows["video"]], np.int64) * (1 << 32) + rows["frame"]
        for rows in (truth, detections)
    )
    order = np.argsort(keys, kind="stable")
    first = np.searchsorted(keys[order], owners, "left")
    number = np.searchsorted(keys[order], owners, "right") - first
    detection = np.repeat(np.arange(len(owners)), number)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(number) - number, number)
    region = order[first[detection] + within]
    meets = iou(truth["box"][region], detections["box"][detection]) >= beta
    levels = np.full(len(keys), -np.inf)
    np.maximum.at(levels, region[meets], detections["score"][detection[meets]])
    false = np.ones(len(owners), bool)
    false[detection[meets]] = False
    return levels, false


def _track_levels(truth, levels, alpha):
    """The threshold from which each track is found, and one of its regions.

    It is its m-th highest region, m / size ≥ alpha.
    """
    names = {}
    pairs = zip(truth["video"], truth["track"], strict=True)
    track = np.array([names.setdefault(pair, len(names)) for pair in pairs])
    order = np.lexsort((-levels, track))
    size = np.bincount(track)
    needed = np.floor(alpha * size).astype(np.int64)
    needed += needed / size < alpha  # 0.1 · 30 is more than 3 in float64, 3 / 30 is 0.1
    start = np.cumsum(size) - size
    return levels[order][start + needed - 1], order[start]


def _area(false, found):
    """The area under the polyline for `false` in 0..1; the last value is held."""
    inside = int(np.searchsorted(false, 1.0, "right"))
    end = found[-1]
    if inside < len(false):
        share = (1 - false[inside - 1]) / (false[inside] - false[inside - 1])
        end = found[inside - 1] + share * (found[inside] - found[inside - 1])
    return float(np.trapezoid(np.append(found[:inside], end), np.append(false[:inside], 1.0)))


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of half-open boxes, pair by pair.

    Args:
      boxes, others: `[..., 4]` of one shape, or of shapes that broadcast.

    Returns:
      `[...]` float64 in 0..1.
    """
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1, dtype=np.float64)
    areas = [(b[..., 2:] - b[..., :2]).prod(axis=-1, dtype=np.float64) for b in (boxes, others)]
    return both / (areas[0] + areas[1] - both)


def _table(rows, names, what, num_frames, inclusive):
    """The rows by column: `frame` `[n]` int64, `box` `[n, 4]` half-open, `score` `[n]`."""
    rows = list(rows)
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(
                f"{what} {number} (counted from 0) has {len(row)} fields. Rows are "
                f"{', '.join(names)}."
            )
    columns = dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True))
    start = names.index("frame")
    numbers = _numbers(rows, start, names, what)
    frame, box = numbers[:, 0], numbers[:, 1:5]

    def refuse(bad, why):
        if bad.any():
            number = int(np.argmax(bad))
            fields = ", ".join(str(field) for field in rows[number])
            raise DataError(f"{what} {number} (counted from 0; {fields}) {why}")

    refuse(~np.isfinite(numbers).all(axis=1), "has a number that is NaN or infinite.")
    refuse(
        (frame != np.floor(frame)) | (frame < 0) | (frame >= num_frames),
        f"has no frame of the test set: frames are whole, from 0, and num_frames is {num_frames}.",
    )
    empty = box[:, 2:] < box[:, :2] if inclusive else box[:, 2:] <= box[:, :2]
    refuse(
        empty.any(axis=1),
        "has an empty box: x1 or y1 lies before x0 or y0. Boxes are x0, y0, x1, y1"
        + (", inclusive." if inclusive else ", half-open."),
    )
    box = box + [0, 0, 1, 1] if inclusive else box
    found = {name: columns[name] for name in names[:start]}
    found |= {"frame": frame.astype(np.int64), "box": box}
    return found | ({"score": numbers[:, 5]} if names[-1] == "score" else {})


def _numbers(rows, start, names, what):
    if not rows:
        return np.zeros((0, len(names) - start))
    try:
        return np.array([tuple(row[start:]) for row in rows], np.float64)
    except (TypeError, ValueError):
        for number, row in enumerate(rows):
            try:
                np.array(tuple(row[start:]), np.float64)
            except (TypeError, ValueError):
                raise DataError(
                    f"{what} {number} (counted from 0) has something else than a number in "
                    f"{', '.join(names[start:])}: {', '.join(str(field) for field in row)}."
                ) from None
        raise


def _check_length(truth, detections, num_frames):
    reach = {}
    for rows in (truth, detections):
        for video, frame in zip(rows["video"], rows["frame"].tolist(), strict=True):
            reach[video] = max(reach.get(video, 0), frame + 1)
    if num_frames < max(1, sum(reach.values())):
        raise DataError(
            f"num_frames is {num_frames}, but the rows reach {sum(reach.values())} frames in "
            f"{len(reach)} videos. It counts the frames of all test videos; frames count from 0 in "
            "each."
        )
