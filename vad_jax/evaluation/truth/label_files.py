"""Each form in which frame labels come, read into one uint8 array a video.

Every function takes the file or folder and `lengths`, video → F in order, and gives
video → `[F]` uint8 of 0 and 1. `labels.py` chooses among them. Nothing is ever evaluated or
unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vad_jax.disguise import check_file
from vad_jax.evaluation.truth.masks import ADVICE, bare, mask_place, read_masks
from vad_jax.spelling import counted, lying
from vad_jax.types import DataError


def read_text(file: Path) -> str:
    """A text file as it is. Raises DataError where it is not UTF-8, or no text at all."""
    check_file(file)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return lines.read()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}. "
            "Save it as UTF-8."
        ) from None


def read_array(file: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """One array `[N]` or `[1, N]` over all videos in their order (`.npy`)."""
    labels = _vector(_load(file), file)
    if len(lengths) == 1:
        return {name: _of_length(labels, name, length, file) for name, length in lengths.items()}
    ends = np.cumsum(list(lengths.values()))
    if len(labels) != ends[-1]:
        at = min(int(np.searchsorted(ends, len(labels), "right")), len(ends) - 1)
        name = list(lengths)[at]
        raise DataError(
            f"{file} holds {len(labels)} labels, but the {len(ends)} test videos have {ends[-1]} "
            f"frames together; they part in {name} (frames {ends[at] - lengths[name]} to "
            f"{ends[at] - 1} of all). {ADVICE}"
        )
    parts = np.split(labels, ends[:-1])
    return dict(zip(lengths, parts, strict=True))


def read_arrays(folder: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """One array `[F]` a video (`VIDEO.npy`)."""
    files = {name: lying(folder, f"{name}.npy") for name in lengths}
    _all_there({name: file.is_file() for name, file in files.items()}, folder, "VIDEO.npy")
    return {
        name: _of_length(_vector(_load(file), file), name, lengths[name], file)
        for name, file in files.items()
    }


def read_m(file: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """UCSD's text: one line of 1-based inclusive ranges a video (`.m`). Parsed, never evaluated."""
    videos = []
    for number, line in enumerate(_latin(file).splitlines(), 1):
        line = line.split("%")[0].strip()
        if not line or re.fullmatch(r"\w+\s*=\s*\{\s*\}\s*;?", line):
            continue
        found = re.fullmatch(
            r"\w+\s*\{\s*end\s*\+\s*1\s*\}\s*\.\s*gt_frame\s*=\s*\[(.*)\]\s*;?", line
        )
        if not found:
            raise DataError(
                f"{file}, line {number} reads {line!r}. Expected "
                "`TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, one line a video."
            )
        videos.append((number, re.sub(r"\s*:\s*", ":", found[1])))
    if len(videos) != len(lengths):
        raise DataError(
            f"{file} labels {counted(len(videos), 'video')}, but the test set has {len(lengths)}. "
            "Its lines follow the videos in order: choose the data set's own file."
        )
    labels = {}
    for name, (number, text) in zip(lengths, videos, strict=True):
        where = f"{file}, line {number}"
        ranges = [_range(item, where) for item in re.split(r"[\s,;]+", text.strip()) if item]
        labels[name] = _marked(ranges, name, lengths[name], where)
    return labels


def _latin(file):
    """MATLAB's text in whatever code: only ASCII is looked at, comments may hold the rest."""
    check_file(file)
    return file.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _range(item, where):
    found = re.fullmatch(r"(\d{1,18})(?::(\d{1,18}))?", item)
    if not found:
        raise DataError(f"{where} has {item!r}: write ranges like 5:90 or single frames like 7.")
    return int(found[1]), int(found[2] or found[1])


def _marked(ranges, name, length, where):
    """Ones in 1-based inclusive ranges."""
    labels = np.zeros(length, np.uint8)
    for start, end in ranges:
        if not 1 <= start <= end <= length:
            raise DataError(
                f"{where} labels frames {start} to {end} (1-based, both included) of {name}, which "
                f"has {length} frames. {ADVICE}"
            )
        labels[start - 1 : end] = 1
    return labels


def read_mat(file: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Cells `gt` of 1-based inclusive intervals, or one 0/1 vector a video under its name."""
    import scipy.io

    check_file(file)
    try:
        content = scipy.io.loadmat(file)
    except Exception as error:  # SciPy raises half a dozen kinds for files that are not its own
        raise DataError(
            f"{file} is no MATLAB file that can be read ({error}). Save it with `-v7`."
        ) from error
    if "gt" in content:
        cells = _cells(content["gt"], len(lengths), file)
        return {
            name: _marked(
                _intervals(cell, name, length, file), name, length, f"{file}, cell {number}"
            )
            for number, (cell, (name, length)) in enumerate(
                zip(cells, lengths.items(), strict=True), 1
            )
        }
    _all_there({name: name in content for name in lengths}, file, "a vector under their names")
    return {
        name: _of_length(_vector(content[name], f"{file}, {name}"), name, length, file)
        for name, length in lengths.items()
    }


def _cells(gt, videos, file):
    """One array of intervals a video, from a cell array or from cells of one shape, stacked."""
    if gt.dtype == object:
        cells = list(gt.ravel())
    elif gt.ndim >= 2 and gt.shape[0] == videos:
        cells = list(gt)
    elif gt.ndim == 2 and gt.shape[1] == videos:
        cells = list(gt.T)
    else:
        cells = [gt]
    if len(cells) != videos:
        raise DataError(
            f"{file} labels {counted(len(cells), 'video')} in `gt`, but the test set has {videos}. "
            "Its cells follow the videos in order: choose the data set's own file."
        )
    return [bare(cell) for cell in cells]


def _intervals(cell, name, length, file):
    """`[2, k]`, row 0 the starts; `[k, 2]` where only that reading is in order and in the video."""
    if not np.size(cell):
        return []
    try:
        cell = np.asarray(cell).astype(np.float64)  # uint8 would overflow at 255
    except (TypeError, ValueError) as error:
        raise DataError(f"{file} has a cell for {name} that holds no numbers.") from error
    cell = cell[:, None] if cell.ndim == 1 else cell
    whole = (np.abs(cell) <= 2**53).all() and (cell % 1 == 0).all()
    if cell.ndim != 2 or 2 not in cell.shape or not whole:
        raise DataError(
            f"{file} has a cell of shape {cell.shape} for {name}. Expected whole numbers `[2, k]`, "
            "the first row starts, the second ends."
        )
    cell = cell.astype(np.int64)
    columns = [] if len(cell) != 2 else [tuple(pair) for pair in cell.T.tolist()]
    rows = [] if cell.shape[1] != 2 else [tuple(pair) for pair in cell.tolist()]
    for pairs in (columns, rows):
        ends = [0, *(end for _, end in pairs)]
        if pairs and all(
            before < start <= end <= length
            for before, (start, end) in zip(ends, pairs, strict=False)
        ):
            return pairs
    return columns or rows  # overlapping, or refused where they leave the video


def read_mask_labels(folder: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Frames whose mask has any pixel that is not 0."""
    found = {name: mask_place(folder, name) for name in lengths}
    _all_there(
        found,
        folder,
        "VIDEO/NAME.png, VIDEO_gt/NAME.bmp, VIDEO.npy `[F, H, W]` or Avenue's 1_label.mat",
    )
    masks = {name: read_masks(folder, name, n, exact=False) for name, n in lengths.items()}
    return {name: np.array([m.any() for m in own], np.uint8) for name, own in masks.items()}


def read_track_labels(folder: Path, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Frames in which a track is seen: rows `track,frame,x0,y0,x1,y1`, 0-based (`VIDEO.txt`)."""
    files = {name: lying(folder, f"{name}.txt") for name in lengths}
    _all_there({name: file.is_file() for name, file in files.items()}, folder, "VIDEO.txt")
    labels = {name: np.zeros(length, np.uint8) for name, length in lengths.items()}
    for name, file in files.items():
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                labels[name][_tracked(line, name, lengths[name], f"{file}, line {number}")] = 1
    return labels


def are_tracks(file: Path) -> bool:
    """Whether a file begins with a row of six numbers, as tracks do."""
    with file.open("rb") as lines:
        return len(_numbers(lines.readline().decode("latin-1"))) == 6


def _numbers(line):
    try:
        return [float(field) for field in line.split(",")]
    except ValueError:
        return []


def _tracked(line, name, length, where):
    """The frame of a row of a track."""
    fields = _numbers(line)
    if len(fields) != 6 or fields[1] % 1:
        raise DataError(
            f"{where} reads {line.strip()!r}. Expected six numbers: `track,frame,x0,y0,x1,y1`."
        )
    if not 0 <= fields[1] < length:
        raise DataError(
            f"{where} has a box in frame {fields[1]:g} (0-based) of {name}, which has {length} "
            f"frames. {ADVICE}"
        )
    return int(fields[1])


def _load(file):
    check_file(file)
    try:
        found = np.load(file, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            found.close()
            raise ValueError("an archive of several arrays")
        return found
    except Exception as error:  # NumPy raises half a dozen kinds for files that are not its own
        raise DataError(
            f"{file} is no plain array of numbers ({error}). Save the labels with np.save as "
            "numbers, or write labels.csv."
        ) from error


def _vector(labels, file):
    labels = np.squeeze(labels) if np.ndim(labels) == 2 and 1 in np.shape(labels) else labels
    labels = np.atleast_1d(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        raise DataError(
            f"{file} holds {labels.dtype} of shape {labels.shape}. Expected one number a frame, 0 "
            "normal or 1 anomalous."
        )
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise DataError(
            f"{file} holds the label {labels[wrong][0]} at position {np.flatnonzero(wrong)[0]}. "
            "Labels are 0, normal, or 1, anomalous: these may be scores, or another file's."
        )
    return labels.astype(np.uint8)


def _of_length(labels, name, length, file):
    if len(labels) != length:
        raise DataError(
            f"{name} has {counted(length, 'frame')} but {counted(len(labels), 'label')} ({file}). "
            f"{ADVICE}"
        )
    return labels


def _all_there(found, where, form):
    missing = [name for name, there in found.items() if not there]
    if missing:
        raise DataError(
            f"{where} holds no labels of {', '.join(missing[:10])}"
            f"{' …' if len(missing) > 10 else ''}. Every test video needs {form}; only in "
            "labels.csv is a video without a row normal."
        )
