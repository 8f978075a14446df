"""Looking at raw frames while they are decoded for something else: a frame is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vad_jax.data.decoder import Picture
from vad_jax.data.grey import Unbroken, in_grey
from vad_jax.data.video import Colour
from vad_jax.types import DataError

Result = dict[str, np.ndarray]


class Watch(Protocol):
    """What an observer does with one video."""

    def push(self, grey: np.ndarray) -> None:
        """Takes the next raw frame, uint8 `[H, W]`; it may not be written to."""

    def result(self) -> Result:
        """What was seen, as plain arrays by name."""


class Observer(Protocol):
    """Sees every raw frame of a video once, in grey and at its own size.

    Attributes:
      key: names the rule and all that its results depend on beside the video: results are kept
        under it.
    """

    key: str

    def start(self, name: str) -> Watch:
        """A watch for the video `name`."""


class Watching:
    """Some observers over one video, gaps filled (`grey.Unbroken`).

    Attributes:
      count: frames so far, bad ones included.
    """

    def __init__(self, observers: Sequence[Observer], name: str, colour: Colour):
        self._watches = {observer.key: observer.start(name) for observer in observers}
        self._colour, self._unbroken, self.count = colour, Unbroken(), 0

    def push(self, picture: Picture | DataError) -> None:
        """Takes the next frame as it is decoded, at its own size."""
        self.count += 1
        if not self._watches:
            return
        bad = isinstance(picture, DataError)
        grey = None if bad else in_grey(picture.pixels, self._colour)
        for frame in self._unbroken.push(grey):
            for watch in self._watches.values():
                watch.push(frame)

    def results(self) -> dict[str, Result]:
        """What each observer saw, by its key."""
        return {key: watch.result() for key, watch in self._watches.items()}
