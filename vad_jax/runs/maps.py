"""The error maps of test videos, written to disk as they come and read back frame by frame."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.datasets import Dataset
from vad_jax.scoring import frames_of
from vad_jax.types import DataError, InputSpec, Scores

log = logging.getLogger(__name__)


class Maps:
    """One file a video with the maps `[h, w]` of its scored frames; several rows give their mean.

    Called with every batch of a video's rows (`scoring.score_videos`' `each`).

    Args:
      folder: for the files.
      spec: of the rows.
    """

    def __init__(self, folder: Path, spec: InputSpec):
        self._folder, self._spec = folder, spec
        self._videos: dict[str, _Written] = {}

    def __call__(self, name: str, first: np.ndarray, scores: Scores) -> None:
        if scores.maps is not None:
            if name not in self._videos:
                path = self._folder / f"{len(self._videos)}.raw"
                self._videos[name] = _Written(path, scores.maps.shape[-2:])
            frames = frames_of(self._spec, first)
            self._videos[name].add(frames, np.asarray(scores.maps, np.float32))

    def of(self, name: str, length: int) -> Callable[[], Iterator[np.ndarray]] | None:
        """What gives a video's maps anew at each call, one a frame, NaN where there is none.

        None for a method that draws none.
        """
        if not self._videos:
            return None
        written = self._videos.get(name)
        if written is None:  # without a row
            some = next(iter(self._videos.values()))
            return partial(some.nothing, length)
        written.close()
        return partial(written.frames, length)


class _Written:
    """The file of one video. Rows come in order, so few frames are open at a time."""

    def __init__(self, path: Path, shape: tuple[int, int]):
        self._path, self._shape = path, shape
        self._open: dict[int, tuple[np.ndarray, int]] = {}
        self._kept: list[int] = []  # frames in the file, rising

    def add(self, frames: np.ndarray, maps: np.ndarray) -> None:
        for row, images in zip(frames.tolist(), maps, strict=True):
            self._write(frame for frame in self._open if frame < min(row))
            for frame, image in zip(row, images, strict=True):
                total, number = self._open.get(frame, (0, 0))
                self._open[frame] = total + image, number + 1

    def _write(self, frames: Iterable[int]) -> None:
        """Means of frames that no row reaches any more; the file is open for this alone."""
        ready = sorted(frames)
        if ready:
            with self._path.open("ab") as file:
                for frame in ready:
                    total, number = self._open.pop(frame)
                    file.write((total / number).astype(np.float32).tobytes())
            self._kept += ready

    def close(self) -> None:
        self._write(self._open)

    def frames(self, length: int) -> Iterator[np.ndarray]:
        kept, size = set(self._kept), int(np.prod(self._shape))
        with self._path.open("rb") as file:
            for frame, none in enumerate(self.nothing(length)):
                if frame in kept:
                    yield np.fromfile(file, np.float32, size).reshape(self._shape)
                else:
                    yield none

    def nothing(self, length: int) -> Iterator[np.ndarray]:
        """The maps of a video without a row."""
        none = np.full(self._shape, np.nan, np.float32)
        for _ in range(length):
            yield none


def located_in(
    maps: Maps | None, videos: Sequence[Frames], dataset: Dataset, threshold: float
) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
    """The pixel, region and track figures, and the boxes of what was found; see `localisation`.

    Args:
      maps: of the test videos; None where the data set has no masks.
      videos: the test videos.
      dataset: says where their masks lie.
      threshold: of boxes.
    """
    if maps is None:
        return evaluation.absent("the test set has no masks"), {}
    of = [maps.of(video.name, len(video)) for video in videos]
    if None in of:
        return evaluation.absent("the method draws no maps"), {}
    mapped = [
        evaluation.Mapped(video.name, len(video), video.source_size, own, _masks(dataset, video))
        for video, own in zip(videos, of, strict=True)
    ]
    log.info("Comparing maps with masks: pixels, regions, tracks.")
    scenes = dataset.scenes and [dataset.scenes[video.name] for video in videos]
    try:
        return evaluation.localisation(mapped, threshold=threshold, groups=scenes)
    except DataError as error:  # of a mask; scores and labels are none the worse
        log.warning("No pixel and region figures: %s", error)
        return evaluation.absent(str(error)), {}


def _masks(dataset: Dataset, video: Frames) -> Callable[[], Iterator[np.ndarray]] | None:
    """What gives a video's masks anew at each call; None where it has none."""
    if evaluation.mask_place(dataset.masks, video.name) is None:
        return None
    return _ReadOnce(partial(evaluation.read_masks, dataset.masks, video.name, len(video)))


class _ReadOnce:
    """The masks of a video, read from their files the first time and kept packed for the next.

    Decoded four times over they took a third of an evaluation of UCSD Ped2. Mostly zeros, they pack
    to a hundredth of their size.
    """

    def __init__(self, read: Callable[[], Iterator[np.ndarray]]):
        self._read = read
        self._kept: list[tuple[bytes, np.dtype, tuple[int, ...]]] | None = None

    def __call__(self) -> Iterator[np.ndarray]:
        if self._kept is not None:
            for packed, dtype, shape in self._kept:
                yield np.frombuffer(zlib.decompress(packed), dtype).reshape(shape)
            return
        kept = []
        for mask in self._read():
            mask = np.asarray(mask)
            kept.append((zlib.compress(mask.tobytes(), 1), mask.dtype, mask.shape))
            yield mask
        self._kept = kept
