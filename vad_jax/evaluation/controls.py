"""Simple controls: scores that need no learning, and that a method must beat.

With per-video min–max a one-line frame difference reaches 91 on Ped2, above several published deep
models. Every report therefore shows the controls under the method's own protocol, on its own
frames, smoothed as it is, each in its better direction: on a new data set that direction is not
known beforehand.

Source: evaluation.md section 5, whose table is met to 0.01.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vad_jax.evaluation import metrics
from vad_jax.evaluation.bootstrap import bootstrap
from vad_jax.evaluation.pixel_controls import PixelControls
from vad_jax.evaluation.series import minmax
from vad_jax.types import DataError

RANDOM_SEED = 0


def controls(
    frames: Iterable[Iterable[np.ndarray]], mean_frame: np.ndarray | None = None
) -> dict[str, list[np.ndarray]]:
    """Every control of every test frame.

    Args:
      frames: videos of frames `[H, W]` uint8, grey; either level may be a generator, as one pass
        is made and two frames are held.
      mean_frame: `[H, W]`, mean of all training frames; without it there is no distance to it.

    Returns:
      Name → `[F]` float64 a video, in no particular direction.
    """
    observer, seen = PixelControls(mean_frame), []
    for number, video in enumerate(frames):
        watch = observer.start(str(number))
        for frame in video:
            watch.push(frame)
        seen.append(watch.result())
    return all_controls([len(video["mean intensity"]) for video in seen], seen)


def all_controls(
    lengths: Sequence[int], seen: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, list[np.ndarray]]:
    """The controls that look at no pixel, and of those that do (`PixelControls`) what all have.

    Args:
      lengths: F of each video.
      seen: of each video, name → `[F]`.

    Returns:
      Name → `[F]` float64 a video.

    Raises:
      DataError: a control of another length than its video.
    """
    for video, (length, own) in enumerate(zip(lengths, seen, strict=True)):
        if any(len(values) != length for values in own.values()):
            found = {name: len(values) for name, values in own.items()}
            raise DataError(
                f"Video {video} (counted from 0) has {length} frames, but controls of {found}. "
                "Both count every frame of the raw video."
            )
    names = [name for name in (seen[0] if seen else ()) if all(name in own for own in seen)]
    return index_controls(lengths) | {name: [own[name] for own in seen] for name in names}


def index_controls(lengths: Sequence[int]) -> dict[str, list[np.ndarray]]:
    """The controls that look at no pixel: what a frame's place alone gives away.

    Args:
      lengths: F of each video.

    Returns:
      Name → `[F]` float64 a video.
    """
    ends = np.cumsum(lengths)[:-1]
    times = [np.arange(length, dtype=np.float64) for length in lengths]
    return {
        "constant": [np.zeros(length) for length in lengths],
        "frame index": times,
        "position": [time / max(len(time) - 1, 1) for time in times],
        "video number": [np.full(length, float(i)) for i, length in enumerate(lengths)],
        "random": np.split(np.random.default_rng(RANDOM_SEED).random(sum(lengths)), ends),
    }


def control_table(
    given: Mapping[str, Sequence[np.ndarray]],
    labels: metrics.Videos,
    scores: metrics.Videos,
    *,
    protocol: str,
    metric: Callable[..., Any] = metrics.auc_micro,
    smoothing: Callable[[np.ndarray], np.ndarray] | None = None,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, dict[str, Any]]:
    """The figure of every control on the frames that a method scores, in its better direction.

    Args:
      given: name → `[F]` a video, as `controls` makes them.
      labels, scores: `[F]` a video, of the method; a frame that is NaN there leaves here too.
      protocol: `paper` scales each control by min–max over each video, `online` leaves it raw.
      metric: `auc_micro` or `auc_macro`, for which turning a score turns x into 1 − x.
      smoothing: what the method does to a video's scores, or None.
      replicates, seed, level, groups: as `bootstrap`'s.

    Returns:
      Name → `value`, `low`, `high` and `direction` (+1 as it is, −1 negated), or `value` None;
      `why` where there is no interval.
    """
    scored = [~np.isnan(video) for video in scores]
    table = {}
    for name, control in given.items():
        kept = [np.where(own, video, np.nan) for own, video in zip(scored, control, strict=True)]
        if protocol == "paper":
            kept = [minmax(video) for video in kept]
        if smoothing:
            kept = [smoothing(video) for video in kept]
        value = metrics.value_of(metric, labels, kept)
        draw = {"replicates": replicates, "seed": seed, "level": level, "groups": groups}
        interval = bootstrap(labels, kept, metric, **draw)
        row = {"value": value, "low": interval.low, "high": interval.high, "direction": 1}
        row |= {"why": interval.why} if interval.why else {}
        table[name] = _turned(row) if value is not None and value < 0.5 else row
    return table


def _turned(row):
    low, high = (None if row[end] is None else 1 - row[end] for end in ("high", "low"))
    return row | {"value": 1 - row["value"], "low": low, "high": high, "direction": -1}


def best_control(table: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The name of the strongest control of a `control_table`, or None where none has a value."""
    known = {name: row["value"] for name, row in table.items() if row["value"] is not None}
    return max(known, key=known.get) if known else None
