"""Where in the frame: pixel, region and track figures of a whole test set, from maps and masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.evaluation import metrics
from vad_jax.evaluation.bootstrap import bootstrap, interval_of
from vad_jax.evaluation.components import boxes_at, tracks_from_masks
from vad_jax.evaluation.pixels import frame_levels, histograms, pixel_auc
from vad_jax.evaluation.regions import region_criteria, region_draws
from vad_jax.evaluation.resampling import clusters, weighted

NAMES = ("pixel_auc_40", "pixel_auc", "rbdc", "tbdc")
DERIVED = "tracks derived from masks"
POINTS = 200  # of the curves that are kept


class Mapped(NamedTuple):
    """The error maps of one test video, and its masks.

    Attributes:
      name: of the video.
      length: F.
      size: (H, W) of its raw frames.
      maps: gives the F maps `[h, w]` anew at each call, NaN throughout where there is no score.
      masks: gives the F masks `[H, W]` anew at each call; None where the video has none.
    """

    name: str
    length: int
    size: tuple[int, int]
    maps: Callable[[], Iterator[np.ndarray]]
    masks: Callable[[], Iterator[np.ndarray]] | None


def absent(why: str) -> dict[str, Any]:
    """The figures that do not exist, each with the reason."""
    return {name: {"value": None, "why": why} for name in NAMES}


def localisation(
    videos: Sequence[Mapped],
    *,
    threshold: float,
    groups: Sequence[Hashable] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Pixel, region and track figures, each with its interval over videos or scenes, and the boxes.

    Pixel figures are over the videos that have masks. Regions count against the frames of all
    videos; tracks are derived from the masks.

    Args:
      videos: all test videos, in order.
      threshold: of boxes, the 99th percentile of normal maps.
      groups: the scene of each video, where several show one; intervals are over scenes then.
      replicates: bootstrap draws.
      seed, level: of the bootstrap.

    Returns:
      `pixel_auc_40`, `pixel_auc`, `rbdc`, `tbdc` as `metrics.json` holds figures, and `regions`:
      how many regions and tracks all boxes find, for how many false ones a frame, and the `curve`
      (rows of false boxes a frame, shares of regions and of tracks found); and the boxes of all
      videos, `video` `[D]`, `frame` `[D]`, `box` `[D, 4]` inclusive, `score` `[D]`.
    """
    detections = _detections(videos, threshold)
    masked = [video for video in videos if video.masks]
    scenes = groups and [scene for scene, video in zip(groups, videos, strict=True) if video.masks]
    if not masked:
        return absent("the test set has no masks"), detections
    draw = {"seed": seed, "level": level}
    labels, values = zip(*(frame_levels(v.masks(), v.maps()) for v in masked), strict=True)
    value = metrics.auc_micro(labels, values)
    share = pixel_auc((v.masks() for v in masked), (v.maps() for v in masked))
    if value is None or share is None:
        return absent("the masks of the scored frames are of one class"), detections
    interval = bootstrap(
        labels, values, metrics.auc_micro, groups=scenes, replicates=replicates, **draw
    )
    covered = {"videos": len(masked)}
    unit = threshold if 0 < threshold < np.inf else 1.0
    figures = {
        "pixel_auc_40": interval.figure(value) | covered,
        "pixel_auc": _pixel_interval(masked, scenes, unit, replicates, draw).figure(share)
        | covered,
    }
    return figures | _criteria(videos, groups, detections, replicates, draw), detections


def _pixel_interval(videos, groups, unit, replicates, draw):
    """The interval of `pixel_auc`, from histograms: a draw costs no pass of pixels."""
    pairs = [histograms(v.masks(), v.maps(), unit=unit, video=i) for i, v in enumerate(videos)]
    positive, negative = (np.array(each, np.float64) for each in zip(*pairs, strict=True))
    below = np.cumsum(negative, axis=1) - negative / 2
    wins = positive @ below.T
    parts, holding = clusters(len(videos), groups=groups), positive.sum(axis=1) > 0
    counts = parts.resamples(replicates, draw["seed"])
    values = weighted(counts, wins, positive.sum(axis=1), negative.sum(axis=1))
    return interval_of(values, parts, holding, called="with masks", level=draw["level"])


def _detections(videos, threshold) -> dict[str, np.ndarray]:
    owner, frames, boxes, scores = [], [], [np.empty((0, 4), np.int64)], [np.empty(0)]
    for number, video in enumerate(videos):
        for frame, values in enumerate(video.maps()):
            if np.isnan(threshold) or np.isnan(values).all():
                continue
            found, score = boxes_at(values, video.size, threshold=threshold)
            owner += [number] * len(found)
            frames += [frame] * len(found)
            boxes.append(found)
            scores.append(score)
    return {
        "video": np.array(owner, np.int32),
        "frame": np.array(frames, np.int32),
        "box": np.concatenate(boxes).astype(np.int32),
        "score": np.concatenate(scores),
    }


def _criteria(videos, groups, detections, replicates, draw) -> dict[str, Any]:
    """RBDC and TBDC, videos drawn with their frames, and the curves."""
    truth = [
        (number, *(int(value) for value in row))
        for number, video in enumerate(videos)
        for row in (tracks_from_masks(video.masks()) if video.masks else ())
    ]
    columns = (detections[name].tolist() for name in ("video", "frame", "box", "score"))
    found = [(v, frame, *box, score) for v, frame, box, score in zip(*columns, strict=True)]
    lengths = [video.length for video in videos]
    *own, curve = region_criteria(truth, found, sum(lengths))
    if curve is None:
        return {name: {"value": None, "why": "the masks hold no region"} for name in NAMES[2:]}
    holding = np.isin(np.arange(len(videos)), [row[0] for row in truth])
    parts = clusters(len(videos), groups=groups)
    values = region_draws(truth, found, lengths, parts.resamples(replicates, draw["seed"]))
    how = {"called": "with regions", "level": draw["level"]}
    figures = {
        name: interval_of(values[:, place], parts, holding, **how).figure(own[place])
        | {"tracks": DERIVED}
        for place, name in enumerate(NAMES[2:])
    }
    number = {"regions": len(truth), "tracks": len({row[:2] for row in truth})}
    return figures | {"regions": _found(curve, number)}


def _found(curve, number) -> dict[str, Any]:
    """What all boxes find together, and the curves of fewer points than a screen has."""
    kept = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), POINTS)).round().astype(int))
    false, regions, tracks = curve[-1]
    return {
        **number,
        "regions_found": round(regions * number["regions"]),
        "tracks_found": round(tracks * number["tracks"]),
        "false_per_frame": false,
        "curve": [[float(f"{value:.5g}") for value in row] for row in curve[kept].tolist()],
        "source": DERIVED,
    }
