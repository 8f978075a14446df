"""What rows are drawn from: videos, and named tables of what is known beside their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vad_jax.types import DataError


class Video(Protocol):
    """Decoded frames of one video, as `data/frames.py` has them.

    Attributes:
      name: of the video.
      array: uint8 `[F, H, W, c]`; c is 1 where all channels are equal.
      broken: positions that no row may touch.
    """

    name: str
    array: np.ndarray
    broken: tuple[int, ...]

    def __len__(self) -> int:
        """F, the number of frames."""

    def read(self, index: np.ndarray) -> np.ndarray:
        """The frames at positions of any shape, uint8 `[..., H, W, C]`."""


@dataclass(frozen=True, eq=False)
class Table:
    """Something known of each frame of each video, or of things in its frames.

    Attributes:
      values: one array a video, `[N, …]`, of one dtype; all but N is the same in all videos.
      frames: None: N is the video's number of frames, and entry i belongs to frame i. Else one int
        array `[N]` a video: the frame of each entry, never falling (a frame may have several
        entries, or none).
    """

    values: Sequence[np.ndarray]
    frames: Sequence[np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Footage:
    """Videos, and tables beside them by name.

    Raises:
      DataError: a table that does not fit its videos.
    """

    videos: Sequence[Video]
    tables: Mapping[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            if name == "frames":
                raise DataError("A table cannot be named `frames`: that is what the videos hold.")
            self._check_number(name, "array", table.values)
            if table.frames is not None:
                self._check_number(name, "array of frame numbers", table.frames)
            for video in range(len(self.videos)):
                self._check(name, table, video)

    @property
    def lengths(self) -> list[int]:
        """Frames of each video."""
        return [len(video) for video in self.videos]

    @property
    def broken(self) -> list[tuple[int, ...]]:
        """Positions of each video that no row may touch."""
        return [tuple(video.broken) for video in self.videos]

    def _check_number(self, name: str, what: str, given: Sequence[Any]) -> None:
        if len(given) != len(self.videos):
            raise DataError(
                f"Table {name} has an {what} for {len(given)} videos, but there are "
                f"{len(self.videos)}: give one for each, in their order."
            )

    def _check(self, name: str, table: Table, video: int) -> None:
        values, length = table.values[video], len(self.videos[video])
        where = f"Table {name}, video {self.videos[video].name}"
        if (values.dtype, values.shape[1:]) != (table.values[0].dtype, table.values[0].shape[1:]):
            raise DataError(
                f"{where}: an entry is {values.dtype} {list(values.shape[1:])}, but in video "
                f"{self.videos[0].name} {table.values[0].dtype} {list(table.values[0].shape[1:])}. "
                "The entries of a table have one type and shape."
            )
        if table.frames is None:
            if len(values) != length:
                raise DataError(
                    f"{where}: {len(values)} entries, but the video has {length} frames. Give one "
                    "for each frame, or say by `frames` which frame each belongs to."
                )
            return
        frames = table.frames[video]
        if len(frames) != len(values):
            raise DataError(
                f"{where}: {len(values)} entries, but {len(frames)} frame numbers. Give one for "
                "each entry."
            )
        if len(frames) and (frames.min() < 0 or frames.max() >= length):
            raise DataError(
                f"{where}: its frame numbers go from {frames.min()} to {frames.max()}, but the "
                f"video has {length} frames. They count from 0 and end within the video."
            )
        if (np.diff(frames) < 0).any():
            raise DataError(f"{where}: its frame numbers fall. Sort the entries by frame.")
