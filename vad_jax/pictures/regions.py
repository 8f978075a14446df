"""Where the error of each frame of a film is large, kept in a file while the film is scored."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vad_jax.detector import Detector
from vad_jax.evaluation import boxes_at
from vad_jax.scoring import frames_of
from vad_jax.types import Scores


class Regions:
    """Where each frame's error is above the 99th percentile of normal clips.

    Called with every batch of a video's rows (`scoring.score_videos`' `each`), whose first frames
    come in order. The boxes are those that the report counts (`evaluation.boxes_at`).

    Args:
      detector: what scores.
      video: has `source_size`, (height, width) of its raw frames, once one was read.
    """

    def __init__(self, detector: Detector, video: Any):
        self._spec, self._level, self._video = detector.method.inputs, detector.map_99, video
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this

    def __call__(self, name: str, first: np.ndarray, scores: Scores) -> None:
        if scores.maps is None or not np.isfinite(self._level):
            return
        height, width = self._video.source_size
        frames = frames_of(self._spec, first).tolist()
        for start, own, maps in zip(first.tolist(), frames, scores.maps, strict=True):
            for frame, error in zip(own, maps, strict=True):
                boxes, _ = boxes_at(error, (height, width), threshold=self._level)
                sides = (boxes + [0, 0, 1, 1]) / [width, height, width, height]
                self._file.write(json.dumps([start, frame, sides.round(4).tolist()]) + "\n")

    def by_row(self) -> Iterator[tuple[int, int, list[list[float]]]]:
        """(first frame of the row, frame, its boxes) in order of the rows.

        Boxes are x0, y0, x1, y1 in parts of 1.
        """
        self._file.seek(0)
        return map(json.loads, self._file)

    def in_step(self) -> Callable[[int], list[list[float]]]:
        """`frame → boxes` for frames that only rise; windows that share a frame all add theirs."""
        entries = self.by_row()
        waiting: dict[int, list] = {}
        ahead = next(entries, None)

        def boxes(number: int) -> list[list[float]]:
            nonlocal ahead
            while ahead and ahead[0] <= number:  # windows that begin later hold later frames alone
                waiting.setdefault(ahead[1], []).extend(ahead[2])
                ahead = next(entries, None)
            return waiting.pop(number, [])

        return boxes
