"""Cuts a stream of frames into windows as they become whole, in constant memory."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from vad_jax.data.spans import frame_indices
from vad_jax.types import InputSpec

NEVER = np.iinfo(np.int64).max  # the first frame of a window that does not come any more


class Window(NamedTuple):
    """One window of a stream.

    Attributes:
      first: its first frame.
      frames: its L = lead + T frames `[H, W, C]`, not copied.
    """

    first: int
    frames: list[np.ndarray]


class WindowCutter:
    """Cuts a stream of frames into the windows that `spans.starts` names.

    Attributes:
      spec: of the windows.
      seen: frames that were pushed so far, lost ones included.
    """

    def __init__(self, spec: InputSpec):
        self.spec, self.seen = spec, 0
        self._frames: deque = deque(maxlen=spec.span + spec.lead * spec.stride)
        self._ended = False

    def push(self, frame: np.ndarray | None) -> list[Window]:
        """Takes the next frame `[H, W, C]`, or None for a lost one; returns what it completes."""
        self._frames.append(frame)
        self.seen += 1
        first = self.seen - self.spec.span
        return self._window(first) if first >= 0 and first % self.spec.step == 0 else []

    def flush(self) -> list[Window]:
        """Ends the stream: the window aligned with its end, where the spec asks for one."""
        self._ended = True
        first = self.seen - self.spec.span
        late = self.spec.tail == "align" and first > 0 and first % self.spec.step != 0
        return self._window(first) if late else []

    @property
    def horizon(self) -> int:
        """The smallest first frame that a window which is still to come can have.

        No later window reaches behind it (but for its lead). It is `NEVER` after `flush`.
        """
        if self._ended:
            return NEVER
        first = max(self.seen - self.spec.span, 0)
        while not self._may_come(first):
            first += 1
        return first

    def _may_come(self, first: int) -> bool:
        """Whether a window may begin there that ends with the newest frame or later."""
        if first % self.spec.step == 0:
            due = first + self.spec.span > self.seen  # else it has been cut
        else:
            due = self.spec.tail == "align"  # if the stream ends with it
        return due and not self._loses(first)

    def _window(self, first: int) -> list[Window]:
        if self._loses(first):
            return []
        oldest = self.seen - len(self._frames)
        return [Window(first, [self._frames[i - oldest] for i in frame_indices(self.spec, first)])]

    def _loses(self, first: int) -> bool:
        """Whether a frame of the window is known to be lost."""
        oldest = self.seen - len(self._frames)
        places = frame_indices(self.spec, first) - oldest
        return any(self._frames[i] is None for i in places if i < len(self._frames))
