"""Which windows of a video a method adapts on, and which are then scored: pure functions.

Letters: W windows, K shots.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np

from vad_jax.data.spans import apart, frame_indices, starts
from vad_jax.data.windows import rows
from vad_jax.types import InputSpec


class Shots(NamedTuple):
    """Windows of one video by their first frames, int32.

    Attributes:
      support: `[K]`, in order; the first k of them are the support of k shots.
      query: windows that share no frame with any of `support`: scored whatever k is.
    """

    support: np.ndarray
    query: np.ndarray


def choose(
    spec: InputSpec,
    length: int,
    broken: Collection[int],
    shots: int,
    *,
    normal: np.ndarray | None = None,
) -> Shots:
    """The first windows of a video as support, the rest as query.

    Args:
      spec: of the windows.
      length: of the video.
      broken: frames that no window may hold.
      shots: K; a short video has fewer.
      normal: bool `[F]`; with it only windows of normal frames are support, an oracle.
    """
    first = starts(spec, length, broken)
    able = first if normal is None else first[normal[frame_indices(spec, first)].all(axis=1)]
    support = able[:shots]
    return Shots(support, apart(spec, first, support))


def spread(
    spec: InputSpec,
    lengths: Sequence[int],
    broken: Sequence[Collection[int]],
    shots: int,
    where: Literal["first", "spread"],
) -> list[np.ndarray]:
    """The `first` windows of some videos in their order, or such at equal steps over all of them.

    Returns:
      For each video the windows' first frames `[k]`, K together; fewer where there are no more.
    """
    every = rows(spec, lengths, broken)
    if where == "spread" and len(every) > shots:
        every = every[np.linspace(0, len(every) - 1, shots).round().astype(int)]
    every = every[:shots]
    return [every[every[:, 0] == video, 1] for video in range(len(lengths))]
