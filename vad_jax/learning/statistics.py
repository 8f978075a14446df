"""What normal clips look like: means and spreads of losses and of score parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vad_jax import files
from vad_jax.data.feed import Feed
from vad_jax.scoring import Video, score_videos
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
      `{"source": …, "parts": {part: summary}, "map_99": 99th percentile of the error maps}`.
    """
    parts: dict[str, list[np.ndarray]] = {}
    highest = []
    for scores in score_videos(method, variables, videos, anew=True, maps=True, **options):
        for name, value in scores.parts.items():
            parts.setdefault(name, []).append(value)
        if scores.maps is not None and scores.maps.size:
            highest.append(np.quantile(scores.maps, 0.99))
    return {
        "source": source,
        "parts": {name: summary(value) for name, value in parts.items()},
        # The mean over videos of each video's percentile: all maps need not lie in memory.
        "map_99": float(np.mean(highest)) if highest else float("nan"),
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


def read_map_99(path: Path) -> float:
    """The 99th percentile of normal error maps, NaN for a method that draws none."""
    return float(_arrays(path)["map_99"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            if wrong := [name for name, value in found.items() if value.ndim]:
                raise ValueError(f"{wrong[0]} is no single value")
            return found
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds for damaged files
        raise CheckpointError(
            f"{path} is damaged ({error}). Remove it and give the training command again: it is "
            "measured anew."
        ) from error
