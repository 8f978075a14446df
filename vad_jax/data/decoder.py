"""Decoding in a child process: a file that a person names must not bring down ours.

A child takes one video after another and answers with its frames. Its memory is limited; one that
is silent for too long is killed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad_jax.data import limits, reading
from vad_jax.data.child import Child, Send, Silent, serve
from vad_jax.data.levels import check_levels
from vad_jax.data.source import Source
from vad_jax.data.video import MAX_PIXELS, Colour, Unreadable, resized
from vad_jax.types import DataError

log = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0  # a frame of 64 megapixels takes one or two
PATIENCE_SECONDS = 600.0, 10.0  # of waiting for a whole video, and more for each megabyte of it
MEMORY_BYTES = 4 << 30  # of address space; a 4K H.264 film takes 1.2 GB
MAX_FRAMES = 10_000_000  # four days at 30 a second
_FRAME = struct.Struct("<dIIIII")  # seconds (NaN: none), H W C, source height and width
_ENDINGS = {"error": (str, type(None)), "note": (str, type(None)), "unreadable": (bool,)}
_CV_NO_MEMORY = -4  # OpenCV's code
_CALM = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space
}


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
      silence_seconds: after so long without a frame the video is given up; and after waiting for
        it ten minutes in all, and ten seconds for each megabyte of its files.
      memory_bytes: address space of the process that decodes.

    Iterating raises `Unreadable` for a video without one readable frame and for a decoder that
    dies or falls silent, DataError for a playlist or frames of two sizes.

    Attributes:
      note: after the last frame: that the film is cut off or damaged and how this shows, or None.
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
        check_levels(source.levels)
        self.source, self.note = source, None
        self._silence = silence_seconds
        wanted = {"colour": colour, "size": size}
        self._request = _request(source, memory_bytes) | wanted

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
    source: Source,
    *,
    height: int,
    width: int,
    colour: Colour,
    frames: int | None = None,
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
    return stated(path)[0]


def stated(path: Path) -> tuple[float | None, int]:
    """Frames a second that a video file states, or None, and how many frames."""
    request = _request(Source(path.stem, None, path), MEMORY_BYTES) | {"only_stated": True}
    ((_, body),) = _answers(Source(path.stem, None, path), request, SILENCE_SECONDS)
    rate, frames = json.loads(body)["stated"]
    return rate, frames


def _request(source: Source, memory_bytes: int) -> dict:
    return {
        "name": source.name,
        "images": source.images and [str(path.absolute()) for path in source.images],
        "file": source.file and str(source.file.absolute()),
        "levels": source.levels,
        "memory": memory_bytes,
        "only_stated": False,
    }


def _answers(source: Source, request: dict, silence: float) -> Iterator[tuple[bytes, bytearray]]:
    """What a child says to a request; the last answer is of kind `.` and holds no error."""
    child, number, said = _take(), 0, None
    left = _patience(source)
    try:
        child.ask(request)
        while said is None:
            try:
                since = time.monotonic()
                kind, body = child.answer(min(silence, left))
                left -= time.monotonic() - since
                if kind == b".":
                    said = _ending(body)
                elif number == MAX_FRAMES:
                    raise Silent("does not end and was given up")
                else:
                    _check(kind, body)
            except Silent as silent:
                raise Unreadable(
                    f"Video {source.name}: its decoder {silent} after {number} frames. Convert or "
                    f"replace {source.file or source.images[0].parent}."
                ) from None
            if said is None:
                number += 1
                yield kind, body
    finally:
        if said and not said["error"] and len(_idle) < (os.cpu_count() or 1):
            _idle.append(child)
        else:  # one that met a bad file is not trusted with the next
            child.end()
    if said["error"]:
        raise (Unreadable if said["unreadable"] else DataError)(said["error"])
    yield kind, body


def _patience(source: Source) -> float:
    base, each = PATIENCE_SECONDS
    files = source.images if source.images is not None else (source.file,)
    size = sum(path.stat().st_size for path in files if path.is_file())
    return base + each * size / 1e6


def _take() -> Child:
    """A child that waits for a video, or a new one."""
    while True:
        try:
            child = _idle.pop()
        except IndexError:
            return Child("vad_jax.data.decoder", most_bytes=4 * MAX_PIXELS, environment=_CALM)
        if child.ready():
            return child
        child.end()


def _check(kind: bytes, body: bytearray) -> None:
    """Raises `Silent` for an answer that is neither a frame nor a fault of one."""
    if kind == b"F" and len(body) >= _FRAME.size:
        _, height, width, channels, *_ = _FRAME.unpack_from(body)
        if height * width * channels == len(body) - _FRAME.size and channels in (1, 3):
            return
    elif kind == b"B":
        return
    raise Silent("sent what is no frame")


def _ending(body: bytearray) -> dict:
    try:
        said = json.loads(body)
        if all(isinstance(said[key], kinds) for key, kinds in _ENDINGS.items()):
            return said
    except (ValueError, KeyError, TypeError):
        pass
    raise Silent("sent what is no ending")


_idle: list[Child] = []  # children without a video; they end with this process


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _picture(body: bytearray) -> Picture:
    seconds, height, width, channels, *source = _FRAME.unpack_from(body)
    pixels = np.frombuffer(body, np.uint8, offset=_FRAME.size).reshape(height, width, channels)
    return Picture(pixels, None if np.isnan(seconds) else seconds, tuple(source))


# The child


def _answer(request: dict, send: Send) -> None:
    """Sends the frames of one video and how it ended, or what its file says of itself."""
    said = {"error": None, "unreadable": False, "note": None, "stated": None}
    try:
        limits.memory(request["memory"])
        if request["only_stated"]:
            from vad_jax.data import film  # PyAV is needed in the child alone

            said["stated"] = film.stated(request["file"])
        else:
            said["note"] = _send_all(send, request)
    except DataError as error:
        said |= {"error": str(error), "unreadable": isinstance(error, Unreadable)}
    except BrokenPipeError:
        raise
    except Exception as error:
        where = request["file"] or Path(request["images"][0]).parent
        why = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
        if isinstance(error, MemoryError) or getattr(error, "code", 0) == _CV_NO_MEMORY:
            why = f"it needs more than the {request['memory'] / 2**30:.1f} GB of memory allowed"
        said["error"] = f"Video {request['name']}: {where} cannot be decoded, {why}."
        said["unreadable"] = True
    send(b".", json.dumps(said).encode())


def _send_all(send: Send, request: dict) -> str | None:
    images, file = request["images"], request["file"]
    source = Source(
        request["name"],
        images and tuple(Path(path) for path in images),
        file and Path(file),
        request["levels"],
    )
    frames = reading.frames(source, colour=request["colour"])
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return end.value
        if isinstance(frame, DataError):
            send(b"B", str(frame).encode())
            continue
        pixels, seconds = frame
        small = np.ascontiguousarray(resized(pixels, request["size"]))
        seconds = float("nan") if seconds is None else seconds
        head = _FRAME.pack(seconds, *small.shape, *pixels.shape[:2])
        send(b"F", head, small.data)


if __name__ == "__main__":
    serve(_answer)
