"""A raw folder walked: which files are videos, in which order, and what is amiss with their names.

Only names are looked at; nothing is decoded and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from vad_jax.data.source import Source
from vad_jax.data.suffixes import IMAGES, VIDEOS
from vad_jax.datasets.links import check_link
from vad_jax.datasets.names import (
    check_case,
    is_document,
    is_junk,
    number,
    prefix,
    renumbered,
    shown,
)
from vad_jax.spelling import composed, counted, is_text, natural
from vad_jax.types import DataError

LABELS = frozenset({".m", ".mat", ".npy", ".csv", ".txt"})  # may lie beside videos
TRUTH_FOLDERS = frozenset({"labels", "masks", "tracks"})


@dataclass
class Walk:
    """One reading of a root; remembers what it passed over.

    Attributes:
      root: links that lead out of it are refused.
      one_by_one: whether links to nowhere and names that are no text are passed: who reads the
        videos one by one names them.
      ignored: junk, texts for people and `_gt` folders so far.
      notes: what a user should see so far.
      unknown: files so far that are neither videos nor labels, as paths below the root.
    """

    root: Path
    one_by_one: bool = False
    ignored: int = 0
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def entries(self, folder: Path) -> list[Path]:
        """The entries of a folder in natural order, junk and texts for people left out.

        Raises:
          DataError: a link that leaves the root or leads back; unless they are read one by one, one
            that leads nowhere, or a name that is no text.
        """
        kept = []
        for entry in folder.iterdir():
            if is_junk(entry.name) or is_document(entry):
                self.ignored += 1
                continue
            if not (self.one_by_one or is_text(entry.name)):
                raise DataError(
                    f"{str(entry)!a}: rename it, a name must be text (UTF-8) without control "
                    "characters."
                )
            check_link(entry, self.root, dangling=self.one_by_one)
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
        """The videos of one split: in its `frames` level where there is one; none without it.

        Raises:
          DataError: as `videos`, or a folder that is there with another case.
        """
        check_case(folder)
        check_case(folder / "frames")
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
                yield Source(_named(entry.with_suffix(""), top), None, entry)
            elif not (folder == top and suffix in LABELS):
                unknown.append(entry.name)
        self.unknown += [(folder / name).relative_to(self.root).as_posix() for name in unknown]
        if unknown and not self.one_by_one:
            self.notes.append(f"unknown in {self._short(folder)}: {shown(unknown)}")
        if empty and folder != top:
            self.notes.append(f"{self._short(folder)} is empty: no video")
        if images:
            name = composed(folder.name) if folder == top else _named(folder, top)
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
            renumbered(before, number(before) + 1)
            for before, after in pairwise(images)
            if prefix(before) == prefix(after) and number(after) - number(before) > 1
        ]
        if gaps:
            self.notes.append(
                f"Video {video}: the numbering has {counted(len(gaps), 'gap')}, first missing "
                f"{gaps[0]}"
            )

    def _short(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else path.name


def _named(path: Path, top: Path) -> str:
    return composed(path.relative_to(top).as_posix())


def _where(source: Source) -> str:
    return source.file.name if source.file else f"{source.name}/"
