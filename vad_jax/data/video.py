"""From picture files to bytes, and what pictures and films have in common.

Frames are uint8 `[H, W, C]` in the order of channels asked for: `bgr` and `rgb` have three,
`grey` has one. Nothing is read of a picture before its header says that it is of bearable size.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from vad_jax.data.levels import Levels, in_bytes
from vad_jax.disguise import HEAD, disguised
from vad_jax.types import DataError

Colour = Literal["rgb", "bgr", "grey"]

MAX_PIXELS = 64_000_000


class Unreadable(DataError):
    """A video with no readable frame."""


class Format(NamedTuple):
    """A format of pictures.

    Attributes:
      header: Pillow's reader of headers; pixels are decoded by OpenCV.
      complete: (opened, bytes, position behind the header) → whether the last pixel is there, as
        far as this shows without decoding; OpenCV fills up what is missing.
      deep: (opened, bytes) → whether its values have more than 8 bits.
    """

    header: Callable[[io.BytesIO], Any]
    complete: Callable[[Any, bytes, int], bool]
    deep: Callable[[Any, bytes], bool] = lambda picture, data: False


def read_image(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    colour: Colour = "bgr",
    levels: Levels | None = None,
) -> np.ndarray:
    """One picture file as uint8 `[H, W, C]`.

    Args:
      path: a JPEG, PNG, BMP or TIFF file, known by its content and not by its suffix.
      size: (height, width) to resize to, bilinear, or None for the picture's own.
      colour: order of the channels.
      levels: of a file with more than 8 bits a value, those that become 0 and 255.

    Raises:
      DataError: an empty, cut, foreign or too large file; values or channels that would be lost.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    height, width, deep = _checked(path, data)
    flag = cv2.IMREAD_GRAYSCALE if colour == "grey" else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED if deep else flag)
    if pixels is None:
        raise DataError(
            f"{path} ({len(data)} bytes) says {height}x{width} pixels but cannot be decoded."
        )
    if deep:
        try:
            pixels = in_bytes(pixels, levels)
        except DataError as error:
            raise DataError(f"{path} {error}.") from None
        pixels = _channels(pixels, 1 if colour == "grey" else 3)
    return resized(ordered(pixels, colour), size)


def resized(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A frame `[H, W, C]` at (height, width), bilinear; unchanged where it has that size."""
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    out = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return out if out.ndim == 3 else out[..., None]


def ordered(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """Pixels as OpenCV has them, `[H, W]` grey or `[H, W, 3]` BGR, as a frame `[H, W, C]`."""
    if colour == "grey":
        return pixels[..., None]
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if colour == "rgb" else pixels


def check_pixels(path: Path, height: int, width: int) -> None:
    """Raises DataError where a file's header says that its frames are beyond bearing."""
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path} says {height}x{width} pixels, more than {MAX_PIXELS // 10**6} megapixels. "
            "Make it smaller before it is read here."
        )


def _channels(pixels: np.ndarray, number: int) -> np.ndarray:
    """Pixels of one, three or four channels as `[H, W]` or `[H, W, 3]`; transparency goes."""
    if pixels.ndim == 3:
        pixels = pixels[..., :3]
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if number == 1 else pixels
    return pixels if number == 1 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)


def _checked(path: Path, data: bytes) -> tuple[int, int, bool]:
    """Height and width of a picture that is small enough and whole, and whether it is deep."""
    what = f"{path} ({len(data)} bytes)"
    if not data:
        raise DataError(f"{what} is empty.")
    kind = next((FORMATS[magic] for magic in FORMATS if data.startswith(magic)), None)
    if kind is None:
        if hidden := disguised(data[:HEAD]):
            raise DataError(f"{what} is {hidden}.")
        raise DataError(f"{what} is no picture: neither JPEG, PNG, BMP nor TIFF.")
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():  # of dates, places and the like: nothing that is shown
            warnings.simplefilter("ignore")
            picture = kind.header(file)
            complete = kind.complete(picture, data, file.tell())
    except (SyntaxError, OSError, LookupError, ValueError, TypeError, UserWarning) as error:
        raise DataError(f"{what} is cut off or damaged and cannot be decoded ({error}).") from None
    except _Channels as error:
        raise DataError(
            f"{path} has {error} channels: a frame has one (grey) or three, and transparency. "
            "Choose among them and write pictures of these."
        ) from None
    width, height = picture.size
    check_pixels(path, height, width)
    if not complete:
        raise DataError(f"{what} is cut off: its end is missing.")
    return height, width, kind.deep(picture, data)


def _jpeg_complete(picture, data: bytes, position: int) -> bool:
    # An end before the scan is a thumbnail's. From the back: the whole is not searched.
    return data.rfind(b"\xff\xd9", position) >= 0


def _png_complete(picture, data: bytes, position: int) -> bool:
    return data.rfind(b"IEND\xaeB`\x82") >= 0


def _png_deep(picture, data: bytes) -> bool:
    return data[24] > 8  # of the first chunk, IHDR


def _bmp_complete(picture, data: bytes, position: int) -> bool:
    ((codec, _, start, about),) = picture.tile
    stride = about[1] if codec == "raw" else 0  # packed: its length shows in decoding alone
    return start + stride * picture.height <= len(data)


class _Channels(Exception):
    """More channels than a frame has: their number."""


class _Tiff:
    """A TIFF's header: Pillow's reader of tags, without its list of pixels that it decodes.

    Attributes:
      tags: by number.
      size: (width, height).
    """

    def __init__(self, file: io.BytesIO):
        # Pillow only warns of values that lie beyond the file's end.
        warnings.filterwarnings("error", "Tag (offset|data)|Possibly corrupt|Corrupt|Truncated")
        self.tags = tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        self.size = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
        samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
        colours = {0: 1, 1: 1, 2: 3}  # grey, grey, RGB; by photometric interpretation
        beside = samples - colours.get(
            tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION), samples
        )
        if beside > 1 or (beside and tags.get(TiffImagePlugin.EXTRASAMPLES) not in ((1,), (2,))):
            raise _Channels(samples)


def _tiff_complete(picture, data: bytes, position: int) -> bool:
    """Whether all strips or tiles lie within the file."""
    tags = picture.tags
    starts = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags.get(TiffImagePlugin.TILEOFFSETS, ())
    counts = tags.get(TiffImagePlugin.STRIPBYTECOUNTS) or tags.get(
        TiffImagePlugin.TILEBYTECOUNTS, ()
    )
    return all(s + n <= len(data) for s, n in zip(starts, counts, strict=False))


def _tiff_deep(picture, data: bytes) -> bool:
    return max(picture.tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8


_TIFF = Format(_Tiff, _tiff_complete, _tiff_deep)
FORMATS = {  # by a file's first bytes, never by its suffix
    b"\xff\xd8": Format(JpegImagePlugin.JpegImageFile, _jpeg_complete),
    b"\x89PNG\r\n\x1a\n": Format(PngImagePlugin.PngImageFile, _png_complete, _png_deep),
    b"BM": Format(BmpImagePlugin.BmpImageFile, _bmp_complete),
    b"II*\0": _TIFF,
    b"MM\0*": _TIFF,
}
