"""Decoding in a child process: a file that a person names must not bring down ours.

A child takes one video after another from its standard input, one line of JSON each, and answers
with frames on its standard output: a fixed header and bytes, nothing that has to be unpickled.
Its memory is limited; one that is silent for too long is killed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad_jax.data import video
from vad_jax.data.folder import Source
from vad_jax.data.video import MAX_PIXELS, Colour, Unreadable, pictures, resized
from vad_jax.types import DataError

log = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0  # a frame of 64 megapixels takes one or two
MEMORY_BYTES = 4 << 30  # of address space; a 4K H.264 film takes 1.2 GB
_HEADER = struct.Struct("<cq")  # kind, bytes that follow
_FRAME = struct.Struct("<dIIIII")  # seconds (NaN: none), H W C, source height and width
_PIPE_BYTES = 1 << 20
# A playlist, a list of files or an address inside a file opens nothing else.
_ONLY_FILES = "protocol_whitelist;file|format_whitelist;" + ",".join(
    ("mov", "matroska", "webm", "avi", "mpeg", "mpegvideo", "mpegts", "flv", "asf", "h264", "hevc")
)


class Picture(NamedTuple):
    """One decoded frame.

    Attributes:
      pixels: uint8 `[H, W, C]`.
      seconds: its time in the video by the container, or None.
      source_size: (height, width) before resizing.
    """

    pixels: np.ndarray
    seconds: float | None
    source_size: tuple[int, int]


class Decoded:
    """The frames of a video in order, each a `Picture`, or a DataError in the place of a bad one.

    Args:
      source: the video.
      colour: order of the channels.
      size: (height, width) to resize to, or None for the video's own.
      silence_seconds: after so long without a frame the video is given up.
      memory_bytes: address space of the process that decodes.

    Iterating raises `Unreadable` for a video without one readable frame, DataError for a playlist,
    frames of two sizes, or a decoder that dies or falls silent.

    Attributes:
      note: after the last frame: what is amiss with the video's length, or None.
    """

    def __init__(
        self,
        source: Source,
        *,
        colour: Colour,
        size: tuple[int, int] | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ):
        self.source, self.note = source, None
        self._silence = silence_seconds
        self._request = _request(source, memory_bytes) | {"colour": colour, "size": size}

    def __iter__(self) -> Iterator[Picture | DataError]:
        for kind, body in _answers(self.source, self._request, self._silence):
            if kind == b"F":
                yield _picture(body)
            elif kind == b"B":
                yield DataError(body.decode())
            else:
                self.note = json.loads(body)["note"]
                if self.note:
                    log.warning("%s", self.note)


def iterate(
    source: Source, *, height: int, width: int, colour: Colour, frames: int | None = None
) -> Iterator[np.ndarray]:
    """The frames of a video in order, uint8 `[height, width, C]`; the first `frames` of them.

    Raises:
      DataError: a frame or a video that cannot be read, with its position, path and bytes.
    """
    for number, picture in enumerate(Decoded(source, colour=colour, size=(height, width))):
        if number == frames:
            return
        if isinstance(picture, DataError):
            raise picture
        yield picture.pixels


def frame_rate(path: Path) -> float | None:
    """Frames a second that a video file states, or None."""
    source = Source(path.stem, None, path)
    request = _request(source, MEMORY_BYTES) | {"only_rate": True}
    ((_, body),) = _answers(source, request, SILENCE_SECONDS)
    return json.loads(body)["rate"]


def _request(source: Source, memory_bytes: int) -> dict:
    return {
        "name": source.name,
        "images": source.images and [str(path.absolute()) for path in source.images],
        "file": source.file and str(source.file.absolute()),
        "memory": memory_bytes,
        "only_rate": False,
    }


def _answers(source: Source, request: dict, silence: float) -> Iterator[tuple[bytes, bytearray]]:
    """What a child says to a request; the last answer is of kind `.` and holds no error."""
    try:
        child = _idle.pop()
    except IndexError:
        child = _Child()
    number, done = 0, False
    try:
        child.ask(request)
        while True:
            try:
                kind, body = child.answer(silence)
            except _Silent as silent:
                raise DataError(
                    f"Video {source.name}: its decoder {silent} after {number} frames. Convert or "
                    f"replace {source.file or source.images[0].parent}."
                ) from None
            if kind == b".":
                done = True
                break
            number += 1
            yield kind, body
    finally:
        if done and len(_idle) < (os.cpu_count() or 1):
            _idle.append(child)
        else:
            child.end()
    said = json.loads(body)
    if said["error"]:
        raise (Unreadable if said["unreadable"] else DataError)(said["error"])
    yield kind, body


class _Silent(Exception):
    """A child that says no more, and why."""


_idle: list[_Child] = []  # children without a video; they end with this process


class _Child:
    def __init__(self):
        environment = {
            "OPENCV_FFMPEG_CAPTURE_OPTIONS": _ONLY_FILES,
            "OPENCV_FFMPEG_LOGLEVEL": "-8",
            "OPENCV_LOG_LEVEL": "SILENT",
            "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vad_jax.data.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self._out = self._process.stdout.fileno()
        _widen(self._out)

    def ask(self, request: dict) -> None:
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its silence says more

    def answer(self, seconds: float) -> tuple[bytes, memoryview]:
        until = time.monotonic() + seconds
        kind, size = _HEADER.unpack(self._read(_HEADER.size, until, seconds))
        if not 0 <= size <= 4 * MAX_PIXELS:
            raise _Silent(f"sent {size} bytes, which is no frame,")
        return kind, self._read(size, until, seconds)

    def _read(self, size: int, until: float, seconds: float) -> bytes:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise _Silent(f"was silent for {seconds:g} seconds")
            number = os.readv(self._out, [rest])
            if not number:
                code = self._process.wait()
                raise _Silent(f"died ({f'signal {-code}' if code < 0 else f'exit {code}'})")
            rest = rest[number:]
        return buffer

    def end(self) -> None:
        self._process.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _widen(pipe: int) -> None:
    """Lets a pipe hold a frame or more, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):
        pass


def _picture(body: bytearray) -> Picture:
    seconds, height, width, channels, *source = _FRAME.unpack_from(body)
    pixels = np.frombuffer(body, np.uint8, offset=_FRAME.size).reshape(height, width, channels)
    return Picture(pixels, None if np.isnan(seconds) else seconds, tuple(source))


# The child


def _serve() -> None:
    """Answers every line of standard input until it ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not come between the frames
    _widen(out.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        _limit_memory(request["memory"])
        said = {"error": None, "unreadable": False, "note": None, "rate": None}
        try:
            if request["only_rate"]:
                said["rate"] = video.frame_rate(request["file"])
            else:
                said["note"] = _send_all(out, request)
        except DataError as error:
            said |= {"error": str(error), "unreadable": isinstance(error, Unreadable)}
        except BrokenPipeError:
            return
        except Exception as error:  # OpenCV's, and memory that was refused
            where = request["file"] or Path(request["images"][0]).parent
            said["error"] = (
                f"Video {request['name']}: {where} cannot be decoded within "
                f"{request['memory'] / 2**30:.1f} GB of memory "
                f"({type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]})."
            )
        _send(out, b".", json.dumps(said).encode())


def _send_all(out, request: dict) -> str | None:
    images, file = request["images"], request["file"]
    source = Source(
        request["name"],
        images and tuple(Path(path) for path in images),
        file and Path(file),
    )
    frames = pictures(source, colour=request["colour"])
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return end.value
        if isinstance(frame, DataError):
            _send(out, b"B", str(frame).encode())
            continue
        pixels, seconds = frame
        small = np.ascontiguousarray(resized(pixels, request["size"]))
        seconds = float("nan") if seconds is None else seconds
        head = _FRAME.pack(seconds, *small.shape, *pixels.shape[:2])
        _send(out, b"F", head, small.data)


def _send(out, kind: bytes, *parts) -> None:
    parts = [memoryview(part).cast("B") for part in parts]
    for part in (_HEADER.pack(kind, sum(map(len, parts))), *parts):
        rest = memoryview(part)
        while rest:
            rest = rest[out.write(rest) :]


def _limit_memory(size: int) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size, hard))


if __name__ == "__main__":
    _serve()
