"""Raw folders: which files are videos, in which order, and what is amiss with their names.

Only names are looked at here; nothing is decoded and nothing is written.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from vad_jax.data.source import Source
from vad_jax.datasets.links import check_link
from vad_jax.types import DataError

log = logging.getLogger(__name__)

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".webm", ".m4v"})
LABELS = frozenset({".m", ".mat", ".npy", ".csv", ".txt"})  # may lie beside videos
TRUTH_FOLDERS = frozenset({"labels", "masks", "tracks"})


@dataclass(frozen=True)
class Dataset:
    """What a raw folder holds, by name only.

    Attributes:
      name: as asked for.
      layout: `official`, `repacked`, `folder`, or `scoring` (one folder, no training part).
      root: the folder that holds the parts.
      training, testing: the videos in natural order.
      labels: file or folder with the truth of the test videos, or None.
      masks: folder with pixel masks, or None.
      fps: frames a second where it is known.
      ignored: entries passed over in silence: junk, and `_gt` folders.
      notes: what a user should see: gaps, unknown files, counts unlike the published ones.
      scenes: test video → its scene, where several videos show the same one; else None.
    """

    name: str
    layout: str
    root: Path
    training: tuple[Source, ...]
    testing: tuple[Source, ...]
    labels: Path | None
    masks: Path | None
    fps: float | None
    ignored: int
    notes: tuple[str, ...] = ()
    scenes: Mapping[str, str] | None = None


def natural(name: str) -> tuple[str | int, ...]:
    """A sort key that compares digits as numbers: `2` before `10`, `1` equal to `001`."""
    return tuple(int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name))


def is_junk(name: str) -> bool:
    """Whether an editor, a file manager or a broken download left an entry of this name."""
    return name.startswith(".") or name.endswith(("~", ".tmp", ".part")) or name == "Thumbs.db"


def shown(names: Iterable[str]) -> str:
    """The first five of some names, for a message."""
    names = sorted(names, key=lambda name: (natural(name), name))
    if not names:
        return "nothing"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def inside(folder: Path) -> str:
    """The first five names in a folder, junk left out, for a message."""
    return shown(entry.name for entry in folder.iterdir() if not is_junk(entry.name))


@dataclass
class Walk:
    """One reading of a root; remembers what it passed over.

    Attributes:
      root: links that lead out of it are refused.
      dangling: whether links to nowhere are passed: who reads the videos one by one names them.
      ignored: junk and `_gt` folders so far.
      notes: what a user should see so far.
    """

    root: Path
    dangling: bool = False
    ignored: int = 0
    notes: list[str] = field(default_factory=list)

    def entries(self, folder: Path) -> list[Path]:
        """The entries of a folder in natural order, junk left out.

        Raises:
          DataError: a link that leaves the root, leads nowhere or leads back; a name that is no
            text.
        """
        kept = []
        for entry in folder.iterdir():
            if is_junk(entry.name):
                self.ignored += 1
                continue
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in entry.name):
                raise DataError(
                    f"{str(entry)!a}: rename it, a name must be text (UTF-8) without control "
                    "characters."
                )
            check_link(entry, self.root, dangling=self.dangling)
            kept.append(entry)
        return sorted(kept, key=lambda entry: (natural(entry.name), entry.name))

    def videos(self, folder: Path, *, skip: frozenset[str] = TRUTH_FOLDERS) -> tuple[Source, ...]:
        """The videos at or below a folder.

        Args:
          folder: of one split, or its `frames` level.
          skip: names of folders that hold truth rather than frames.

        Raises:
          DataError: two videos of one name, two images of one number, or a link that leaves.
        """
        found = sorted(self._below(folder, folder, skip), key=lambda s: (natural(s.name), s.name))
        names: dict[tuple[str | int, ...], Source] = {}
        for source in found:
            other = names.setdefault(natural(source.name.casefold()), source)
            if other is not source:
                raise DataError(
                    f"{folder} holds two videos of one name: {_where(other)} and {_where(source)}. "
                    "Names must differ in more than case, suffix and leading zeros: rename one."
                )
        return tuple(found)

    def part(self, folder: Path) -> tuple[Source, ...]:
        """The videos of one split: in its `frames` level where there is one; none without it."""
        if not folder.is_dir():
            return ()
        if (folder / "frames").is_dir():
            self.entries(folder)
            folder = folder / "frames"
        return self.videos(folder)

    def _below(self, folder: Path, top: Path, skip: frozenset[str]) -> Iterator[Source]:
        images, unknown, empty = [], [], True
        for entry in self.entries(folder):
            suffix = entry.suffix.lower()
            empty = False
            if entry.is_dir():
                if entry.name.endswith("_gt"):
                    self.ignored += 1
                elif not (folder == top and entry.name in skip):
                    yield from self._below(entry, top, skip)
            elif suffix in IMAGES:
                images.append(entry)
            elif suffix in VIDEOS:
                yield Source(entry.relative_to(top).with_suffix("").as_posix(), None, entry)
            elif not (folder == top and suffix in LABELS):
                unknown.append(entry.name)
        if unknown:
            self.notes.append(f"unknown in {self._short(folder)}: {shown(unknown)}")
        if empty and folder != top:
            self.notes.append(f"{self._short(folder)} is empty: no video")
        if images:
            name = folder.name if folder == top else folder.relative_to(top).as_posix()
            self._check_numbers(name, images)
            yield Source(name, tuple(images), None)

    def _check_numbers(self, video: str, images: list[Path]) -> None:
        seen: dict[tuple[str | int, ...], Path] = {}
        for image in images:
            other = seen.setdefault(natural(image.stem.casefold()), image)
            if other is not image:
                raise DataError(
                    f"Video {video} has two frames of one number: {other.name} and {image.name} "
                    f"in {image.parent}. Every frame counts once: remove one of them."
                )
        gaps = [
            _renumbered(before, _number(before) + 1)
            for before, after in pairwise(images)
            if _prefix(before) == _prefix(after) and _number(after) - _number(before) > 1
        ]
        if gaps:
            self.notes.append(
                f"Video {video}: the numbering has {len(gaps)} gap{'s' if len(gaps) > 1 else ''}, "
                f"first missing {gaps[0]}"
            )

    def _short(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else path.name


def _where(source: Source) -> str:
    return source.file.name if source.file else f"{source.name}/"


def _prefix(path: Path) -> str:
    return re.sub(r"\d+$", "", path.stem)


def _number(path: Path) -> int:
    return int(path.stem[len(_prefix(path)) :] or 0)


def _renumbered(path: Path, number: int) -> str:
    width = len(path.stem) - len(_prefix(path))
    return f"{_prefix(path)}{number:0{width}d}{path.suffix}"


def first_missing(source: Source, *, first: int, frames: int) -> str | None:
    """The name of the first of `frames` images, counted from `first`, that a video lacks.

    Sets are repacked with names from 0 and from 1: where the name before `first`, or the one after
    the last, is there, that is what the names are counted from.
    """
    if not source.images:
        return None
    present = {_number(path) for path in source.images}
    if first and first - 1 in present:
        first -= 1
    elif first not in present and first + frames in present:
        first += 1
    absent = next((n for n in range(first, first + frames) if n not in present), None)
    return None if absent is None else _renumbered(source.images[0], absent)


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


def sources(path: Path) -> tuple[Source, ...]:
    """What is to be scored: one video file, or every video and folder of images at or below a path.

    Raises:
      DataError: there is nothing of that name, or no video in it.
    """
    if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
        raise DataError(f"{path} is an address: give a file or a folder.")
    path = path.expanduser().resolve()  # `.` has a name, too
    if path.is_file():
        return (Source(path.stem, None, path),)
    check_root(path)
    walk = Walk(path, dangling=True)
    found = walk.videos(path, skip=frozenset())
    for note in walk.notes:
        log.warning("%s: %s", path, note)
    if not found:
        raise DataError(
            f"No video under {path}. Looked for folders of images ({' '.join(sorted(IMAGES))}) and "
            f"video files ({' '.join(sorted(VIDEOS))})."
        )
    return found


def _labels(places: tuple[Path, ...], testing: tuple[Source, ...]) -> Path | None:
    """First form that is present, in the order of the data sets' page."""
    root, _, part = places
    for place in places:
        if (place / "labels.csv").is_file():
            return place / "labels.csv"
    for folder in (root / "labels", part / "labels", part / "frames", part, root):
        if any((folder / f"{source.name}.npy").is_file() for source in testing):
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
