"""Events and alarms: what a person at a screen would count.

An event is a maximal run of anomalous frames, an alarm a run of frames above a threshold; both are
counted whole, however long they last. Runs are half-open intervals of frames.

Source: evaluation.md section 7; the golden cases are met to 1e-9.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vad_jax.evaluation.metrics import Videos, scored_frames
from vad_jax.types import ConfigError


class Events(NamedTuple):
    """What a threshold recalls, and what it costs.

    Attributes:
      segments: the alarms of each video, `[S, 2]` int64, first frame and the one behind the last.
      events: runs of label 1, whether or not their frames have scores.
      recalled: events that share a frame with an alarm.
      false_alarms: alarms that share no frame with an event.
      normal_frames: with label 0 and a score.
      false_alarms_per_hour: of scored normal frames; None where there are none.
      rate_low, rate_high: the exact Poisson interval of that rate, central 95 %; or None.
      median_delay_seconds: over the recalled events, from the event's first frame to the first
        alarm in it, 0 where the alarm was on already; None where nothing is recalled.
    """

    segments: tuple[np.ndarray, ...]
    events: int
    recalled: int
    false_alarms: int
    normal_frames: int
    false_alarms_per_hour: float | None
    rate_low: float | None
    rate_high: float | None
    median_delay_seconds: float | None


def events(
    labels: Videos,
    scores: Videos,
    threshold: float,
    *,
    hold: int,
    min_length: int,
    fps: float,
) -> Events:
    """Alarms of a threshold against the events of a test set.

    Args:
      labels, scores: `[F]` a video; NaN = no score.
      threshold: a frame is active if its score is above, never where it has none.
      hold: frames without activity, at most, that an alarm bridges.
      min_length: frames, bridged ones included, below which an alarm is dropped.
      fps: frames a second of all videos.

    Raises:
      DataError: as for the frame metrics.
      ConfigError: an option out of range.

    >>> events([[0, 0, 1, 1]], [[0.9, 0.1, 0.2, 0.8]], 0.5, hold=0, min_length=1, fps=2).recalled
    1
    """
    if np.isnan(threshold) or hold < 0 or min_length < 1 or not 0 < fps < np.inf:
        raise ConfigError(
            f"Events with threshold={threshold}, hold={hold}, min_length={min_length}, fps={fps}: "
            "threshold is a number, hold ≥ 0 and min_length ≥ 1 are frames, fps > 0."
        )
    normal_frames = sum(int((~truth).sum()) for truth in scored_frames(labels, scores)[0])
    segments, number, false_alarms, delays = [], 0, 0, []
    for truth, values in zip(labels, scores, strict=True):
        alarms = _alarms(np.asarray(values, np.float64) > threshold, hold, min_length)
        happened = _runs(np.asarray(truth) == 1)
        shared = (alarms[:, None, 0] < happened[None, :, 1]) & (
            happened[None, :, 0] < alarms[:, None, 1]
        )  # [S, events]
        segments.append(alarms)
        number += len(happened)
        false_alarms += int((~shared.any(axis=1)).sum())
        for meets, start in zip(shared.T, happened[:, 0], strict=True):
            if meets.any():
                delays.append(max(0, alarms[np.argmax(meets), 0] - start) / fps)
    hours = normal_frames / fps / 3600
    low, high = poisson_interval(false_alarms, hours) if normal_frames else (None, None)
    return Events(
        segments=tuple(segments),
        events=number,
        recalled=len(delays),
        false_alarms=false_alarms,
        normal_frames=normal_frames,
        false_alarms_per_hour=false_alarms / hours if normal_frames else None,
        rate_low=low,
        rate_high=high,
        median_delay_seconds=float(np.median(delays)) if delays else None,
    )


def _runs(active):
    """The maximal runs of True, `[S, 2]` half-open."""
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    return edges.reshape(-1, 2).astype(np.int64)


def _alarms(active, hold, min_length):
    runs = _runs(active)
    apart = runs[1:, 0] - runs[:-1, 1] > hold
    starts = runs[np.append(True, apart)[: len(runs)], 0]
    stops = runs[np.append(apart, True)[: len(runs)], 1]
    bridged = np.stack([starts, stops], axis=1)
    return bridged[stops - starts >= min_length]


def poisson_interval(count: int, hours: float, *, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate of which `count` was seen in `hours`.

    Returns:
      [χ²(½(1 − level); 2c) / 2H, χ²(½(1 + level); 2c + 2) / 2H], an hour; the first is 0 for c = 0.

    >>> [round(bound) for bound in poisson_interval(0, 36.2 / 3600)]
    [0, 367]
    """
    from scipy import special  # χ² of 2c degrees is twice a gamma of shape c

    low = special.gammaincinv(count, (1 - level) / 2) / hours if count else 0.0
    return float(low), float(special.gammaincinv(count + 1, (1 + level) / 2) / hours)
