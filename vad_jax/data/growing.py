"""An .npy file of frames that grows a frame at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class GrowingFrames:
    """An .npy file `[F, H, W, c]` that grows a frame at a time; c is 1 until colours differ."""

    def __init__(self, path: Path, size: tuple[int, int]):
        self.path, self.size, self.count, self.channels = path, size, 0, 1

    def __enter__(self) -> GrowingFrames:
        self._begin()
        return self

    def __exit__(self, *exception) -> None:
        if exception[0] is None:
            self.file.seek(0)
            self._header()
        self.file.close()

    def append(self, frame: np.ndarray) -> None:
        """Adds a frame `[H, W, 1 or 3]`."""
        if self.channels == 1 and not (frame == frame[..., :1]).all():
            self._widen(frame.shape[-1])
        if self.channels == 1:
            frame = frame[..., :1]
        self.file.write(np.broadcast_to(frame, (*self.size, self.channels)).tobytes())
        self.count += 1

    def _begin(self) -> None:
        self.file = self.path.open("wb+")
        self._header()

    def _header(self) -> None:
        # NumPy leaves room for the first axis to grow: a later header has the same length.
        about = {"descr": "|u1", "fortran_order": False}
        shape = (self.count, *self.size, self.channels)
        np.lib.format.write_array_header_1_0(self.file, {**about, "shape": shape})

    def _widen(self, channels: int) -> None:
        """Writes the frames so far once more, with all their channels."""
        self.file.close()
        narrow = self.path.with_suffix(".narrow")
        self.path.rename(narrow)
        written, self.count, self.channels = self.count, 0, channels
        self._begin()
        frame = self.size[0] * self.size[1]
        with narrow.open("rb") as file:
            file.seek(self.file.tell())
            for _ in range(written):
                grey = np.frombuffer(file.read(frame), np.uint8)
                self.append(grey.reshape(*self.size, 1))
        narrow.unlink()
