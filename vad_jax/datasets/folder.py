"""The generic folder, one folder that is only scored, and what every raw root must be."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from vad_jax.data.levels import Levels
from vad_jax.data.source import Source, with_levels
from vad_jax.data.suffixes import IMAGES, VIDEOS
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.names import check_case, inside, is_junk, shown
from vad_jax.datasets.walk import Walk
from vad_jax.spelling import composed, lying
from vad_jax.types import DataError

log = logging.getLogger(__name__)


def check_root(root: Path) -> None:
    """Raises DataError unless the root is a folder that holds something."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {what}. Give the folder that holds the videos (data.root, --root, --source)."
        )
    if all(is_junk(entry.name) for entry in root.iterdir()):
        raise DataError(
            f"{root} is empty. Give the folder that holds the videos (data.root, --root, --source)."
        )


def given_labels(labels: str | Path) -> Path:
    """The labels that a user named, which must exist."""
    path = Path(labels).expanduser()
    if not path.exists():
        raise DataError(f"Labels {path} do not exist. Check the path (data.labels, --labels).")
    return path


def open_folder(name: str, root: Path, *, labels: str | Path | None = None) -> Dataset:
    """The generic folder: `training/` and `testing/`, or one folder that is only scored.

    Args:
      name: the dataset's name in the result.
      root: the folder.
      labels: a user's own path instead of the search.

    Raises:
      DataError: no folder, no video, ambiguous labels, or names that cannot be ordered.
    """
    check_root(root)
    walk = Walk(root)
    for expected in ("training", "testing", "labels.csv", "labels", "masks", "tracks"):
        check_case(root / expected)
    split = any((root / part).is_dir() for part in ("training", "testing"))
    if split:
        walk.entries(root)
        training = walk.part(root / "training")
        testing = walk.part(root / "testing")
    else:
        training, testing = (), walk.part(root)
        walk.notes.append(f"neither training/ nor testing/ in {root.name}: all videos are scored")
    if not training and not testing:
        raise DataError(
            f"No video under {root}. Looked for training/ and testing/ (each with or without "
            f"frames/), folders of images ({' '.join(sorted(IMAGES))}) and video files "
            f"({' '.join(sorted(VIDEOS))}); found {inside(root)}."
        )
    places = (root, root / "labels", root / "testing")
    masks = next((p / "masks" for p in places if (p / "masks").is_dir()), None)
    return Dataset(
        name=name,
        layout="folder" if split else "scoring",
        root=root,
        training=training,
        testing=testing,
        labels=given_labels(labels) if labels else _labels(places, testing),
        masks=masks,
        fps=None,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


class Found(NamedTuple):
    """What lies at or below a path.

    Attributes:
      videos: in natural order.
      unknown: files that are neither videos nor labels, as paths below it.
    """

    videos: tuple[Source, ...]
    unknown: tuple[str, ...]


def sources(path: Path, *, levels: Levels | None = None) -> Found:
    """What is to be scored: one video file, or every video and folder of images at or below a path.

    Raises:
      DataError: there is nothing of that name, or no video in it.
    """
    if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
        raise DataError(f"{path} is an address: give a file or a folder.")
    path = path.expanduser().resolve()  # `.` has a name, too
    if path.is_file():
        return Found((Source(composed(path.stem), None, path, levels),), ())
    check_root(path)
    walk = Walk(path, one_by_one=True)
    found = walk.videos(path, skip=frozenset())
    for note in walk.notes:
        log.warning("%s: %s", path, note)
    if not found:
        raise DataError(
            f"No video under {path}. Looked for folders of images ({' '.join(sorted(IMAGES))}) and "
            f"video files ({' '.join(sorted(VIDEOS))}); found {inside(path)}."
        )
    return Found(with_levels(found, levels), tuple(walk.unknown))


def _labels(places: tuple[Path, ...], testing: tuple[Source, ...]) -> Path | None:
    """First form that is present, in the order of the data sets' page."""
    root, _, part = places
    for place in places:
        if (place / "labels.csv").is_file():
            return place / "labels.csv"
    for folder in (root / "labels", part / "labels", part / "frames", part, root):
        if any(lying(folder, f"{source.name}.npy").is_file() for source in testing):
            return folder
    for pattern in ("labels.npy", "*.m", "*.mat"):
        for place in places:
            found = [path for path in place.glob(pattern) if not is_junk(path.name)]
            if len(found) > 1:
                raise DataError(
                    f"{place} holds several label files: {shown(p.name for p in found)}. "
                    "Say which one is meant (data.labels, --labels)."
                )
            if found:
                return found[0]
    for place in (root, part):
        if (place / "masks").is_dir():
            return place / "masks"
    return None
