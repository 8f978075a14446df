"""What normal clips look like: means and spreads of losses and of score parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vad_jax import atomic as files
from vad_jax.data.feed import Feed
from vad_jax.scoring import Video, VideoScores, score_videos
from vad_jax.types import CheckpointError, Method, Variables


def summary(values: Iterable[np.ndarray]) -> dict[str, float]:
    """Mean, deviation (n), min, max and count of all finite values, in float64."""
    joined = np.concatenate([np.ravel(v).astype(np.float64) for v in values] or [np.empty(0)])
    joined = joined[np.isfinite(joined)]
    if not joined.size:
        return {"mean": np.nan, "std": np.nan, "min": np.nan, "max": np.nan, "count": 0}
    return {
        "mean": joined.mean(),
        "std": joined.std(),
        "min": joined.min(),
        "max": joined.max(),
        "count": joined.size,
    }


def measured(
    measure: Callable[..., dict[str, Any]],
    params: Any,
    state: Any,
    feed: Feed,
    store: Any,
    rows: np.ndarray,
    mask: np.ndarray,
) -> dict[str, dict[str, float]]:
    """A stage's own measurements over normal windows, rows with mask 0 left out.

    `store` is the feed's, placed on the device.
    """
    function = jax.jit(lambda p, s, store, item: measure(p, s, feed.gather(store, item)))
    values: dict[str, list[np.ndarray]] = {}
    for item, counts in zip(feed.items(rows, mask), mask, strict=True):
        for name, value in jax.device_get(function(params, state, store, item)).items():
            values.setdefault(name, []).append(value[counts])
    return {name: summary(value) for name, value in values.items()}


def normal_parts(
    method: Method, variables: Variables, videos: Sequence[Video], source: str, **options: Any
) -> dict[str, Any]:
    """Statistics of the score parts on normal videos, each started anew.

    Args:
      source: `held-out` or `training`: where the videos come from.
      options: for `score_videos`.

    Returns:
      `{"source": …, "parts": {part: summary}, "map_99": 99th percentile of the error maps,
      "windows": the videos' `VideoScores` without maps}`.
    """
    parts: dict[str, list[np.ndarray]] = {}
    highest, windows = [], []
    for scores in score_videos(method, variables, videos, anew=True, maps=True, **options):
        for name, value in scores.parts.items():
            parts.setdefault(name, []).append(value)
        if scores.maps is not None and scores.maps.size:
            highest.append(np.quantile(scores.maps, 0.99))
        windows.append(scores._replace(maps=None))
    return {
        "source": source,
        "parts": {name: summary(value) for name, value in parts.items()},
        # The mean over videos of each video's percentile: all maps need not lie in memory.
        "map_99": float(np.mean(highest)) if highest else float("nan"),
        "windows": windows,
    }


def write(path: Path, statistics: Mapping[str, Mapping[str, float]], **about: Any) -> None:
    """Writes `{name: summary}` as arrays `NAME/mean` … and further values by their names."""
    flat = {f"{name}/{k}": v for name, row in statistics.items() for k, v in row.items()}
    with files.whole(path, "wb") as file:
        np.savez(file, **{k: np.asarray(v) for k, v in (flat | about).items()})


def read(path: Path) -> dict[str, dict[str, float]]:
    """The summaries that `write` wrote, by name. Raises CheckpointError for a damaged file."""
    result: dict[str, dict[str, float]] = {}
    for key, value in _arrays(path).items():
        if "/" in key:
            name, _, kind = key.rpartition("/")
            result.setdefault(name, {})[kind] = float(value)
    return result


def before_last(workdir: Path, method: Method) -> dict[str, dict[str, float]] | None:
    """What the stage before the last measured, which the last one's `begin` is handed; or None."""
    if len(method.stages) < 2:
        return None
    path = workdir / "statistics" / f"{method.stages[-2].name}.npz"
    return read(path) if path.exists() else None


def read_map_99(path: Path) -> float:
    """The 99th percentile of normal error maps, NaN for a method that draws none."""
    return float(_arrays(path)["map_99"])


def write_windows(path: Path, windows: Sequence[VideoScores], source: str) -> None:
    """Keeps the parts of every window of normal videos, from which a threshold is calibrated.

    Arrays: `names` and `lengths` `[V]`, `counts` `[V]` windows of each video, `first` `[W]` of
    them all, `part/NAME` `[W, S]`, `source`.
    """
    scored = [video for video in windows if len(video.first)]
    names = scored[0].parts if scored else ()
    parts = {name: [video.parts[name] for video in scored] for name in names}
    with files.whole(path, "wb") as file:
        np.savez(
            file,
            names=np.array([video.name for video in windows], np.str_),
            lengths=np.array([video.length for video in windows], np.int64),
            counts=np.array([len(video.first) for video in windows], np.int64),
            first=np.concatenate([video.first for video in windows]),
            source=np.array(source),
            **{f"part/{name}": np.concatenate(values) for name, values in parts.items()},
        )


def read_windows(path: Path) -> tuple[list[VideoScores], str] | None:
    """What `write_windows` wrote: windows by video, and their source; None where there is no file.

    Raises:
      CheckpointError: a damaged file.
    """
    if not path.exists():
        return None
    with _opened(path) as arrays:
        ends = np.cumsum(arrays["counts"])
        first = np.split(arrays["first"], ends[:-1])
        named = [name for name in arrays.files if name.startswith("part/")]
        if wrong := [name for name in named if len(arrays[name]) != ends[-1]]:
            raise ValueError(f"{wrong[0]} has {len(arrays[wrong[0]])} windows of {ends[-1]}")
        parts = {name.removeprefix("part/"): np.split(arrays[name], ends[:-1]) for name in named}
        about = zip(arrays["names"].tolist(), arrays["lengths"].tolist(), strict=True)
        videos = [
            VideoScores(name, length, first[i], {n: part[i] for n, part in parts.items()}, None)
            for i, (name, length) in enumerate(about)
        ]
        return videos, str(arrays["source"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with _opened(path) as arrays:
        found = {name: arrays[name] for name in arrays.files}
        if wrong := [name for name, value in found.items() if value.ndim]:
            raise ValueError(f"{wrong[0]} is no single value")
        return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The arrays of a file; whatever goes wrong with them is told as damage of the file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds for damaged files
        raise CheckpointError(
            f"{path} is damaged ({error}). Remove it and give the training command again: it is "
            "measured anew."
        ) from error
