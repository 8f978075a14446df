"""Frame labels: which frames of the test videos are anomalous, read from any of their forms.

Every form becomes one array a video that counts every frame of the raw video, 0 normal,
1 anomalous. Files of the field count from 1 and include the last frame; inside every index is
0-based and every interval half-open, converted here.

Source: datasets.md (its sections on each data set, and on the generic folder).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vad_jax.disguise import check_file
from vad_jax.evaluation.truth import label_files
from vad_jax.evaluation.truth.interval_table import read_csv
from vad_jax.evaluation.truth.masks import is_mask_array, mask_place
from vad_jax.evaluation.truth.temporal import read_temporal
from vad_jax.spelling import lying
from vad_jax.types import DataError


@dataclass(frozen=True)
class Labels:
    """The labels of a test set.

    Attributes:
      values: video → `[F]` uint8, 0 or 1, in the order of the videos.
      source: the file or folder that they were read from.
      digest: sha256, hex, over names, lengths and labels: two runs may be compared if it is equal.
    """

    values: dict[str, np.ndarray]
    source: str
    digest: str


def read_labels(
    path: str | Path,
    lengths: Mapping[str, int],
    *,
    fps: Mapping[str, float] | None = None,
    times: Mapping[str, np.ndarray] | None = None,
) -> Labels:
    """The labels of the test videos.

    Args:
      path: a file (`.m`, `.mat`, `.npy`, `.csv`, UCF-Crime's `.txt`) or a folder: the first of
        `labels.csv`, `VIDEO.npy` (there or under `labels/`), `labels.npy` or `frame_labels_*.npy`,
        `*.m`, `*.mat`, `Temporal_Anomaly_Annotation*.txt`, masks (there or under `masks/`; the
        forms of `masks.py`), and tracks `VIDEO.txt` (there or under `tracks/`).
      lengths: test video → F, in the order in which concatenated labels hold them.
      fps: video → frames a second, for times like `12.5s` in `labels.csv` of videos that are not
        in `times`.
      times: video → when each of its frames is seen, seconds `[F]`.

    Raises:
      DataError: nothing to read, a video without labels, a length that differs, a value that is
        neither 0 nor 1, masks of more than two values, a range that leaves the video, a pickle.
    """
    path = Path(path)
    file, read = _find(path, lengths)
    options = {"fps": fps, "times": times} if read is read_csv else {}
    values = read(file, lengths, **options)
    return Labels(values=values, source=str(file), digest=digest(values))


def digest(values: Mapping[str, np.ndarray]) -> str:
    """Sha256, hex, over names, lengths and labels (video → `[F]` uint8) in their order."""
    whole = hashlib.sha256()
    for name, labels in values.items():
        whole.update(f"{name}\0{len(labels)}\0".encode() + labels.tobytes())
    return whole.hexdigest()


READERS = {
    ".csv": read_csv,
    ".npy": label_files.read_array,
    ".m": label_files.read_m,
    ".mat": label_files.read_mat,
    ".txt": read_temporal,
}
FILES = ("labels.npy", "frame_labels*.npy", "*.m", "*.mat", "Temporal_Anomaly_Annotation*.txt")


def _find(path, lengths):
    """The file or folder that holds the labels, and what reads it."""
    if path.is_file():
        check_file(path)
        if path.suffix.lower() not in READERS:
            raise DataError(
                f"{path} is no form of labels that is known: {', '.join(READERS)}, a folder of "
                "VIDEO.npy or of masks. Convert it, or choose another file with data.labels."
            )
        return path, READERS[path.suffix.lower()]
    if not path.is_dir():
        raise DataError(f"There are no labels at {path}. Give their file or folder as data.labels.")
    if (path / "labels.csv").is_file():
        return path / "labels.csv", read_csv
    for folder in (path / "labels", path):
        arrays = [lying(folder, f"{name}.npy") for name in lengths]
        if any(array.is_file() and not is_mask_array(array) for array in arrays):
            return folder, label_files.read_arrays
    for pattern in FILES:
        found = sorted(file for file in path.glob(pattern) if not _is_passed_over(file.name))
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise DataError(f"{path} holds {names}. Choose one of them with data.labels.")
        if found:
            return found[0], READERS[found[0].suffix]
    for folder in (path / "masks", path):
        if any(mask_place(folder, name) for name in lengths):
            return folder, label_files.read_mask_labels
    for folder in (path / "tracks", path):
        if any(lying(folder, f"{name}.txt").is_file() for name in lengths):
            return folder, label_files.read_track_labels
    raise DataError(
        f"{path} holds no labels of the test videos {', '.join(list(lengths)[:3])} …: neither "
        "labels.csv, VIDEO.npy, labels.npy, *.m, *.mat, Temporal_Anomaly_Annotation.txt, masks "
        "VIDEO/NAME.png nor tracks VIDEO.txt."
    )


def _is_passed_over(name):
    """Hidden files, and the masks of one video that lie in files of their own."""
    return name.startswith(".") or name.endswith("_label.mat")
