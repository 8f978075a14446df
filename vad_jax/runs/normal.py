"""What a run keeps of normal footage: statistics of score parts, and the parts of every row.

With `normal.npz` a run is finished; a threshold is calibrated from `normal_windows.npz`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vad_jax import atomic, evaluation, messages
from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.learning import statistics
from vad_jax.runs.workdir import Workdir
from vad_jax.scoring import frames_of
from vad_jax.types import CheckpointError, InputSpec, Method, Variables, VideoScores


def measure(
    method: Method,
    variables: Variables,
    videos: Sequence[Frames],
    workdir: Workdir,
    source: Literal["held-out", "training"],
    *,
    fps: float | None = None,
) -> None:
    """Scores normal videos and writes what is kept of them.

    Args:
      method, variables: what scores.
      videos: decoded, normal.
      workdir: of the run.
      source: where the videos come from.
      fps: their frames a second, where this is known.
    """
    total = sum(map(len, videos))
    with messages.progress(total=total, desc="normal clips", unit="frame") as bar:
        found = statistics.normal(method, variables, videos, progress=bar.update)
    _write_rows(workdir.normal_windows, found.videos, source, fps)
    flat = {f"{name}/{k}": v for name, row in found.parts.items() for k, v in row.items()}
    about = {"source": source, "map_99": found.map_99}
    with atomic.whole(workdir.normal, "wb") as file:  # last: the run is finished
        np.savez(file, **{k: np.asarray(v) for k, v in (flat | about).items()})


def finish(
    method: Method,
    variables: Variables,
    training: Sequence[Frames],
    validation: Sequence[Frames],
    workdir: Workdir,
    *,
    fps: float | None = None,
) -> None:
    """Finishes a run: its held-out videos are scored, or those it was trained on where none are.

    `fps` are the frames a second of these videos, where this is known.
    """
    if validation:
        measure(method, variables, validation, workdir, "held-out", fps=fps)
    else:
        measure(method, variables, training, workdir, "training", fps=fps)


def scores(detector: Detector, workdir: Workdir) -> evaluation.Normal | None:
    """The `online` scores of the run's normal videos, unsmoothed.

    None for a run of a version that kept none; its training command, given again, makes them
    without training anew.

    Raises:
      CheckpointError: a damaged file.
    """
    found = read_rows(workdir, detector.method.inputs)
    if found is None:
        return None
    videos, source = found
    return evaluation.Normal([detector.fused(v, smoothed=False) for v in videos], source)


def rate(workdir: Workdir) -> float | None:
    """Frames a second of the run's normal videos, where the run knows it."""
    if not workdir.normal_windows.exists():
        return None
    with _opened(workdir.normal_windows) as arrays:
        return float(arrays["fps"]) or None if "fps" in arrays.files else None


def read(workdir: Workdir) -> tuple[dict[str, dict[str, float]], float]:
    """The statistics of score parts, and the 99th percentile of normal error maps.

    Returns:
      Part → `mean`, `std`, `min`, `max`, `count`; and the percentile, NaN where no maps are drawn.

    Raises:
      CheckpointError: a damaged file.
    """
    with _opened(workdir.normal) as arrays:
        found = {name: arrays[name] for name in arrays.files}
        if wrong := [name for name, value in found.items() if value.ndim]:
            raise ValueError(f"{wrong[0]} is no single value")
        parts: dict[str, dict[str, float]] = {}
        for key, value in found.items():
            if "/" in key:
                name, _, kind = key.rpartition("/")
                parts.setdefault(name, {})[kind] = float(value)
        return parts, float(found["map_99"])


def _write_rows(
    path: Path, videos: Sequence[VideoScores], source: str, fps: float | None = None
) -> None:
    """Arrays: `names` and `lengths` `[V]`, `counts` `[V]` rows of each video, `first` `[R]` of them
    all, `part/NAME` `[R, S]`, of objects `boxes` `[R, 4]`; `source`; `fps`, 0 where not known.
    """
    scored = [video for video in videos if len(video.first)]
    names = scored[0].parts if scored else ()
    joined: dict[str, Any] = {
        f"part/{name}": np.concatenate([video.parts[name] for video in scored]) for name in names
    }
    if scored and scored[0].boxes is not None:
        joined["boxes"] = np.concatenate([video.boxes for video in scored])
    with atomic.whole(path, "wb") as file:
        np.savez(
            file,
            names=np.array([video.name for video in videos], np.str_),
            lengths=np.array([video.length for video in videos], np.int64),
            counts=np.array([len(video.first) for video in videos], np.int64),
            first=np.concatenate([video.first for video in videos]),
            source=np.array(source),
            fps=np.array(fps or 0.0),
            **joined,
        )


def read_rows(workdir: Workdir, spec: InputSpec) -> tuple[list[VideoScores], str] | None:
    """The rows of normal videos, and their source; None where an early version kept none.

    Args:
      workdir: of the run.
      spec: of its rows.

    Raises:
      CheckpointError: a damaged file.
    """
    if not workdir.normal_windows.exists():
        return None
    with _opened(workdir.normal_windows) as arrays:
        ends = np.cumsum(arrays["counts"])
        columns = [name for name in arrays.files if name == "boxes" or name.startswith("part/")]
        if wrong := [name for name in columns if len(arrays[name]) != ends[-1]]:
            raise ValueError(f"{wrong[0]} has {len(arrays[wrong[0]])} windows of {ends[-1]}")
        first = np.split(arrays["first"], ends[:-1])
        split = {name: np.split(arrays[name], ends[:-1]) for name in columns}
        boxes = split.pop("boxes", None)
        about = zip(arrays["names"].tolist(), arrays["lengths"].tolist(), strict=True)
        videos = [
            VideoScores(
                name,
                length,
                first[i],
                frames_of(spec, first[i]),
                {column.removeprefix("part/"): part[i] for column, part in split.items()},
                boxes and boxes[i],
            )
            for i, (name, length) in enumerate(about)
        ]
        return videos, str(arrays["source"])


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
