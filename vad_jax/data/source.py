"""A raw video: where its frames come from, by name alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """One raw video: images in order, or one video file.

    Attributes:
      name: path below the split's folder, without the suffix.
      images: one path a frame, or None.
      file: the video file, or None.
    """

    name: str
    images: tuple[Path, ...] | None
    file: Path | None
