"""Films: frames as they are coded, both fields of interlaced ones woven, each at its own time.

FFmpeg's libraries decode (PyAV), of the best stream of pictures that a file has. What they complain
of goes to standard error: that of a child of ours (`data/decoder.py`), who reads it there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path

import av
import av.logging
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, Interpolation

from vad_jax.data.lengths import Lengths
from vad_jax.data.levels import in_bytes
from vad_jax.data.source import Source
from vad_jax.data.video import Colour, Unreadable, check_pixels, ordered
from vad_jax.types import DataError

THREADS = min(4, os.cpu_count() or 1)  # of a decoder; each takes memory
FORMATS = (
    *("mov", "matroska", "webm", "avi", "mpeg", "mpegvideo", "mpegts", "flv", "asf", "ogg"),
    *("mxf", "dv", "h264", "hevc", "m4v", "ivf"),
)
# A playlist, a list of files or an address inside a file opens nothing else.
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
MOST_COMPLAINTS = 1 << 16  # bytes of them, of one film
_CONVERT = "Convert it: ffmpeg -i {} -c:v libx264 converted.mp4"
_NO_MEMORY = "get_buffer() failed", "Cannot allocate memory", "Could not allocate memory"
_WHERE = re.compile(r"^\[(\S+) @ 0x[0-9a-f]+\] ")  # of a complaint: who, and a place in memory


class _Damaged(Exception):
    """Threads would make frames beyond this point depend on their number."""


def stated(path: Path) -> tuple[float | None, int]:
    """What a film says of itself: frames a second, or None, and about how many frames."""
    try:
        with av.open(str(path), options=_OPTIONS, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None or _without_times(container):
                return None, 0
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            lasts = (container.duration or 0) / av.time_base
            return rate or None, stream.frames or round(lasts * rate)
    except av.FFmpegError:
        return None, 0


def film_frames(
    source: Source, colour: Colour
) -> Generator[tuple[np.ndarray, float | None], None, str | None]:
    """The frames of a film, as `reading.frames` gives them.

    Of a whole film threads change nothing. Where one is damaged its frames are decoded once more
    up to there and then one at a time: what a decoder makes of damage would depend on the threads.
    """
    _check_file(source)
    given = 0
    for threads in (THREADS, 1):
        lengths = Lengths()
        try:
            for frame, seconds, fault in islice(_decoded(source, threads, lengths), given, None):
                if fault:
                    yield DataError(f"Video {source.name}, frame {given}: damaged ({fault}).")
                else:
                    yield _pixels(frame, colour, source), seconds
                given += 1
            break
        except _Damaged:
            continue
    if not given:
        raise Unreadable(
            f"{_with_bytes(source)} holds no readable frame"
            f"{lengths.complaint and f' ({lengths.complaint})'}. Replace or convert it."
        )
    return lengths.verdict(f"Video {source.name}", source.file)


def _decoded(
    source: Source, threads: int, lengths: Lengths
) -> Iterator[tuple[av.VideoFrame, float | None, str | None]]:
    """Frames, their times, and of a damaged one how this shows.

    What the file says beside them is noted in `lengths`.
    """
    complaints = _Complaints()

    def listen(said: str | None = None) -> str | None:
        said = said or complaints.next()
        if said and said.endswith(_NO_MEMORY):
            raise MemoryError(said)
        if said and threads > 1:
            raise _Damaged
        lengths.complain(said)
        return said

    container, stream = _opened(source, complaints)
    with container:
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        lengths.begin(container, stream, without_times=_without_times(container))
        listen()
        for packet in _packets(container, listen):
            if packet is not None:
                lengths.packet(packet)
                if packet.stream.index != stream.index:
                    continue
            try:
                frames, trouble = stream.decode(packet), None
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                frames, trouble = [], f"{stream.codec_context.name}: {error.strerror}"
            # Complaints are of the packet: the frame's, where a decoder holds none back. What it
            # could not fill of such a frame may be memory that was never written.
            said = listen(trouble)
            its_own = not stream.codec_context.has_b_frames
            for frame in frames:
                fault = said if its_own else None
                if frame.is_corrupt:
                    fault = listen(said or f"{stream.codec_context.name}: parts are missing")
                yield frame, lengths.frame(frame), fault


def _packets(container, listen: Callable[[str], None]) -> Iterator[av.Packet | None]:
    """The packets of all streams, the last of each empty; None ends what cannot be read on."""
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            listen(f"{container.format.name}: {error.strerror}")
            packet = None
        yield packet
        if packet is None:
            return


def _opened(source: Source, complaints: _Complaints):
    """A container and its best stream of pictures."""
    path = source.file
    try:
        container = av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        said = complaints.next() or error.strerror
        raise Unreadable(
            f"{_with_bytes(source)} holds no readable frame ({said}). Replace or convert it."
        ) from None
    try:
        stream = container.streams.best("video")
        if stream is None:
            raise Unreadable(
                f"{_with_bytes(source)} holds no readable frame (no stream of pictures). Replace "
                "or convert it."
            )
        if stream.codec_context is None:
            raise Unreadable(
                f"{_with_bytes(source)} is coded as {_codec(container, stream)}, for which there "
                f"is no decoder here. {_CONVERT.format(path.name)}"
            )
        check_pixels(path, stream.codec_context.height, stream.codec_context.width)
    except BaseException:
        container.close()
        raise
    return container, stream


def _codec(container, stream) -> str:
    """The name of a codec that has no decoder: only FFmpeg's own summary of the file knows it."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    summary = container.dumps_format()
    av.logging.set_level(level)
    named = re.search(rf"Stream #0:{stream.index}\b.*?: Video: ([^\s,]+)", summary)
    return named[1] if named else "something unknown"


def _without_times(container) -> bool:
    """Whether the file is a bare stream of frames: what FFmpeg says of their times is made up."""
    return bool(container.format.flags & av.format.Flags.no_timestamps.value)


def _pixels(frame: av.VideoFrame, colour: Colour, source: Source) -> np.ndarray:
    if frame.format.name.startswith("gray") and frame.format.components[0].bits > 8:
        try:
            pixels = in_bytes(_deep(frame), source.levels)
        except DataError as error:
            raise DataError(f"{_with_bytes(source)} {error}.") from None
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    else:
        pixels = frame.to_ndarray(
            format="bgr24",
            interpolation=Interpolation.BICUBIC,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
    if matrix := frame.side_data.get(Type.DISPLAYMATRIX):
        pixels = _turned(pixels, np.frombuffer(bytes(matrix), np.int32))
    if colour == "grey":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return ordered(pixels, colour)


def _deep(frame: av.VideoFrame) -> np.ndarray:
    """The values of a grey frame of more than 8 bits, uint16 or float32 `[H, W]`."""
    (plane,) = frame.planes
    kind = "f4" if "f32" in frame.format.name else "u2"
    values = np.frombuffer(plane, (">" if frame.format.is_big_endian else "<") + kind)
    return values.reshape(frame.height, -1)[:, : frame.width].astype(kind)


def _turned(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A frame as a player shows it: quarter turns and mirrors; other angles are left as coded.

    Args:
      pixels: `[H, W, 3]`.
      matrix: int32 `[9]`, from coded to shown places, 1 is 65536.
    """
    a, b, c, d = (int(np.sign(np.round(matrix[at] / 65536))) for at in (0, 1, 3, 4))
    if b and c and not (a or d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    elif not (a and d):
        return pixels
    return np.ascontiguousarray(pixels[:: d or 1, :: a or 1])


def _check_file(source: Source) -> None:
    path = source.file
    if not path.is_file():
        raise Unreadable(f"Video {source.name}: {path} is no file.")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Unreadable(f"{str(path)!a}: rename the file, its name is not UTF-8.") from None
    with path.open("rb") as file:  # a playlist would open other files
        if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"#EXTM3U", b"ffconcat")):
            raise DataError(f"{_with_bytes(source)} is a playlist. Give the videos themselves.")


def _with_bytes(source: Source) -> str:
    return f"Video {source.name}: {source.file} ({source.file.stat().st_size} bytes)"


class _Complaints:
    """What FFmpeg writes to standard error about one film, errors alone.

    PyAV can hand such lines to Python, but then a thread of a decoder waits for the interpreter
    while the interpreter waits for it.
    """

    def __init__(self) -> None:
        av.logging.restore_default_callback()
        av.logging.set_libav_level(av.logging.ERROR)
        self._kept = stat.S_ISREG(os.fstat(2).st_mode)  # a terminal or pipe keeps nothing
        self._begin = self._seen = os.fstat(2).st_size

    def next(self) -> str | None:
        """The first of the lines since the last call, or None."""
        size = os.fstat(2).st_size
        if not self._kept or size <= self._seen:
            return None
        lines = os.pread(2, 4000, self._seen).decode(errors="replace").splitlines()
        self._seen = size
        if size - self._begin > MOST_COMPLAINTS:
            av.logging.set_libav_level(av.logging.PANIC)
        first = next(filter(_WHERE.match, lines), None)
        return first and _WHERE.sub(r"\1: ", first).strip()
