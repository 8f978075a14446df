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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from vad_jax import messages
from vad_jax.data import limits
from vad_jax.data.cache import (
    Observed,
    new_entry,
    read_entry,
    read_observed,
    tidy,
    write_about,
    write_observed,
)
from vad_jax.data.decoder import Decoded
from vad_jax.data.growing import GrowingFrames
from vad_jax.data.mapped import MappedFrames
from vad_jax.data.observing import Observer, Result, Watching
from vad_jax.data.source import Source
from vad_jax.data.video import Colour, Unreadable, resized
from vad_jax.types import ConfigError, DataError

log = logging.getLogger(__name__)

REMEDY = "Replace the file, or set data.on_bad_frame=skip to leave such frames and videos out."
FORMAT = 2  # of a cache entry; part of its key
THREADS = 4  # each waits for a decoder of its own


@dataclass(frozen=True, eq=False)
class Frames:
    """The decoded frames of one video.

    Attributes:
      name: of the video.
      array: uint8 `[F, H, W, c]`, mapped while it is read; c is 1 where all channels are equal.
      broken: positions that no window may touch: what could not be read, where the array holds
        zeros, and what training leaves out.
      source_size: (height, width) of the raw frames.
      channels: C, as delivered.
      digest: SHA-256 of the raw files' bytes.
      observed: what observers saw of the raw frames, by their keys.
    """

    name: str
    array: np.ndarray | MappedFrames
    broken: tuple[int, ...]
    source_size: tuple[int, int]
    channels: int
    digest: str
    observed: Mapping[str, Result] = field(default_factory=dict)

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
    observers: Sequence[Observer] = (),
    progress: bool = True,
    again: bool = False,
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
      observers: see the raw frames as they are decoded; what they saw is kept beside the frames.
        Of a video that was decoded without one of them the raw frames are read once more.
      progress: whether a bar is shown.
      again: whether what cannot be read has been named already, and is not named once more.

    Raises:
      DataError: a frame or video that cannot be read, two sizes of frames, nothing readable, no
        room in the cache, or too many open files.
      ConfigError: channels that the colour does not have, or levels of a source that are no range.
    """
    if channels != 3 and colour != "grey":
        raise ConfigError(f"colour={colour} has 3 channels, not {channels} (input.channels).")
    if on_bad_frame not in ("error", "skip"):
        raise ConfigError(f"data.on_bad_frame is error or skip, not {on_bad_frame!r}.")
    store = Store(Path(cache), (height, width), channels, colour, tuple(observers), again)
    tidy(store.cache)

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
            hidden = {} if progress else {"disable": True}
            bar = messages.progress(
                answers, total=len(sources), desc="frames", unit="video", **hidden
            )
            found = list(_of_one_size(bar))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    kept = [answer for answer in found if isinstance(answer, Frames)]
    if not again:
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
    """A cache folder for frames of one size and colour, one entry a video.

    Attributes:
      cache: the folder.
      size: (height, width) of a frame as delivered.
      channels, colour: as delivered.
      observers: what sees the raw frames.
      again: as `decode` has it.
    """

    cache: Path
    size: tuple[int, int]
    channels: int
    colour: Colour
    observers: tuple[Observer, ...]
    again: bool

    def frames(self, source: Source, *, strict: bool) -> Frames:
        """The frames of one video, decoded only if no whole entry is there.

        Raises:
          Unreadable: no frame can be read.
          DataError: sizes differ or the cache is full; with `strict` also any bad frame.
        """
        entry = self.cache / self._key(source)
        opened = read_entry(entry, source.name)
        if opened is None:
            with self._in_room(source), new_entry(entry) as part:
                self._build(source, part, strict=strict)
            array, about = read_entry(entry, source.name)
        else:
            array, about = opened
            if about["note"] and not self.again:  # else its decoder has said it just now
                log.warning("%s", about["note"])
        if strict and about["faults"]:
            raise DataError(f"{about['faults'][0]} {REMEDY}")
        return Frames(
            name=source.name,
            array=array,
            broken=tuple(about["broken"]),
            source_size=tuple(about["source_size"]),
            channels=self.channels,
            digest=about["digest"],
            observed=self._observed(source, entry, len(array)),
        )

    def _key(self, source: Source) -> str:
        files = [(str(p.absolute()), *_stamp(p)) for p in _files(source)]
        decoders = cv2.__version__, source.file and version("av")
        facts = [FORMAT, files, self.size, self.colour, source.levels, decoders]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    @contextlib.contextmanager
    def _in_room(self, source: Source) -> Iterator[None]:
        """Says of a full disk, or of too many open files, what was to be written and what to do."""
        try:
            with limits.of_open_files():
                yield
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            free = shutil.disk_usage(self.cache).free
            raise DataError(
                f"No room left in {self.cache} for {source.name}: {free} bytes are free, a "
                f"frame needs {self.size[0] * self.size[1] * 3}. Videos decoded so far are "
                "kept: make room, or set another cache, and run again."
            ) from None

    def _build(self, source: Source, entry: Path, *, strict: bool) -> None:
        """Decodes a video into a new entry; observers see it meanwhile."""
        broken, faults, size = [], [], None
        watching = Watching(self.observers, source.name, self.colour)
        # Observers see frames of their own size: then they are resized here, not in the child.
        size_in_child = None if self.observers else self.size
        decoded = Decoded(source, colour=self.colour, size=size_in_child)
        with GrowingFrames(entry / "frames.npy", self.size) as rows:
            for position, picture in enumerate(decoded):
                watching.push(picture)
                if isinstance(picture, DataError):
                    if strict:
                        raise DataError(f"{picture} {REMEDY}")
                    broken.append(position)
                    faults.append(str(picture))
                    rows.append(np.zeros((*self.size, 1), np.uint8))
                else:
                    size = picture.source_size
                    rows.append(resized(picture.pixels, self.size))
        if size is None:
            raise Unreadable(faults[0] if faults else f"Video {source.name} has no frame.")
        about = {"broken": broken, "faults": faults, "source_size": size, "note": decoded.note}
        write_about(entry, about | {"digest": digest(source)})
        for key, result in watching.results().items():
            write_observed(entry, key, result)

    def _observed(self, source: Source, entry: Path, length: int) -> Observed:
        """What each observer saw; those that have not seen this video yet see it now, together."""
        kept = Observed(entry, source.name, tuple(o.key for o in self.observers))
        missing = [o for o in self.observers if read_observed(entry, o.key, source.name) is None]
        if not missing:
            return kept
        watching = Watching(missing, source.name, self.colour)
        for picture in Decoded(source, colour=self.colour):
            watching.push(picture)
        if watching.count != length:
            raise DataError(
                f"Video {source.name} has {watching.count} frames, but had {length} when it was "
                f"decoded. Its files were changed since: remove {entry} and run again."
            )
        with self._in_room(source):
            for key, result in watching.results().items():
                write_observed(entry, key, result)
        return kept


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
