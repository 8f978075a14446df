"""What is published of a data set, and how a raw folder's names differ from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vad_jax.data.source import Source
from vad_jax.datasets.names import first_missing
from vad_jax.spelling import counted, natural


@dataclass(frozen=True)
class Part:
    """One split as published.

    Attributes:
      videos: how many.
      frames: of all of them, or None.
      lengths: video → frames, None where only the name is known; empty where not even the names
        are. Names are compared with digits as numbers.
    """

    videos: int
    frames: int | None = None
    lengths: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """A data set as published.

    Attributes:
      training, testing: the splits.
      size: (height, width) of a frame, or None.
      grey: whether the footage has no colour.
      first: number of a video's first image.
      anomalous: kind of truth (`labels`, `masks`) → test video → anomalous frames.
      disagreements: pair of kinds → frames on which they are known to differ.
      masked: the test videos with masks, where not all have them; or None.
      own_names: whether no training video is called like a test video.
      faults: what is wrong with the files that say which videos there are.
      remarks: what a user should know of the data set.
    """

    training: Part
    testing: Part
    size: tuple[int, int] | None = None
    grey: bool = False
    first: int = 0
    anomalous: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    disagreements: Mapping[frozenset[str], int] = field(default_factory=dict)
    masked: tuple[str, ...] | None = None
    own_names: bool = False
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def part(self, split: Literal["train", "test"]) -> Part:
        """One of the two splits."""
        return self.training if split == "train" else self.testing


def numbered(prefix: str, counts: Sequence[int | None]) -> dict[str, int | None]:
    """Names `PREFIX1`, `PREFIX2` … with their counts."""
    return {f"{prefix}{number}": count for number, count in enumerate(counts, 1)}


def by_name(counts: Mapping[str, int | None]) -> dict[tuple[str | int, ...], int | None]:
    """The counts under keys that `natural(name)` finds, whatever zeros the names have."""
    return {natural(name): count for name, count in counts.items()}


def differences(split: str, found: Sequence[Source], part: Part, *, first: int) -> list[str]:
    """What the names alone say of a split against its published counts, a line each.

    Args:
      split: its folder's name, for the lines.
      found: its videos; the frames of video files are not counted here.
      part: what is published.
      first: number of a video's first image.
    """
    notes = []
    if len(found) != part.videos:
        notes.append(f"{split}: {counted(len(found), 'video')}, {part.videos} published")
    lengths = by_name(part.lengths)
    for source in found:
        frames = lengths.get(natural(source.name))
        if frames is not None and source.images and len(source.images) != frames:
            notes.append(f"{split} {source.name}: {fewer(source, frames, first=first)}")
    return notes


def fewer(source: Source, frames: int, *, first: int, here: int | None = None) -> str:
    """`119 frames, 120 published, first missing 077.jpg`.

    Args:
      source: the video.
      frames: as published.
      first: number of its first image.
      here: its frames; else the number of its images.
    """
    missing = first_missing(source, first=first, frames=frames)
    here = len(source.images or ()) if here is None else here
    said = f"{counted(here, 'frame')}, {frames} published"
    return said + (f", first missing {missing}" if missing else "")
