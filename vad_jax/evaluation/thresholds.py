"""A threshold from normal footage, and what it does on the test set.

The threshold knows normal videos alone and the scores are those of the `online` protocol: no test
label and nothing of a test video's future has a part in it. Where it cannot be had the reason
stands in its place.

Source: evaluation.md sections 6, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from vad_jax.evaluation.bootstrap import interval_of
from vad_jax.evaluation.calibration import (
    LEVEL,
    BlockMaxima,
    Calibration,
    block_maxima,
    calibrate,
    footage_needed,
    lowest_rate,
)
from vad_jax.evaluation.events import Events, events
from vad_jax.evaluation.metrics import Videos
from vad_jax.evaluation.resampling import clusters
from vad_jax.types import DataError

BLOCK_SECONDS = 10.0
HOLD_SECONDS = 1.0  # a gap that an alarm bridges
RATE_PER_HOUR = 1.0  # asked for where no one says a rate, if the footage reaches it
SCORES = "online_raw"  # what a stream gives, frame by frame
TRAINED_ON = (
    "calibrated on videos that were trained on, which score too low: expect more false alarms "
    "than asked for; hold out training videos with data.validation"
)


class Normal(NamedTuple):
    """The scores of normal videos.

    Attributes:
      scores: `[F]` a video, `online` protocol, unsmoothed; NaN = no score.
      source: `held-out` or `training`: whether the run was trained on these videos.
    """

    scores: Sequence[np.ndarray]
    source: Literal["held-out", "training"]


def threshold_of(
    normal: Normal | None, *, fps: float | None, rate_per_hour: float | None = None
) -> dict[str, Any]:
    """The threshold for a rate of false alarms, as `metrics.json` holds it.

    Blocks are of 10 s, or as long as half of the normal videos are where these are shorter.

    Args:
      normal: scores of normal videos; None where there are none.
      fps: frames a second of these videos and of the test videos; None where it is not known.
      rate_per_hour: false alarms an hour; None is 1, or the lowest rate that the footage reaches.

    Returns:
      The fields of `Calibration`, with `asked_per_hour`, `source`, `videos`, `correlation`,
      `level`, `scores` and `warning`; or `threshold` None, `why`, and where the footage is too
      short `hours` and `hours_needed`.
    """
    if normal is None:
        return _none("no scores of normal footage were given")
    if fps is None:
        return _none("frames a second are not known: give them with --fps")
    lengths = sorted(len(video) for video in normal.scores)
    half = lengths[(len(lengths) - 1) // 2] / fps if lengths else 0.0
    about = {"source": normal.source, "videos": len(lengths)}
    try:
        blocks = block_maxima(normal.scores, fps=fps, block_seconds=min(BLOCK_SECONDS, half or 1))
    except DataError as error:
        return _none(str(error)) | about
    asked = rate_per_hour
    if rate_per_hour is None:
        reached = lowest_rate(blocks=blocks.values.size, block_seconds=blocks.block_seconds)
        rate_per_hour = max(RATE_PER_HOUR, reached)
    try:
        found = calibrate(
            blocks.values, rate_per_hour=rate_per_hour, block_seconds=blocks.block_seconds
        )
    except DataError:  # the maxima are finite, so that there are too few of them
        return _too_short(blocks, rate_per_hour) | about
    return (
        _row(found, blocks)
        | about
        | {
            "asked_per_hour": asked,
            "warning": TRAINED_ON if normal.source == "training" else None,
        }
    )


def _none(why):
    return {"threshold": None, "why": why}


def _too_short(blocks: BlockMaxima, rate_per_hour):
    number, seconds = blocks.values.size, blocks.block_seconds
    held = number * seconds / 3600
    needed = footage_needed(rate_per_hour=rate_per_hour, block_seconds=seconds).hours
    reached = lowest_rate(blocks=number, block_seconds=seconds)
    why = (
        f"a rate of {rate_per_hour:g} false alarms an hour needs {needed:.4g} hours of normal "
        f"footage, held are {held:.4g} hours, enough for {reached:.4g} an hour or more"
    )
    return _none(why) | {"rate_per_hour": rate_per_hour, "hours": held, "hours_needed": needed}


def _row(found: Calibration, blocks: BlockMaxima) -> dict[str, Any]:
    return found._asdict() | {
        "correlation": blocks.correlation,
        "level": LEVEL,
        "scores": SCORES,
    }


def alarms_at(
    labels: Videos,
    scores: Videos,
    calibrated: dict[str, Any],
    *,
    fps: float | None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, Any]:
    """What a calibrated threshold recalls on the test set and what it costs.

    Args:
      labels, scores: `[F]` a test video; NaN = no score, or no label.
      calibrated: as `threshold_of` returns it.
      fps: frames a second.
      replicates, seed, level, groups: of the interval of the recall, as `bootstrap`'s.

    Returns:
      `recall` and `false_alarms_per_hour` with their intervals (the rate's is exact Poisson),
      `events`, `recalled`, `false_alarms`, `normal_hours`, `normal_in_alarm` (the share of scored
      normal frames that an alarm holds: one that never ends recalls all and counts once),
      `median_delay_seconds`, and the options; or `recall` None and `why`.
    """
    threshold = calibrated["threshold"]
    if threshold is None:
        return {"recall": None, "why": "there is no threshold (see calibration)"}
    hold = min(HOLD_SECONDS, calibrated["block_seconds"])
    options = {"hold": round(hold * fps), "min_length": 1, "fps": fps}
    found = events(labels, scores, threshold, **options)
    return {
        "recall": _recall(
            found, labels, scores, threshold, options, (replicates, seed, level, groups)
        ),
        "events": found.events,
        "recalled": found.recalled,
        "false_alarms": found.false_alarms,
        "normal_hours": found.normal_frames / fps / 3600,
        "normal_in_alarm": _normal_in_alarm(found, labels, scores),
        "false_alarms_per_hour": _rate(found),
        "median_delay_seconds": found.median_delay_seconds,
        "threshold": threshold,
        "scores": SCORES,
        "hold_seconds": options["hold"] / fps,
        "min_length_seconds": options["min_length"] / fps,
    }


def _recall(found: Events, labels, scores, threshold, options, draw) -> dict[str, Any]:
    """The share of events that are recalled, and its interval over videos."""
    if not found.events:
        return {"value": None, "why": "the test set has no event"}
    replicates, seed, level, groups = draw
    own = [
        events([truth], [values], threshold, **options)
        for truth, values in zip(labels, scores, strict=True)
    ]
    parts = clusters(len(own), groups=groups)
    counts = parts.resamples(replicates, seed)
    happened = np.array([video.events for video in own])
    number, recalled = counts @ happened, counts @ np.array([video.recalled for video in own])
    values = np.divide(recalled, number, out=np.full(len(counts), np.nan), where=number > 0)
    interval = interval_of(values, parts, happened > 0, called="with events", level=level)
    return interval.figure(found.recalled / found.events)


def _normal_in_alarm(found: Events, labels, scores) -> float | None:
    held = 0
    for truth, values, alarms in zip(labels, scores, found.segments, strict=True):
        normal = (np.asarray(truth) == 0) & ~np.isnan(values)
        held += sum(int(normal[start:end].sum()) for start, end in alarms.tolist())
    return held / found.normal_frames if found.normal_frames else None


def _rate(found: Events) -> dict[str, Any]:
    if found.false_alarms_per_hour is None:
        return {"value": None, "why": "no normal frame has a score"}
    low, high = found.rate_low, found.rate_high
    return {"value": found.false_alarms_per_hour, "low": low, "high": high, "level": 0.95}
