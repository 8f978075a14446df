"""What a method said of the rows of one video, brought together on the host."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from vad_jax.types import InputSpec, Scores, VideoScores

_MERGED = 1024  # batches that are kept apart, at most: small arrays weigh more than their numbers


def frames_of(spec: InputSpec, first: np.ndarray) -> np.ndarray:
    """The frames that rows score, int32 `[R, S]`, by their first frames `[R]`."""
    offsets = spec.stride * np.asarray(spec.scored, np.int32)
    return np.asarray(first, np.int32)[:, None] + offsets


class Collected:
    """The batches of one video as they come; their maps are not kept."""

    def __init__(self, spec: InputSpec):
        self._spec, self._merged, self._new = spec, [], []

    def add(self, first: np.ndarray, scores: Scores) -> Scores:
        """Fetches a batch; returns its rows without padding, on the host.

        Args:
          first: `[R]`.
          scores: of R rows and padding.
        """
        fetched = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(first)], jax.device_get(scores))
        self._new.append((first, fetched._replace(maps=None)))
        if len(self._new) == _MERGED:
            self._merge()
        return fetched

    def _merge(self) -> None:
        if self._new:
            self._merged.append(joined(self._new))
            self._new = []

    def video(self, name: str, length: int) -> VideoScores:
        """All rows of the video, which may be none."""
        self._merge()
        if not self._merged:
            none = np.empty(0, np.int32)
            return VideoScores(name, length, none, frames_of(self._spec, none), {})
        first, scores = joined(self._merged)
        parts = {part: np.asarray(value, np.float64) for part, value in scores.parts.items()}
        boxes = None if scores.boxes is None else np.asarray(scores.boxes, np.float64)
        return VideoScores(name, length, first, frames_of(self._spec, first), parts, boxes)


def joined(batches: list[tuple[np.ndarray, Scores]]) -> tuple[np.ndarray, Any]:
    """Batches without maps as one."""
    first, scores = zip(*batches, strict=True)
    return np.concatenate(first), jax.tree.map(lambda *leaves: np.concatenate(leaves), *scores)
