"""The files of an evaluation: `scores.npz`, every number a frame got, and `metrics.json`.

No pickles; written whole or not at all. Source: evaluation.md section 9.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax.atomic import whole
from vad_jax.types import DataError

# What an evaluation writes into a folder.
SCORES_FILE = "scores.npz"
CONTROLS_FILE = "controls.npz"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
PICTURES_FOLDER = "pictures"
PICTURES_INDEX, TIMELINE_INDEX = "index.json", "timeline.json"  # in that folder

PROTOCOLS = ("paper", "online")
VARIANTS = ("raw", "smoothed")
SCORES = tuple(f"{protocol}_{variant}" for protocol in PROTOCOLS for variant in VARIANTS)
DETECTIONS = ("video", "frame", "box", "score")

PerVideo = list[np.ndarray]  # `[F]` a video


@dataclass(frozen=True)
class Scored:
    """All test frames and what a method says of them; lists hold one array a video.

    Attributes:
      names: of the videos.
      labels: `[F]` int8, 1 anomalous, 0 normal, −1 unknown.
      scores: `paper_raw`, `paper_smoothed`, `online_raw`, `online_smoothed` → `[F]` float64,
        higher = stranger, NaN = no score.
      parts: name → `[F]` float64 in the paper's own units and direction.
      signs: part → +1 where higher = stranger, −1 where lower is.
      results: `NAME_PROTOCOL_VARIANT` → `[F]`, further results of the fusion.
      controls: name → `[F]` float64, scores that need no learning, in no particular direction;
        in a file of their own (`write_controls`).
      detections: `video` `[D]`, `frame` `[D]`, `box` `[D, 4]` inclusive, `score` `[D]`; or empty.
      meta: plain values: method, config hash, checkpoint step, data hash, label source and hash,
        fps, seed, and `scenes`, of each video, where several videos show one.
    """

    names: tuple[str, ...]
    labels: PerVideo
    scores: dict[str, PerVideo]
    parts: dict[str, PerVideo] = field(default_factory=dict)
    signs: dict[str, int] = field(default_factory=dict)
    results: dict[str, PerVideo] = field(default_factory=dict)
    controls: dict[str, PerVideo] = field(default_factory=dict)
    detections: dict[str, np.ndarray] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def truth_of(scored: Scored) -> list[np.ndarray]:
    """Labels 0 or 1, `[F]` a video; unknown ones are 0, and have no score in `known_scores`."""
    return [np.maximum(labels, 0) for labels in scored.labels]


def known_scores(scored: Scored, videos: list[np.ndarray]) -> list[np.ndarray]:
    """Scores `[F]` a video without those of frames of unknown label."""
    return [
        np.where(own < 0, np.nan, value) for own, value in zip(scored.labels, videos, strict=True)
    ]


def scenes_of(scored: Scored) -> list[str] | None:
    """The scene of each video, `[V]`, where several videos show one of several scenes.

    Intervals are over scenes then; videos of a single scene are drawn one by one.
    """
    scenes = scored.meta.get("scenes") or ()
    several = 1 < len(set(scenes)) < len(scored.names)
    return list(scenes) if several else None


def write_scores(path: str | Path, scored: Scored) -> None:
    """Keeps the scores of a test set as `scores.npz`.

    Raises:
      DataError: a score list is missing, does not match its video's length, or is infinite.
    """
    lengths = [len(video) for video in scored.labels]
    columns = (
        {f"score_{name}": scored.scores.get(name) for name in SCORES}
        | {f"part_{name}": videos for name, videos in scored.parts.items()}
        | {f"fused_{name}": videos for name, videos in scored.results.items()}
    )
    for name, videos in columns.items():
        _check(name, videos, scored.names, lengths, path)
    arrays = {
        "video_names": np.array(scored.names, np.str_),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "frame": _joined([np.arange(length) for length in lengths], np.int32),
        "label": _joined(scored.labels, np.int8),
        "meta": np.array(json.dumps(plain(scored.meta), allow_nan=False)),
    }
    arrays |= {name: _joined(videos, np.float64) for name, videos in columns.items()}
    arrays |= {
        f"part_{name}_sign": np.array(scored.signs.get(name, 1), np.int8) for name in scored.parts
    }
    arrays |= {f"det_{name}": np.asarray(column) for name, column in scored.detections.items()}
    with whole(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def _check(name, videos, names, lengths, path):
    if videos is None:
        raise DataError(f"{path} needs {name}: one array a video, NaN where there is no score.")
    if [len(video) for video in videos] != lengths:
        found = dict(zip(names, (len(video) for video in videos), strict=False))
        raise DataError(f"{name} has {found} values, but the videos have {lengths} frames ({path})")
    if any(np.isinf(video).any() for video in videos):
        raise DataError(f"{name} holds an infinite value ({path}). A missing score is NaN.")


def _joined(videos, dtype):
    return np.concatenate([np.zeros(0), *videos]).astype(dtype)


def read_scores(path: str | Path) -> Scored:
    """The content of a `scores.npz`.

    Raises:
      DataError: no such file, not an archive of plain arrays, or an entry that is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"There are no scores at {path}. Make them with `evaluate`.") from error
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds for damaged files
        raise DataError(
            f"{path} is no archive of plain arrays ({error}). Make it anew with `evaluate`."
        ) from error
    needed = ("video_names", "offsets", "frame", "label", *(f"score_{name}" for name in SCORES))
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}. It was not written whole by `evaluate`."
        )
    offsets = arrays["offsets"]
    columns = {name: column for name, column in arrays.items() if len(np.shape(column)) == 1}
    wrong = [
        name
        for name, column in columns.items()
        if name.startswith(("frame", "label", "score_", "part_", "fused_"))
        and len(column) != offsets[-1]
    ]
    if wrong or len(offsets) != len(arrays["video_names"]) + 1:
        raise DataError(
            f"{path} has {len(arrays['video_names'])} videos of {offsets[-1]} frames, but "
            f"{', '.join(wrong) or 'offsets'} of another length. Make it anew with `evaluate`."
        )

    def named(prefix):
        return {
            name.removeprefix(prefix): np.split(column, offsets[1:-1])
            for name, column in columns.items()
            if name.startswith(prefix)
        }

    parts = named("part_")
    return Scored(
        names=tuple(str(name) for name in arrays["video_names"]),
        labels=np.split(arrays["label"], offsets[1:-1]),
        scores=named("score_"),
        parts=parts,
        signs={name: int(arrays.get(f"part_{name}_sign", 1)) for name in parts},
        results=named("fused_"),
        detections={n: arrays[f"det_{n}"] for n in DETECTIONS if f"det_{n}" in arrays},
        meta=json.loads(str(arrays.get("meta", "{}"))),
    )


def write_controls(path: str | Path, scored: Scored) -> None:
    """Keeps `scored.controls` as `controls.npz`: name → `[N]`, frames as in `scores.npz`."""
    arrays = {name: _joined(videos, np.float64) for name, videos in scored.controls.items()}
    with whole(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_controls(path: str | Path, scored: Scored) -> Scored:
    """The scores with the controls of their file; as they are where there is none.

    Raises:
      DataError: a damaged file, or one of other frames.
    """
    if not Path(path).is_file():
        return scored
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # as in `read_scores`
        raise DataError(f"{path} is damaged ({error}). Make it anew with `evaluate`.") from error
    ends = np.cumsum([len(labels) for labels in scored.labels])
    if any(array.shape != (ends[-1],) for array in arrays.values()):
        raise DataError(f"{path} has other frames than scores.npz. Make both with `evaluate`.")
    controls = {name: np.split(array, ends[:-1]) for name, array in arrays.items()}
    return replace(scored, controls=controls)


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Keeps the figures of a run as `metrics.json`: plain numbers, null where there is none.

    Raises:
      DataError: a figure that is NaN or infinite, named by its keys.
    """
    text = json.dumps(plain(metrics), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    with whole(path, "wb") as file:
        file.write(text.encode())


def read_metrics(path: str | Path) -> dict[str, Any]:
    """The figures of a `metrics.json`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There are no figures at {path}. Make them with `evaluate`.") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}). Make it anew with `evaluate`.") from error


def plain(value: Any, *, where: str = "") -> Any:
    """The same values as JSON knows them: dicts, lists, str, int, float, bool, None."""
    if isinstance(value, Mapping):
        return {
            str(key): plain(inner, where=f"{where}.{key}".lstrip("."))
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(inner, where=f"{where}[{i}]") for i, inner in enumerate(value)]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist(), where=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{where} is {value}. A figure that does not exist is null, with `why`.")
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
