"""From files to frames: the one way in which pictures and video files become bytes.

Frames are uint8 `[H, W, C]` in the order of channels asked for: `bgr` and `rgb` have three,
`grey` has one. Nothing is read of a picture before its header says that it is of bearable size.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from vad_jax.data.source import Source
from vad_jax.types import DataError

Colour = Literal["rgb", "bgr", "grey"]

MAX_PIXELS = 64_000_000
THREADS = min(4, os.cpu_count() or 1)  # of a decoder; each takes memory
# Containers that hold the number of frames; elsewhere it is guessed from duration and rate.
COUNTED = frozenset({".avi", ".mp4", ".mov", ".m4v"})


class Unreadable(DataError):
    """A video with no readable frame."""


class Format(NamedTuple):
    """A format of pictures.

    Attributes:
      header: Pillow's reader of headers; pixels are decoded by OpenCV.
      complete: (opened, bytes, position behind the header) → whether the last pixel is there, as
        far as this shows without decoding; OpenCV fills up what is missing.
    """

    header: Callable[[io.BytesIO], ImageFile.ImageFile]
    complete: Callable[[ImageFile.ImageFile, bytes, int], bool]


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
    height, width = _checked(path, data)
    flag = cv2.IMREAD_GRAYSCALE if colour == "grey" else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        raise DataError(
            f"{path} ({len(data)} bytes) says {height}x{width} pixels but cannot be decoded."
        )
    return resized(_ordered(pixels, colour), size)


def size_of(path: str | Path) -> tuple[int, int]:
    """Height and width that a picture file's header says. Raises DataError as `read_image`."""
    path = Path(path)
    return _checked(path, path.read_bytes())


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


def _checked(path: Path, data: bytes) -> tuple[int, int]:
    """Height and width of a picture that is small enough and whole."""
    what = f"{path} ({len(data)} bytes)"
    if not data:
        raise DataError(f"{what} is empty.")
    kind = next((FORMATS[magic] for magic in FORMATS if data.startswith(magic)), None)
    if kind is None:
        raise DataError(f"{what} is no picture: neither JPEG, PNG, BMP nor TIFF.")
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():  # of dates, places and the like: nothing that is shown
            warnings.simplefilter("ignore")
            picture = kind.header(file)
            complete = kind.complete(picture, data, file.tell())
    except (SyntaxError, OSError, LookupError, ValueError, TypeError, UserWarning) as error:
        raise DataError(f"{what} is cut off or damaged and cannot be decoded ({error}).") from None
    width, height = picture.size
    _check_pixels(path, height, width)
    if not complete:
        raise DataError(f"{what} is cut off: its end is missing.")
    return height, width


def _check_pixels(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path} says {height}x{width} pixels, more than {MAX_PIXELS // 10**6} megapixels. "
            "Make it smaller before it is read here."
        )


def _jpeg_complete(picture, data: bytes, position: int) -> bool:
    # An end before the scan is a thumbnail's. From the back: the whole is not searched.
    return data.rfind(b"\xff\xd9", position) >= 0


def _png_complete(picture, data: bytes, position: int) -> bool:
    return data.rfind(b"IEND\xaeB`\x82") >= 0


def _bmp_complete(picture, data: bytes, position: int) -> bool:
    ((codec, _, start, about),) = picture.tile
    stride = about[1] if codec == "raw" else 0  # packed: its length shows in decoding alone
    return start + stride * picture.height <= len(data)


def _tiff(file: io.BytesIO) -> ImageFile.ImageFile:
    """A TIFF's header. Pillow only warns of values that lie beyond the file's end."""
    warnings.filterwarnings("error", "Tag (offset|data)|Possibly corrupt|Corrupt|Truncated")
    return TiffImagePlugin.TiffImageFile(file)


def _tiff_complete(picture, data: bytes, position: int) -> bool:
    """Whether all strips or tiles lie within the file."""
    tags = picture.tag_v2
    starts = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags.get(TiffImagePlugin.TILEOFFSETS, ())
    counts = tags.get(TiffImagePlugin.STRIPBYTECOUNTS) or tags.get(
        TiffImagePlugin.TILEBYTECOUNTS, ()
    )
    return all(s + n <= len(data) for s, n in zip(starts, counts, strict=False))


_TIFF = Format(_tiff, _tiff_complete)
FORMATS = {  # by a file's first bytes, never by its suffix
    b"\xff\xd8": Format(JpegImagePlugin.JpegImageFile, _jpeg_complete),
    b"\x89PNG\r\n\x1a\n": Format(PngImagePlugin.PngImageFile, _png_complete),
    b"BM": Format(BmpImagePlugin.BmpImageFile, _bmp_complete),
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
}
