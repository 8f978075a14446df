"""Whether two label sources of one test set say the same, frame by frame.

Source: datasets.md («prepare and prepare --check»).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Disagreement(NamedTuple):
    """Where two sources differ.

    Attributes:
      frames: how many frames differ, by video; only videos that differ.
      video, frame: the first of them, 0-based.
      shift: +1 or −1 where in all those videos the first source, moved by so many frames, agrees
        with the second on every frame that both then have; else None.
    """

    frames: dict[str, int]
    video: str
    frame: int
    shift: int | None

    @property
    def total(self) -> int:
        """Frames that differ in all videos."""
        return sum(self.frames.values())


def compare(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> Disagreement | None:
    """The disagreement of two sources over the videos that both label, or None.

    Args:
      first, second: video → `[F]`, 0 or 1; videos of two lengths are left out.

    >>> one = {"01": np.array([0, 0, 1, 1, 0, 0])}
    >>> two = {"01": np.array([0, 1, 1, 0, 0, 0])}
    >>> compare(one, two)
    Disagreement(frames={'01': 2}, video='01', frame=1, shift=-1)
    """
    shared = [n for n in first if n in second and len(first[n]) == len(second[n])]
    differing = {n: np.flatnonzero(first[n] != second[n]) for n in shared}
    differing = {n: frames for n, frames in differing.items() if len(frames)}
    if not differing:
        return None
    video, frames = next(iter(differing.items()))
    later = all(np.array_equal(first[n][:-1], second[n][1:]) for n in differing)
    sooner = all(np.array_equal(first[n][1:], second[n][:-1]) for n in differing)
    return Disagreement(
        frames={n: len(found) for n, found in differing.items()},
        video=video,
        frame=int(frames[0]),
        shift=1 if later else -1 if sooner else None,
    )
