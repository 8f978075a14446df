"""Scores from anywhere: any framework's numbers evaluated like our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vad_jax.evaluation.score_files import SCORES, Scored, read_scores
from vad_jax.evaluation.series import minmax
from vad_jax.evaluation.truth.labels import Labels, read_labels
from vad_jax.spelling import composed, counted, natural
from vad_jax.types import DataError

FORMS = (
    "a scores.npz of ours; `score` [N] with `offsets` [V+1] (and perhaps `video_names` [V]); or "
    "one array [F] a video, named by the video"
)


def read_external(
    path: str | Path,
    labels: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    lower_is_stranger: bool = False,
    fps: float | None = None,
    times: Mapping[str, np.ndarray] | None = None,
) -> Scored:
    """Scores of a test set that something else made, with their labels.

    `online` holds the scores as they are, `paper` the same after min–max over each video; nothing
    is smoothed.

    Args:
      path: `.npz` without pickles: a `scores.npz` of ours (`score_paper_raw` …); or `score` `[N]`
        with `offsets` `[V+1]`, cumulative over full lengths; or one array `[F]` a video, named by
        the video. NaN = no score.
      labels: as for `read_labels`; a `scores.npz` of ours brings its own. Labels without names
        are in the order of `names`, else of `video_names`, else in natural order (`2` before `10`).
      names: of the videos in order. A file that names its videos must name these, in any order.
      lower_is_stranger: the scores fall where it is strange, as PSNR does.
      fps: frames a second of all videos, for times like `12.5s` in `labels.csv`.
      times: as for `read_labels`: when each frame of a video is seen, which goes before `fps`.

    Raises:
      DataError: another form, labels that are missing or of another length, an infinite score.
    """
    path = Path(path)
    arrays = _arrays(path)
    if all(f"score_{name}" in arrays for name in SCORES):
        if lower_is_stranger:
            raise DataError(f"{path} was written by `evaluate`: higher is stranger there already.")
        own = read_scores(path)
        return (
            own if labels is None else _with(own, _read(labels, own.names, own.labels, fps, times))
        )
    videos = _finite(path, _videos(path, arrays, names))
    if labels is None:
        raise DataError(f"{path} holds no labels: name their file or folder with --labels.")
    truth = _read(labels, videos, videos.values(), fps, times)
    values = [-video if lower_is_stranger else video for video in videos.values()]
    scaled = [minmax(video) for video in values]
    scores = {name: scaled if name.startswith("paper") else values for name in SCORES}
    meta = {"method": path.stem, "fps": None, "scores": path.name}
    found = Scored(names=tuple(videos), labels=values, scores=scores, meta=meta)
    return _with(found, truth)


def read_normal(path: str | Path, *, lower_is_stranger: bool = False) -> list[np.ndarray]:
    """Scores of normal videos that something else made, `[F]` float64 a video.

    Args:
      path: as for `read_external`, but no `scores.npz` of ours: that is of a test set.
      lower_is_stranger: the scores fall where it is strange.

    Raises:
      DataError: another form, or an infinite score.
    """
    path = Path(path)
    videos = _finite(path, _videos(path, _arrays(path), None))
    return [-video if lower_is_stranger else video for video in videos.values()]


def _finite(path, videos):
    for name, values in videos.items():
        if np.isinf(values).any():
            raise DataError(f"{path}: video {name} has an infinite score. A missing one is NaN.")
    return videos


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path}: expected an .npz file: {FORMS}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except Exception as error:  # NumPy and zipfile raise half a dozen kinds for damaged files
        raise DataError(f"{path} is no archive of plain arrays ({error}): {FORMS}.") from None


def _videos(path, arrays, names) -> dict[str, np.ndarray]:
    if "score" not in arrays:
        wrong = [name for name, array in arrays.items() if array.ndim != 1 or not _numbers(array)]
        if wrong or not arrays:
            raise DataError(f"{path}: {', '.join(wrong) or 'nothing'} in it is no scores: {FORMS}.")
        known = {name.replace("\\", "/"): array for name, array in arrays.items()}
        videos = {name: np.asarray(array, np.float64) for name, array in known.items()}
        order = sorted(videos, key=lambda name: (natural(name), name)) if names is None else names
        return _in_order(path, videos, order)
    score, offsets = arrays["score"], arrays.get("offsets")
    if offsets is None:
        raise DataError(
            f"{path} has `score` but no `offsets`: where does each video begin? It is "
            "[0, F1, F1 + F2, …], over full lengths."
        )
    whole = offsets.ndim == 1 and offsets.size > 1 and offsets.dtype.kind in "iu"
    if not whole or (offsets[1:] < offsets[:-1]).any():
        raise DataError(
            f"{path}: `offsets` is {offsets.dtype} {list(offsets.shape)}; expected whole numbers "
            "[V+1] that rise from 0 to N."
        )
    if score.ndim != 1 or not _numbers(score) or offsets[0] != 0 or offsets[-1] != len(score):
        raise DataError(
            f"{path}: `score` is {score.dtype} {list(score.shape)} and `offsets` run from "
            f"{offsets[0]} to {offsets[-1]}; expected numbers [N] and offsets from 0 to N."
        )
    count = len(offsets) - 1
    numbered = [f"{number:03d}" for number in range(1, count + 1)] if names is None else names
    own = [str(name) for name in arrays.get("video_names", numbered)]
    if len(own) != count:
        raise DataError(
            f"{path} has {counted(count, 'video')} and {counted(len(own), 'name')} of them."
        )
    if len(set(own)) < count:
        raise DataError(f"{path}: `video_names` names a video twice. Each has a name of its own.")
    parts = np.split(np.asarray(score, np.float64), offsets[1:-1])
    return _in_order(path, dict(zip(own, parts, strict=True)), own if names is None else names)


def _in_order(path, videos, names) -> dict[str, np.ndarray]:
    """The videos called as `names` are, in their order; accents may be written in either way."""
    known = {composed(name): video for name, video in videos.items()}
    if len(known) < len(videos):
        raise DataError(
            f"{path} names a video twice, in two ways to write its accents. Rename one."
        )
    wanted = {composed(name): name for name in names}
    absent, unknown = sorted(wanted.keys() - known.keys()), sorted(known.keys() - wanted.keys())
    if absent or unknown:
        raise DataError(
            f"{path} has no scores of {absent or 'none'} and scores of videos that the "
            f"test set does not have: {unknown or 'none'}."
        )
    return {name: known[own] for own, name in wanted.items()}


def _numbers(array) -> bool:
    return np.issubdtype(array.dtype, np.number) or array.dtype == bool


def _read(labels, names, videos, fps, times) -> Labels:
    lengths = dict(zip(names, map(len, videos), strict=True))
    rates = dict.fromkeys(lengths, fps) if fps else None
    return read_labels(labels, lengths, fps=rates, times=times)


def _with(scored: Scored, truth: Labels) -> Scored:
    about = {"label_source": Path(truth.source).name, "label_hash": truth.digest}
    labels = [truth.values[name].astype(np.int8) for name in scored.names]
    return replace(scored, labels=labels, meta=scored.meta | about)
