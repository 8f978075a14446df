"""Frames of videos at one size, decoded once and kept in memory-mapped files.

A video of three equal channels (grey footage saved as JPEG) is stored as one and delivered as
three. Letters: F frames of a video, H W C of a frame.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from tqdm import tqdm

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.data.video import Colour, Unreadable
from vad_jax.types import ConfigError, DataError

log = logging.getLogger(__name__)

REMEDY = "Replace the file, or set data.on_bad_frame=skip to leave such frames and videos out."
FORMAT = 1  # of a cache entry; part of its key
THREADS = 4  # each waits for a decoder of its own
PART = ".part-"  # begins the names of folders that hold half an entry
FORGOTTEN_SECONDS = 86_400.0  # of a half entry that nobody writes to: its process was killed


@dataclass(frozen=True, eq=False)
class Frames:
    """The decoded frames of one video.

    Attributes:
      name: of the video.
      array: uint8 `[F, H, W, c]`, memory-mapped; c is 1 where all channels are equal.
      broken: positions that no window may touch: what could not be read, where the array holds
        zeros, and what training leaves out.
      source_size: (height, width) of the raw frames.
      channels: C, as delivered.
      digest: SHA-256 of the raw files' bytes.
    """

    name: str
    array: np.ndarray
    broken: tuple[int, ...]
    source_size: tuple[int, int]
    channels: int
    digest: str

    def __len__(self) -> int:
        return len(self.array)

    def read(self, index: np.ndarray) -> np.ndarray:
        """The frames at positions of any shape, uint8 `[..., H, W, C]`.

        Equal channels are one in memory: the result may be a read-only view.
        """
        frames = np.asarray(self.array[np.asarray(index)])
        return np.broadcast_to(frames, (*frames.shape[:-1], self.channels))

    def without(self, positions: Iterable[int]) -> Frames:
        """The same video, some of its positions left out of every window."""
        return replace(self, broken=tuple(sorted({*self.broken, *positions})))

    def stream(self) -> Iterator[np.ndarray | None]:
        """The frames in order, uint8 `[H, W, C]`; None in the place of one that is left out."""
        broken = set(self.broken)
        for i in range(len(self)):
            yield None if i in broken else self.read(i)


def decode(
    sources: Sequence[Source],
    *,
    height: int,
    width: int,
    channels: int,
    colour: Colour,
    cache: str | Path,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> list[Frames]:
    """Decodes videos into a cache, or opens what an earlier call left there.

    Args:
      sources: the videos; the result keeps their order.
      height, width: of a frame as delivered.
      channels: as delivered; 3 for `bgr` and `rgb`, any number for `grey`.
      colour: order of the channels.
      cache: folder for the decoded frames; an entry holds as long as the raw files' paths, sizes
        and times do.
      on_bad_frame: `error`, or `skip` to name and count what cannot be read. A video with no
        readable frame is then left out of the result.
      progress: whether a bar is shown.

    Raises:
      DataError: a frame or video that cannot be read, two sizes of frames, nothing readable, or
        no room in the cache.
      ConfigError: channels that the colour does not have.
    """
    if channels != 3 and colour != "grey":
        raise ConfigError(f"colour={colour} has 3 channels, not {channels} (input.channels).")
    if on_bad_frame not in ("error", "skip"):
        raise ConfigError(f"data.on_bad_frame is error or skip, not {on_bad_frame!r}.")
    store = Store(Path(cache), (height, width), channels, colour)
    store.tidy()

    def one(source: Source) -> Frames | DataError:
        try:
            return store.frames(source, strict=on_bad_frame == "error")
        except Unreadable as error:
            if on_bad_frame == "error":
                raise Unreadable(f"{error} {REMEDY}") from None
            return error

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        try:
            answers = pool.map(one, sources)
            bar = tqdm(
                answers, total=len(sources), desc="frames", unit="video", disable=not progress
            )
            found = list(_of_one_size(bar))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    kept = [answer for answer in found if isinstance(answer, Frames)]
    _report(kept, [answer for answer in found if not isinstance(answer, Frames)])
    if not kept and sources:
        raise DataError(f"None of {len(sources)} videos can be read: {found[0]}")
    return kept


def identity(frames: Iterable[Frames]) -> str:
    """SHA-256 of names, lengths, raw sizes and raw bytes: which data a run saw.

    It does not depend on paths, on the decoder's version, or on the size of delivery.
    """
    rows = [(f.name, len(f), *f.source_size, f.digest) for f in frames]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A cache folder for frames of one size and colour; one entry a video, renamed when whole."""

    cache: Path
    size: tuple[int, int]
    channels: int
    colour: Colour

    def frames(self, source: Source, *, strict: bool) -> Frames:
        """The frames of one video, decoded only if no whole entry is there.

        Raises:
          Unreadable: no frame can be read.
          DataError: sizes differ or the cache is full; with `strict` also any bad frame.
        """
        entry = self.cache / self._key(source)
        opened = self._open(source, entry)
        if opened is None:
            self._build(source, entry, strict=strict)
            opened = self._open(source, entry)
        frames, faults = opened
        if strict and faults:
            raise DataError(f"{faults[0]} {REMEDY}")
        return frames

    def tidy(self) -> None:
        """Removes half entries of processes that were killed; of living ones none is so old."""
        for part in self.cache.glob(f"{PART}*"):
            with contextlib.suppress(OSError):  # another process tidies, too
                newest = max(path.stat().st_mtime for path in (part, *part.rglob("*")))
                if time.time() - newest > FORGOTTEN_SECONDS:
                    shutil.rmtree(part)

    def _key(self, source: Source) -> str:
        files = [(str(p.absolute()), *_stamp(p)) for p in _files(source)]
        facts = [FORMAT, files, self.size, self.colour, cv2.__version__]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _open(self, source: Source, entry: Path) -> tuple[Frames, list[str]] | None:
        if not entry.is_dir():
            return None
        try:
            about = json.loads((entry / "about.json").read_text())
            array = np.load(entry / "frames.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            log.warning("Decoding %s again: its cache is damaged (%s).", source.name, error)
            shutil.rmtree(entry)
            return None
        frames = Frames(
            name=source.name,
            array=array,
            broken=tuple(about["broken"]),
            source_size=tuple(about["source_size"]),
            channels=self.channels,
            digest=about["digest"],
        )
        return frames, about["faults"]

    def _build(self, source: Source, entry: Path, *, strict: bool) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache, prefix=PART) as folder:
            part = Path(folder) / "entry"
            part.mkdir()
            try:
                about = self._write(source, part / "frames.npy", strict=strict)
                about["digest"] = digest(source)
                (part / "about.json").write_text(json.dumps(about))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                free = shutil.disk_usage(self.cache).free
                raise DataError(
                    f"No room left in {self.cache} for {source.name}: {free} bytes are free, a "
                    f"frame needs {self.size[0] * self.size[1] * 3}. Videos decoded so far are "
                    "kept: make room, or set another cache, and run again."
                ) from None
            try:
                part.rename(entry)
            except OSError:  # another process was quicker; its entry is as good
                if not entry.is_dir():
                    raise

    def _write(self, source: Source, path: Path, *, strict: bool) -> dict:
        broken, faults, size = [], [], None
        with Rows(path, self.size) as rows:
            decoded = Decoded(source, colour=self.colour, size=self.size)
            for position, picture in enumerate(decoded):
                if isinstance(picture, DataError):
                    if strict:
                        raise DataError(f"{picture} {REMEDY}")
                    broken.append(position)
                    faults.append(str(picture))
                    rows.append(np.zeros((*self.size, 1), np.uint8))
                else:
                    size = picture.source_size
                    rows.append(picture.pixels)
        if size is None:
            raise Unreadable(faults[0] if faults else f"Video {source.name} has no frame.")
        return {"broken": broken, "faults": faults, "source_size": size}


class Rows:
    """An .npy file `[F, H, W, c]` that grows a frame at a time; c is 1 until colours differ."""

    def __init__(self, path: Path, size: tuple[int, int]):
        self.path, self.size, self.count, self.channels = path, size, 0, 1

    def __enter__(self) -> Rows:
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


def _files(source: Source) -> tuple[Path, ...]:
    return source.images if source.images is not None else (source.file,)


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def digest(source: Source) -> str:
    """SHA-256 of a video's raw files."""
    whole = hashlib.sha256()
    for path in _files(source):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _of_one_size(answers: Iterable[Frames | DataError]) -> Iterator[Frames | DataError]:
    first = None
    for answer in answers:
        if isinstance(answer, Frames):
            first = first or answer
            here, there = answer.source_size, first.source_size
            if here != there:
                raise DataError(
                    f"Video {answer.name}, frame 0: {here[0]}x{here[1]} pixels, but video "
                    f"{first.name} has {there[0]}x{there[1]}. All videos of a set must have one "
                    "size: convert them, or put them into sets of their own."
                )
        yield answer


def _report(kept: list[Frames], lost: list[DataError]) -> None:
    for frames in kept:
        if frames.broken:
            log.warning(
                "Video %s: %d of %d frames cannot be read and are skipped: %s.",
                frames.name, len(frames.broken), len(frames), ", ".join(map(str, frames.broken)),
            )  # fmt: skip
    for error in lost:
        log.warning("Left out, nothing readable: %s", error)
    if lost or any(frames.broken for frames in kept):
        log.warning(
            "data.on_bad_frame=skip: %d frames of %d videos skipped, %d videos left out.",
            sum(len(f.broken) for f in kept), len(kept), len(lost),
        )  # fmt: skip
