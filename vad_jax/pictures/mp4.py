"""An mp4 that browsers play: H.264, each frame at a time of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError

from vad_jax.types import DataError

_TICK = Fraction(1, 90_000)  # of a second: times are kept so finely
# Of 640x456 some 310 frames a second of one core; VP9 takes a hundred times as long (2026-12).
_HOW = {"preset": "veryfast", "crf": "23", "bf": "0", "g": "50"}


class Mp4:
    """A film that is written frame by frame, a context; `close` makes it whole.

    Args:
      path: of the mp4.
      size: (height, width) of its frames, both even.

    Raises:
      DataError: FFmpeg here has no encoder of H.264.
      OSError: what is written cannot be kept.
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        self._path = path
        # The index stands first: a browser begins before it has the whole file.
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        try:
            self._stream = self._container.add_stream("h264", options=_HOW)
        except UnknownCodecError:
            self._container.close()
            raise DataError(
                "FFmpeg's libraries here have no encoder of H.264: install PyAV (`av`) from its "
                "own wheel."
            ) from None
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _TICK
        self._waiting: np.ndarray | None = None  # until it is known how long it is seen
        self._begin, self._lasts = 0, 1
        self._lengths: dict[int, int] = {}  # of frames that the encoder holds

    def __enter__(self) -> Mp4:
        return self

    def __exit__(self, *error: object) -> None:
        """What was not closed is no whole film."""
        with contextlib.suppress(OSError):
            self._container.close()

    def write(self, frame: np.ndarray, seconds: float) -> None:
        """Takes the next frame.

        Args:
          frame: uint8 `[H, W, 3]`, BGR.
          seconds: when it is seen, later than the one before.
        """
        begin = round(seconds / _TICK)
        if self._waiting is not None:
            begin = max(begin, self._begin + 1)
            self._encode(begin)
        self._waiting, self._begin = frame, begin

    def close(self) -> None:
        """Ends the film; its last frame is seen for as long as the one before."""
        self._encode(self._begin + self._lasts)
        self._mux(None)
        with self._kept():
            self._container.close()

    def _encode(self, end: int) -> None:
        self._lasts = end - self._begin
        picture = av.VideoFrame.from_ndarray(self._waiting, format="bgr24")
        picture.pts, picture.time_base = self._begin, _TICK
        self._lengths[self._begin] = self._lasts
        self._mux(picture)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        with self._kept():
            for packet in self._stream.encode(picture):
                packet.duration = self._lengths.pop(packet.pts)
                self._container.mux(packet)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
