"""The error maps of test videos, kept on disk while they are compared with masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.datasets.folder import Dataset
from vad_jax.scoring import VideoScores
from vad_jax.types import InputSpec

log = logging.getLogger(__name__)


class Maps:
    """One file of maps `[F, h, w]` a video; frames that several windows score have their mean."""

    def __init__(self, folder: Path, spec: InputSpec):
        self._folder, self._spec = folder, spec
        self._files: dict[str, Path] = {}

    def keep(self, windows: VideoScores) -> VideoScores:
        """Writes the maps of a video; returns the rest."""
        if windows.maps is not None:
            path = self._folder / f"{len(self._files)}.npy"
            np.save(path, self._of_frames(windows))
            self._files[windows.name] = path
        return windows._replace(maps=None)

    def _of_frames(self, windows: VideoScores) -> np.ndarray:
        shape = (windows.length, *windows.maps.shape[2:])
        total, number = np.zeros(shape, np.float32), np.zeros((windows.length, 1, 1), np.int32)
        for place, offset in enumerate(self._spec.scored):
            frames = windows.first + self._spec.stride * offset
            total[frames] += windows.maps[:, place]  # no frame twice at one offset
            number[frames] += 1
        return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)

    def of(self, name: str) -> Callable[[], Iterator[np.ndarray]] | None:
        """What gives a video's maps anew at each call; None for a method that draws none."""
        path = self._files.get(name)
        return path and (lambda: iter(np.load(path, mmap_mode="r", allow_pickle=False)))


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
    if maps is None or any(maps.of(video.name) is None for video in videos):
        why = "the test set has no masks" if maps is None else "the method draws no maps"
        return evaluation.absent(why), {}
    mapped = [
        evaluation.Mapped(
            video.name, len(video), video.source_size, maps.of(video.name), _masks(dataset, video)
        )
        for video in videos
    ]
    log.info("Comparing maps with masks: pixels, regions, tracks.")
    return evaluation.localisation(mapped, threshold=threshold)


def _masks(dataset, video) -> Callable[[], Iterator[np.ndarray]] | None:
    if evaluation.mask_place(dataset.masks, video.name) is None:
        return None
    return partial(evaluation.read_masks, dataset.masks, video.name, len(video))
