"""Raw frames in grey, one for every position of a video: what observers and controls look at."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.data.video import Colour
from vad_jax.types import DataError


def in_grey(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """A frame `[H, W, C]` of that order of channels as uint8 `[H, W]`."""
    if colour == "grey":
        return pixels[..., 0]
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY if colour == "rgb" else cv2.COLOR_BGR2GRAY)


class Unbroken:
    """Fills the gaps of a video: a bad frame repeats the one before it.

    Bad frames in front are given as the first good one as soon as that has come. Where none is
    good nothing is given.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._missing = 0

    def push(self, frame: np.ndarray | None) -> list[np.ndarray]:
        """Takes the next frame, or None for a bad one; returns what can be given now, in order."""
        if frame is None:
            self._missing += self._last is None
            return [] if self._last is None else [self._last]
        due, self._missing = [frame] * (1 + self._missing), 0
        self._last = frame
        return due


def grey_frames(source: Source) -> Iterator[np.ndarray]:
    """The raw frames of a video, uint8 `[H, W]`, its gaps filled (`Unbroken`).

    Args:
      source: the video.

    Raises:
      DataError: the video cannot be read.
    """
    unbroken = Unbroken()
    for picture in Decoded(source, colour="grey"):
        bad = isinstance(picture, DataError)
        yield from unbroken.push(None if bad else in_grey(picture.pixels, "grey"))
