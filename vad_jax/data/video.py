"""From files to frames: the one way in which pictures and video files become bytes.

Frames are uint8 `[H, W, C]` in the order of channels asked for: `bgr` and `rgb` have three,
`grey` has one. Nothing is read of a picture before its header says that it is of bearable size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from vad_jax.data.source import Source
from vad_jax.types import DataError

Colour = Literal["rgb", "bgr", "grey"]

MAX_PIXELS = 64_000_000
THREADS = min(4, os.cpu_count() or 1)  # of a decoder; each takes memory
TIFF_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of a value, else 1
# Containers that hold the number of frames; elsewhere it is guessed from duration and rate.
COUNTED = frozenset({".avi", ".mp4", ".mov", ".m4v"})


class Unreadable(DataError):
    """A video with no readable frame."""


class Header(NamedTuple):
    """What a picture file says of itself: its size, and whether its last byte is there."""

    height: int
    width: int
    complete: bool


def read_image(
    path: str | Path, *, size: tuple[int, int] | None = None, colour: Colour = "bgr"
) -> np.ndarray:
    """One picture file as uint8 `[H, W, C]`.

    Args:
      path: a JPEG, PNG, BMP or TIFF file, known by its content and not by its suffix.
      size: (height, width) to resize to, bilinear, or None for the picture's own.
      colour: order of the channels.

    Raises:
      DataError: an empty, cut, foreign or too large file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    header = _checked(path, data)
    flag = cv2.IMREAD_GRAYSCALE if colour == "grey" else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise DataError(
            f"{path} ({len(data)} bytes) says {header.height}x{header.width} pixels "
            "but cannot be decoded."
        )
    return resized(_ordered(pixels, colour), size)


def size_of(path: str | Path) -> tuple[int, int]:
    """Height and width that a picture file's header says. Raises DataError as `read_image`."""
    path = Path(path)
    return _checked(path, path.read_bytes())[:2]


def stated(path: str | Path) -> tuple[float | None, int]:
    """What a video file says of itself: frames a second, or None, and the number of frames."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    rate, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return (rate if rate > 0 else None), max(int(frames), 0)


def resized(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A frame `[H, W, C]` at (height, width), bilinear; unchanged where it has that size."""
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    out = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return out if out.ndim == 3 else out[..., None]


def pictures(
    source: Source, *, colour: Colour
) -> Generator[tuple[np.ndarray, float | None] | DataError, None, str | None]:
    """The frames of a video at their own size, and in the place of a bad one its error.

    In this process: `data/decoder.py` calls it in one that may die.

    Yields:
      A frame and its time in seconds, None where the source has none; or a DataError.

    Returns:
      What is amiss with the video's length, or None.

    Raises:
      Unreadable: a video file that cannot be opened or holds no frame.
      DataError: a playlist, or frames of two sizes.
    """
    size = None
    frames = _images(source, colour) if source.images is not None else _file(source, colour)
    position = 0
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return end.value
        if not isinstance(frame, DataError):
            size = size or frame[0].shape[:2]
            if frame[0].shape[:2] != size:
                raise DataError(
                    f"Video {source.name}, frame {position}: {_by(frame[0].shape)} pixels, the "
                    f"frames before {_by(size)}. All frames of a video must have one size."
                )
        yield frame
        position += 1


def _images(source: Source, colour: Colour):
    for position, path in enumerate(source.images):
        try:
            yield read_image(path, colour=colour), None
        except DataError as error:
            yield DataError(f"Video {source.name}, frame {position}: {error}")


def _file(source: Source, colour: Colour):
    path = source.file
    if not path.is_file():
        raise Unreadable(f"Video {source.name}: {path} is no file.")
    with_bytes = f"Video {source.name}: {path} ({path.stat().st_size} bytes)"
    with path.open("rb") as file:  # a playlist would open other files
        if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"#EXTM3U", b"ffconcat")):
            raise DataError(f"{with_bytes} is a playlist. Give the videos themselves.")
    try:
        str(path).encode()
    except UnicodeEncodeError:  # OpenCV would not survive it
        raise Unreadable(f"{str(path)!a}: rename the file, its name is not UTF-8.") from None
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, THREADS])
    try:
        stated = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        _check_pixels(path, *(int(capture.get(what)) for what in stated))
        position, last = 0, -1.0
        while (answer := capture.read())[0]:
            pixels = answer[1]
            if colour == "grey":
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # A frame without a time of its own is said to be at 0.
            yield _ordered(pixels, colour), seconds if seconds > last else None
            position, last = position + 1, max(last, seconds)
        if not position:
            raise Unreadable(f"{with_bytes} holds no readable frame. Replace or convert it.")
        counted = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if counted != position and path.suffix.lower() in COUNTED:
            cut = " The file is cut off or damaged." if position < counted else ""
            return (
                f"Video {source.name}: {position} frames decoded, its container says {counted} "
                f"({path}). The decoder counts.{cut}"
            )
    finally:
        capture.release()


def _ordered(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    if colour == "grey":
        return pixels[..., None]
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if colour == "rgb" else pixels


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def _checked(path: Path, data: bytes) -> Header:
    what = f"{path} ({len(data)} bytes)"
    if not data:
        raise DataError(f"{what} is empty.")
    try:
        header = _header(data)
    except (struct.error, LookupError, ValueError):
        raise DataError(f"{what} is cut off within its header.") from None
    if header is None:
        raise DataError(f"{what} is no picture: neither JPEG, PNG, BMP nor TIFF.")
    _check_pixels(path, header.height, header.width)
    if not header.complete:
        raise DataError(f"{what} is cut off: its end is missing.")
    return header


def _check_pixels(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path} says {height}x{width} pixels, more than {MAX_PIXELS // 10**6} megapixels. "
            "Make it smaller before it is read here."
        )


def _header(data: bytes) -> Header | None:
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, 16)
        return Header(height, width, b"IEND\xaeB`\x82" in data)
    if data.startswith(b"BM"):
        start, _, width, height, _, bits, packed = struct.unpack_from("<IIiiHHI", data, 10)
        rows = abs(height) * (-(-width * bits // 32) * 4)
        return Header(abs(height), width, packed != 0 or len(data) >= start + rows)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(data, "<" if data[:2] == b"II" else ">")
    return None


def _jpeg(data: bytes) -> Header:
    """Walks the segments to the scan; only after it is FFD9 an end and not a thumbnail's."""
    at, size = 2, None
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker >> 8 != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFFFF:  # fill byte
            at += 1
            continue
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            size = struct.unpack_from(">HH", data, at + 5)
        at += 2 + length
        if marker == 0xFFDA:
            return Header(*size, b"\xff\xd9" in data[at:]) if size else Header(0, 0, False)


def _tiff(data: bytes, order: str) -> Header:
    """Size of the first page, and whether all its strips or tiles lie within the file."""
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        place, size = entry + 8, count * TIFF_BYTES.get(kind, 1)
        if size > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        if place + size > len(data):
            raise ValueError("a value beyond the end")
        if tag in (256, 257, 273, 279, 324, 325):
            letter = {3: "H", 4: "I"}[kind]
            tags[tag] = struct.unpack_from(f"{order}{count}{letter}", data, place)
    starts, lengths = tags.get(273, tags.get(324, ())), tags.get(279, tags.get(325, ()))
    complete = all(s + n <= len(data) for s, n in zip(starts, lengths, strict=False))
    return Header(tags[257][0], tags[256][0], complete)
