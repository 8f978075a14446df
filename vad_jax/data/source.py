"""A raw video: where its frames come from, by name alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vad_jax.data.levels import Levels


@dataclass(frozen=True)
class Source:
    """One raw video: images in order, or one video file.

    Attributes:
      name: path below the split's folder, without the suffix.
      images: one path a frame, or None.
      file: the video file, or None.
      levels: of pictures with more than 8 bits a value, those that become 0 and 255: the range of
        the whole set, one for all its frames. Such pictures are refused without it.
    """

    name: str
    images: tuple[Path, ...] | None
    file: Path | None
    levels: Levels | None = None


def with_levels(sources: Iterable[Source], levels: Levels | None) -> tuple[Source, ...]:
    """The same videos, of which deep pictures have this range; None leaves them refused."""
    return tuple(replace(source, levels=levels) for source in sources)
