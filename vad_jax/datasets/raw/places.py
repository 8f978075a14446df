"""Where the files of a data set lie: its root, and every source of its labels, by name only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.names import check_case, is_junk
from vad_jax.spelling import lying

PARTS = ("training", "testing")  # the folders of the repacked layouts and of the generic folder
LABELS = {  # files and folders with frame labels, the first that is there is used
    "ucsd_ped1": ("UCSDped1.m", "ped1.mat", "frame_labels_ped1.npy"),
    "ucsd_ped2": ("UCSDped2.m", "ped2.mat", "frame_labels_ped2.npy"),
    "avenue": ("avenue.mat", "frame_labels_avenue.npy"),
    "shanghaitech": (
        "test_frame_mask",
        "frame_labels_shanghai.npy",
        "frame_labels_shanghaitech.npy",
    ),
}
PATTERNS = (  # of the generic folder
    "labels.csv",
    "labels.npy",
    "frame_labels*.npy",
    "*.m",
    "*.mat",
    "Temporal_Anomaly_Annotation*.txt",
)

Kind = Literal["labels", "masks", "tracks", "annotation"]


class Truth(NamedTuple):
    """One source of labels: what it is, and its file or folder."""

    kind: Kind
    path: Path


def located(
    root: Path, names: Sequence[str], folders: Mapping[str, Sequence[str]]
) -> tuple[Path, str] | None:
    """The folder that has one of a layout's folders, and the layout; or None.

    Args:
      root: as a user gave it: the folder itself, or one that holds it.
      names: of the folder, below the root.
      folders: layout → names of its folders, one of which is enough.

    Raises:
      DataError: such a folder is there with another case.
    """
    for place in (root, *(root / name for name in names)):
        for layout, inside in folders.items():
            if any((place / name).is_dir() for name in inside):
                return place, layout
    for inside in folders.values():
        for name in inside:
            check_case(root / name)
    return None


def all_of(name: str, root: Path, test: Path) -> list[Path]:
    """Every label file or folder of a data set that is there, in the order of preference."""
    places = (root, test, root / "labels", root.parent)
    found = [place / label for label in LABELS[name] for place in places]
    return [path for path in found if path.exists()]


def first_of(name: str, root: Path, test: Path) -> Path | None:
    """The label file or folder that is used, or None."""
    return next(iter(all_of(name, root, test)), None)


def truths(dataset: Dataset) -> tuple[Truth, ...]:
    """Every source of labels that lies in a data set's folder; the one that is used comes first."""
    found = [Truth("masks", dataset.masks)] if dataset.masks else []
    tests = [path for path in _test_folders(dataset.root) if path.is_dir()]
    places = (dataset.root, dataset.root / "labels", *tests)
    if dataset.name in LABELS:
        files = [path for test in tests for path in all_of(dataset.name, dataset.root, test)]
    elif dataset.name == "ucf_crime":
        files = []
    else:
        files = [
            path
            for pattern in PATTERNS
            for place in places
            for path in sorted(place.glob(pattern))
            if not is_junk(path.name) and not path.name.endswith("_label.mat")
        ]
        files += [
            place
            for place in (dataset.root / "labels", *(test / "frames" for test in tests), *tests)
            if any(lying(place, f"{source.name}.npy").is_file() for source in dataset.testing)
        ]
    found += [Truth("labels", path) for path in files]
    found += [Truth("tracks", place / "tracks") for place in places if (place / "tracks").is_dir()]
    if dataset.labels:
        used = next((truth for truth in found if truth.path == dataset.labels), None)
        kind = "annotation" if dataset.labels.suffix == ".txt" else "labels"
        found.insert(0, used or Truth(kind, dataset.labels))
    unique: dict[Path, Truth] = {}
    for truth in found:
        unique.setdefault(truth.path.resolve(), truth)
    return tuple(unique.values())


def _test_folders(root: Path) -> tuple[Path, ...]:
    return root / "testing", root / "Test", root / "testing_videos"
