"""What a user holds after training: a method, its variables, and how they become a score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import cv2
import jax
import numpy as np

from vad_jax.data.video import resized
from vad_jax.evaluation import Fuser, frame_parts, fuse
from vad_jax.learning.adaptation import steps_by_program
from vad_jax.scoring import Collected, Stream, score_videos
from vad_jax.types import DataError, Method, Scores, Variables, VideoScores


class Result(NamedTuple):
    """The frames of one video.

    Attributes:
      score: `[F]` (or `[F, K]` of a method with K labels), higher = stranger, NaN = none.
      parts: the same of each part of the score, by name, in the paper's units and direction.
    """

    score: np.ndarray
    parts: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False, repr=False)
class Detector:
    """A trained method.

    Attributes:
      method, variables: its functions and what they were trained to.
      statistics: of the score parts on normal clips; the `online` protocol needs them.
      map_99: the 99th percentile of error maps on normal clips; NaN where the method draws none.
      config: the completed config of the run.
      about: `step`, `epoch`, `digest` of the checkpoint, and `data` that the run saw.
    """

    method: Method
    variables: Variables
    statistics: dict[str, dict[str, float]]
    map_99: float
    config: Any
    about: dict[str, Any]

    def __repr__(self) -> str:
        spec = self.method.inputs
        return (
            f"Detector({self.config.method}, {spec.width}x{spec.height} {spec.colour}, "
            f"step {self.about['step']})"
        )

    def score(
        self,
        video: Iterable[np.ndarray | None],
        *,
        protocol: Literal["online", "paper"] = "online",
    ) -> Result:
        """Scores one video, started anew.

        Args:
          video: frames uint8 of any size, grey `[h, w]` or colour `[h, w, 3]` in OpenCV's order
            (BGR), as a camera gives them; a grey model takes both. None is a lost frame: it counts
            and no window may touch it.
          protocol: `online` uses nothing of the video's future; `paper` scales by all of it.
        """
        if isinstance(video, np.ndarray) and video.ndim == 3 and video.shape[-1] in (1, 3):
            raise DataError(
                f"One array {list(video.shape)} looks like a single frame: give a sequence of "
                "frames, or an array [F, h, w] or [F, h, w, C]."
            )
        given = _Given(map(self.fitted, video))
        (rows,) = score_videos(self.method, self.variables, [given], anew=True)
        if not len(rows.first):
            lost = given.lost
            raise DataError(
                f"The video has {rows.length} frames{f', {lost} of them lost' if lost else ''}, a "
                f"window needs {self.method.inputs.span}{' whole ones' if lost else ''}: it has no "
                "score."
            )
        return Result(self.fused(rows, protocol=protocol), frame_parts(self.method.fusion, rows))

    def stream(self) -> DetectorStream:
        """A live stream: push a frame, get the scores that it completes (protocol `online`)."""
        return DetectorStream(self)

    def adapt(self, clips: np.ndarray, *, steps: int | None = None) -> Detector:
        """This detector after some gradient steps on normal clips of a new scene.

        Args:
          clips: windows of whole frames, uint8 `[K, T, h, w, C]`, T as `method.inputs.frames`.
          steps: default `config.adapt.steps`.

        Raises:
          DataError: no clip, or clips of another length than the method's windows.
        """
        needed = self.method.inputs.lead + self.method.inputs.frames
        wrong = sorted({len(clip) for clip in clips} - {needed})
        if wrong:
            raise DataError(f"Clips of {wrong[0]} frames; the method's windows have {needed}.")
        if not len(clips):
            raise DataError("There is no clip: adapting needs one at least.")
        frames = np.stack([[self.fitted(frame) for frame in clip] for clip in clips])
        number = np.arange(len(frames), dtype=np.int32)
        mask = np.ones(len(frames), bool)
        support = {"frames": frames, "mask": mask, "video": number, "frame": number}
        steps = self.config.adapt.steps if steps is None else steps
        run, variables = jax.jit(self.method.adapt, static_argnames="steps"), self.variables
        for number in steps_by_program(steps):
            variables, _ = run(variables, support, steps=number)
        return replace(self, variables=variables)

    def fused(
        self,
        rows: VideoScores,
        *,
        protocol: Literal["online", "paper"] = "online",
        smoothed: bool = True,
    ) -> np.ndarray:
        """One score a frame of a video's rows, float64 `[F]`, NaN where there is none."""
        return fuse(self.method.fusion, rows, self.statistics, protocol, smoothed=smoothed)

    def fitted(self, frame: np.ndarray | None) -> np.ndarray | None:
        """A user's frame as the method's windows have it, uint8 `[H, W, C]`; None stays None.

        Raises:
          DataError: it is no frame of bytes, or of other channels.
        """
        if frame is None:
            return None
        spec = self.method.inputs
        frame = np.asarray(frame)
        colour = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] == 3
        if spec.channels == 1 and colour:
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # as files are read
        if frame.ndim == 2:
            frame = np.repeat(frame[..., None], spec.channels, axis=-1)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != spec.channels:
            raise DataError(
                f"A frame is uint8 [h, w, {spec.channels}] ({spec.colour}); this one is "
                f"{frame.dtype} {list(frame.shape)}."
            )
        return resized(frame, (spec.height, spec.width))


class _Given:
    """Frames that are there, as scoring takes them; counts those that were lost."""

    def __init__(self, frames: Iterator[np.ndarray | None]):
        self.name, self._frames, self.lost = "video", frames, 0

    def stream(self) -> Iterator[np.ndarray | None]:
        for frame in self._frames:
            self.lost += frame is None
            yield frame


class DetectorStream:
    """One live stream of a detector; gives the very scores that `Detector.score` gives a file."""

    def __init__(self, detector: Detector):
        self._detector, self._seen = detector, 0
        self._stream = Stream(detector.method, detector.variables)
        self._fuser = Fuser(detector.method.fusion, detector.statistics)
        self._fuser.push(self._rows([self._stream.nothing()]), 0)  # which parts there are

    def push(self, frame: np.ndarray | None) -> list[tuple[int, Any]]:
        """Takes the next frame, None for one that was lost.

        Returns:
          (position in the stream, score) of every frame that now has its score, each once and in
          order; a score is a number, or an array `[K]` of a method with K labels. Frames that no
          window reaches have none.
        """
        fitted = self._detector.fitted(frame)
        if fitted is not None and np.may_share_memory(fitted, frame):
            fitted = fitted.copy()  # cameras write the next frame into the same array
        self._seen += 1
        batches = self._stream.push(fitted)
        return self._final(batches)

    def flush(self) -> list[tuple[int, Any]]:
        """Ends the stream; returns what was still to come."""
        said = self._final(self._stream.flush())
        return said + self._said(self._fuser.flush(self._seen))

    def _final(self, batches: list[tuple[np.ndarray, Scores]]) -> list[tuple[int, Any]]:
        """The frames that have their score now that some batches are scored."""
        horizon = min(self._stream.horizon, self._seen)
        return self._said(self._fuser.push(self._rows(batches), horizon))

    def _rows(self, batches: list[tuple[np.ndarray, Scores]]) -> VideoScores:
        """The rows of some batches, perhaps none, frames counted in the stream."""
        collected = Collected(self._detector.method.inputs)
        for first, scores in batches:
            collected.add(first, scores)
        return collected.video("stream", self._seen)

    def _said(self, final: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, Any]]:
        found = []
        for frame, score in zip(final[0].tolist(), final[1], strict=True):
            if not np.isnan(score).all():
                found.append((frame, score if np.ndim(score) else float(score)))
        return found
