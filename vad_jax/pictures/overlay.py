"""A scored video to look at: its frames, where the error lies, and the curve of the score."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vad_jax.data.decoder import Decoded, frame_rate, stated
from vad_jax.data.source import Source
from vad_jax.detector import Detector
from vad_jax.evaluation import boxes_at
from vad_jax.scoring import frames_of
from vad_jax.types import DataError, Scores

_STRIP = 96  # pixels of the curve's height
_SMALLEST = 320  # pixels of width, so that the curve can be read
_INK, _RED, _GROUND, _RULE = (235, 235, 235), (70, 70, 255), (26, 24, 21), (90, 84, 78)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Regions:
    """Where each frame's error is above the 99th percentile of normal clips, kept in a file.

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


def draw(
    path: Path,
    source: Source,
    values: np.ndarray,
    regions: Regions,
    *,
    threshold: float | None = None,
    fps: float | None = None,
) -> None:
    """Writes an mp4 (MPEG-4) with the regions and the whole curve under each frame.

    Args:
      path: of the mp4; it appears when it is whole.
      source: the video, decoded once more at its own size.
      values: its scores `[F]`, NaN where there is none.
      regions: of its frames.
      threshold: a line in the curve; frames above it have a red frame.
      fps: of the mp4; by default what the source states, else 25.

    Raises:
      DataError: no frame can be read, or OpenCV opens no mp4 there.
      OSError: not all frames could be written.
    """
    fps = fps or (source.file and frame_rate(source.file)) or 25.0
    fps = fps if 0.1 <= fps <= 1000 else 25.0  # what some files state is no rate
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    boxes, curve, drawn = _in_step(regions.by_row()), None, 0
    with contextlib.ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        for number, picture in enumerate(Decoded(source, colour="bgr")):
            if number == len(values):
                raise DataError(f"Video {source.name} has more frames than when it was scored.")
            if curve is None:  # a broken frame before the first good one is not drawn
                if isinstance(picture, DataError):
                    continue
                frame = _enlarged(picture.pixels)
                height, width = frame.shape[:2]
                curve = _Curve(values, width, threshold)
                code = cv2.VideoWriter_fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), code, fps, (width, height + _STRIP))
                stack.callback(writer.release)
                if not writer.isOpened():
                    raise DataError(f"{path} cannot be written: OpenCV opens no mp4 there.")
            if isinstance(picture, DataError):
                frame = np.zeros_like(frame)
            else:
                frame = _enlarged(picture.pixels).copy()
            for x0, y0, x1, y1 in boxes(number):
                corner = round(x0 * width), round(y0 * height)
                other = round(x1 * width) - 1, round(y1 * height) - 1
                cv2.rectangle(frame, corner, other, _RED, 1)
            if threshold is not None and values[number] > threshold:
                cv2.rectangle(frame, (1, 1), (width - 2, height - 2), _RED, 3)
            writer.write(np.concatenate([frame, curve.at(number)]))
            drawn += 1
        if curve is None:
            raise DataError(f"Video {source.name} has no readable frame to draw.")
        writer.release()
        if stated(temporary)[1] != drawn:  # OpenCV says nothing of a failed write
            free = shutil.disk_usage(path.parent).free
            raise OSError(errno.ENOSPC, f"not all frames were written ({free} bytes free)", path)
        temporary.replace(path)


def _in_step(entries) -> Callable[[int], list[list[float]]]:
    """`number → boxes` for numbers that only rise; windows that share a frame all add theirs."""
    entries = iter(entries)
    waiting: dict[int, list] = {}
    ahead = next(entries, None)

    def boxes(number: int) -> list[list[float]]:
        nonlocal ahead
        while ahead and ahead[0] <= number:  # windows that begin later hold later frames alone
            waiting.setdefault(ahead[1], []).extend(ahead[2])
            ahead = next(entries, None)
        return waiting.pop(number, [])

    return boxes


class _Curve:
    """The strip under the frames, drawn once; a mark wanders through it."""

    def __init__(self, values: np.ndarray, width: int, threshold: float | None):
        self._values, self._width, self._threshold = values, width, threshold
        seen = values[np.isfinite(values)]
        marks = [] if threshold is None else [threshold]
        shown = [*seen, *marks] or [0.0, 1.0]
        low, high = float(min(shown)), float(max(shown))
        pad = 0.08 * (high - low) or 0.5
        self._low, self._high = low - pad, high + pad
        self._strip = self._drawn()

    def _y(self, value):
        share = (value - self._low) / (self._high - self._low)
        return np.round((1 - share) * (_STRIP - 1)).astype(int)

    def _x(self, frame):
        return np.round(np.asarray(frame) * (self._width - 1) / max(len(self._values) - 1, 1))

    def _drawn(self) -> np.ndarray:
        strip = np.full((_STRIP, self._width, 3), _GROUND, np.uint8)
        if self._threshold is not None:
            y = int(self._y(self._threshold))
            cv2.line(strip, (0, y), (self._width - 1, y), _RED, 1)
        present = np.isfinite(self._values)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
        for begin, end in edges.reshape(-1, 2):
            points = np.stack(
                [self._x(np.arange(begin, end)), self._y(self._values[begin:end])], axis=1
            )
            cv2.polylines(strip, [points.astype(np.int32)], False, _INK, 1, cv2.LINE_AA)
        return strip

    def at(self, number: int) -> np.ndarray:
        strip, x = self._strip.copy(), int(self._x(number))
        cv2.line(strip, (x, 0), (x, _STRIP - 1), _RULE, 1)
        value = self._values[number]
        said = f"frame {number}   score " + (f"{value:.2f}" if np.isfinite(value) else "none")
        above = self._threshold is not None and value > self._threshold
        cv2.putText(strip, said, (6, 14), _FONT, 0.4, _RED if above else _INK, 1, cv2.LINE_AA)
        return strip


def _enlarged(frame: np.ndarray) -> np.ndarray:
    """At least `_SMALLEST` wide, both sides even, as codecs want them."""
    height, width = frame.shape[:2]
    scale = max(1.0, _SMALLEST / width)
    size = [max(2, 2 * round(scale * side / 2)) for side in (width, height)]
    return frame if size == [width, height] else cv2.resize(frame, size)
