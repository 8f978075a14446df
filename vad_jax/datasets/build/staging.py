"""Videos as encoded pictures in a staging folder: what a built set is copied from.

One file a video, a plain zip of its pictures, written whole and renamed: work that was interrupted
goes on there. Letters: F frames of a video, H W of a raw frame.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from vad_jax import messages
from vad_jax.data.decoder import Decoded, Picture, frame_rate
from vad_jax.data.source import Source
from vad_jax.data.video import Unreadable
from vad_jax.types import DataError

log = logging.getLogger(__name__)

JPEG_QUALITY = 95
FORMAT = 2  # of a staged file; part of its name
PART = ".part-"  # begins the names of folders that hold half a file
THREADS = 4  # each waits for a decoder of its own
REMEDY = "Replace the file, or leave such frames out with on_bad_frame=skip."


@dataclass(frozen=True)
class Encoded:
    """A video in the staging folder.

    Attributes:
      source: the raw video.
      path: of the zip; its members are the pictures, named by their position.
      frames: F, those included that could not be read.
      broken: positions of those, which have no picture.
      size: (H, W) of the raw frames.
      fps: frames a second, 0 where unknown.
    """

    source: Source
    path: Path
    frames: int
    broken: tuple[int, ...]
    size: tuple[int, int]
    fps: float

    @property
    def name(self) -> str:
        """The video's name."""
        return self.source.name

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The longest spans of pictures without a gap, start and stop."""
        edges = [-1, *self.broken, self.frames]
        return [(a + 1, b) for a, b in pairwise(edges) if b - a > 1]

    def pictures(self, spans: Iterable[tuple[int, int]]) -> Iterator[list[bytes]]:
        """The pictures of each span of frames, start and stop."""
        with zipfile.ZipFile(self.path) as file:
            for start, stop in spans:
                yield [file.read(_member(position)) for position in range(start, stop)]


def stage(
    sources: Sequence[Source],
    folder: Path,
    *,
    size: tuple[int, int] | None,
    lossless: bool = False,
    fps: float | None = None,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> list[Encoded]:
    """Encodes every frame of some videos into a staging folder, or finds there what is done.

    The bytes of a JPEG file are kept unless it is resized. Frames of a video file become JPEG of
    quality 95. All others become PNG, grey where all channels are equal.

    Args:
      sources: the videos; the result keeps their order.
      folder: for the staged files; one counts as long as the raw files' sizes and times are the
        same.
      size: (height, width) to resize to, or None for the raw size.
      lossless: whether frames of video files become PNG, too.
      fps: frames a second where all videos have one rate; else the files' own.
      on_bad_frame: `error`, or `skip` to name and leave out the frames that cannot be read.
      progress: whether a bar is shown.

    Raises:
      DataError: a frame that cannot be read, unless such are skipped; a video that cannot be read,
        two sizes of frames, or no room.
    """
    strict = on_bad_frame == "error"

    def one(source: Source) -> Encoded:
        path = folder / f"{_key(source, size, lossless)}.zip"
        done = _open(source, path, strict=strict)
        if done is None:
            try:
                _write(source, path, size=size, lossless=lossless, fps=fps, strict=strict)
            except _Full as full:
                rest = [
                    s for s in sources if not (folder / f"{_key(s, size, lossless)}.zip").exists()
                ]
                raise _no_room_for(source, rest, folder, full) from None
            done = _open(source, path, strict=strict)
        return done

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        try:
            answers = pool.map(one, sources)
            hidden = {} if progress else {"disable": True}
            bar = messages.progress(
                answers, total=len(sources), desc="encoding", unit="video", **hidden
            )
            videos = list(_of_one_size(bar))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for video in videos:
        if video.broken:
            log.warning(
                "Video %s: %d of %d frames cannot be read and are left out: %s.",
                video.name, len(video.broken), video.frames, ", ".join(map(str, video.broken)),
            )  # fmt: skip
    return videos


def check_room(folder: Path) -> None:
    """Raises DataError unless there is room for a copy of what a staging folder holds."""
    if _staged_bytes(folder) > shutil.disk_usage(folder).free:
        raise no_room(folder)


def no_room(folder: Path) -> DataError:
    """The error where there is no room for a copy of what a staging folder holds."""
    return DataError(
        f"No room in {folder.parent} for the records: about {_staged_bytes(folder)} bytes are "
        f"needed, {shutil.disk_usage(folder).free} are free. All videos are encoded and kept: make "
        "room and run again, it goes on from there."
    )


def png(pixels: np.ndarray, *, one_bit: bool = False) -> bytes:
    """A picture `[H, W]` or `[H, W, 1 or 3]` as PNG; with `one_bit` its values are 0 and 1."""
    good, data = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_BILEVEL, 1) if one_bit else ())
    assert good
    return data.tobytes()


def by(size: tuple[int, ...]) -> str:
    """A size for a message."""
    return f"{size[0]}x{size[1]}"


def _staged_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.zip"))


def _member(position: int) -> str:
    return f"{position:08d}"


def _encode(picture: Picture, image: Path | None, *, lossless: bool) -> bytes:
    """A frame's picture; the image file's own bytes where they are JPEG of its size."""
    pixels = picture.pixels
    if image is not None and pixels.shape[:2] == picture.source_size:
        raw = image.read_bytes()
        if raw.startswith(b"\xff\xd8"):
            return raw
    elif image is None and pixels.shape[:2] == picture.source_size and not lossless:
        good, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        assert good
        return data.tobytes()
    return png(pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels)


def _key(source: Source, size: tuple[int, int] | None, lossless: bool) -> str:
    """Names a staged file by all that its bytes depend on."""
    files = source.images if source.images is not None else (source.file,)
    stamps = [(str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    facts = [FORMAT, JPEG_QUALITY, stamps, size, lossless, cv2.__version__]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _open(source: Source, path: Path, *, strict: bool) -> Encoded | None:
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            about = json.loads(file.read("about.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        log.warning("Encoding %s again: its staged file is damaged (%s).", source.name, error)
        path.unlink()
        return None
    if strict and about["faults"]:
        raise DataError(f"{about['faults'][0]} {REMEDY}")
    return Encoded(
        source,
        path,
        frames=about["frames"],
        broken=tuple(about["broken"]),
        size=tuple(about["size"]),
        fps=about["fps"],
    )


def _write(source: Source, path: Path, **options: Any) -> None:
    """Encodes a video into a file that appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PART) as folder:
        part = Path(folder) / path.name
        _write_pictures(source, part, **options)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(path)


def _write_pictures(
    source: Source,
    path: Path,
    *,
    size: tuple[int, int] | None,
    lossless: bool,
    fps: float | None,
    strict: bool,
) -> None:
    if fps is None:
        fps = frame_rate(source.file) if source.file else None
    raw, count, broken, faults = None, 0, [], []
    try:
        with zipfile.ZipFile(path, "w") as file:
            for count, picture in enumerate(Decoded(source, colour="bgr", size=size), 1):
                position = count - 1
                if isinstance(picture, DataError):
                    if strict:
                        raise DataError(f"{picture} {REMEDY}")
                    broken.append(position)
                    faults.append(str(picture))
                    continue
                image = source.images[position] if source.images is not None else None
                file.writestr(_member(position), _encode(picture, image, lossless=lossless))
                raw = picture.source_size
            if raw is None:
                raise Unreadable(
                    f"Video {source.name} has no frame that can be read"
                    f"{f': {faults[0]}' if faults else '.'} Take it and its labels out of the set."
                )
            about = {"frames": count, "broken": broken, "faults": faults, "size": raw}
            file.writestr("about.json", json.dumps(about | {"fps": fps or 0.0}))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full(count, path.stat().st_size if path.exists() else 0) from None


class _Full(Exception):
    """A disk that was full after so many frames of a video, and their bytes."""


def _no_room_for(source: Source, rest: Sequence[Source], folder: Path, full: _Full) -> DataError:
    """The error where there is no room for a video; what all of `rest` needs is estimated by it."""
    count, written = full.args
    free = shutil.disk_usage(folder).free
    if count and all(other.images is not None for other in rest):
        encoded = written * sum(len(other.images) for other in rest) // count
        needs = f"about {max(2 * encoded + _staged_bytes(folder), free + 1)}"
    else:
        needs = f"more than {free}"
    return DataError(
        f"No room in {folder.parent} for {source.name}: {needs} bytes are needed for the videos "
        f"still to be encoded and for the records, {free} are free. The videos encoded so far are "
        "kept: make room and run again, it goes on from there."
    )


def _of_one_size(videos: Iterable[Encoded]) -> Iterator[Encoded]:
    first = None
    for video in videos:
        first = first or video
        if video.size != first.size:
            raise DataError(
                f"Video {video.name}, frame 0: {by(video.size)} pixels, but video {first.name} "
                f"has {by(first.size)}. All videos of a set must have one size: convert them, or "
                "put them into sets of their own."
            )
        yield video
