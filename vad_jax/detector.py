"""What a user holds after training: a method, its variables, and how they become a score."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import jax
import numpy as np

from vad_jax.data.video import resized
from vad_jax.evaluation import Fuser, frame_parts, fuse
from vad_jax.learning import statistics
from vad_jax.learning.adaptation import adapted
from vad_jax.learning.scene import LEAST, scene_statistics
from vad_jax.learning.step_search import Plan, check_rate, check_steps, plan
from vad_jax.scoring import Collected, Stream, score_videos
from vad_jax.spelling import counted
from vad_jax.types import Batch, DataError, Method, Scores, Variables, VideoScores

log = logging.getLogger(__name__)


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
        given = _Given(self, video)
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

    def adapt(
        self,
        clips: np.ndarray | Sequence[Sequence[np.ndarray]],
        *,
        normal: Iterable[np.ndarray | None] | None = None,
        steps: int | None = None,
        learning_rate: float | None = None,
    ) -> Detector:
        """This detector adapted to a new scene by some normal clips of it.

        Steps and rate are those that were learned, or said, or else found on the clips' own
        held-out halves (`learning.step_search.plan`). The statistics of normal clips become the new
        scene's; `about["adapted"]` of the result says what was done.

        Args:
          clips: windows of whole frames, uint8 `[K, T, h, w(, C)]`, T as `method.inputs.frames`, in
            their order.
          normal: a normal video of the scene, other frames than the clips': its statistics are
            taken. Without it those of the clips, each half scored after adaptation to the other;
            where there are fewer than ten, the old ones stay, and a warning says so.
          steps: of gradient.
          learning_rate: of plain gradient steps instead of the method's own rule.

        Raises:
          DataError: no clip, or clips of another length than the method's windows.
          ConfigError: steps or a rate that are none.
          TrainingError: steps that lead to parameters that are not finite.
        """
        check_steps(steps)
        check_rate(learning_rate)
        support = self._support(clips)
        method, variables = self.method, self.variables
        found = plan(
            method, variables, support, self.config, steps=steps, learning_rate=learning_rate
        )
        how = {"steps": found.steps, "learning_rate": found.learning_rate}
        ((moved, _),) = adapted(method, variables, [support], **how)
        ready = replace(self, variables=moved, about={**self.about, "adapted": found._asdict()})
        if found.helps or not jax.tree.leaves(variables["params"]):
            log.info("Adapted in %s, %s.", counted(found.steps, "step"), found.says)
        else:
            log.warning("The parameters stay as they are: %s.", found.says)
        return ready._in_scene(self, support, found, normal)

    def _in_scene(self, old: Detector, support: Batch, found: Plan, normal: Any) -> Detector:
        """The same with the statistics of the new scene, where these can be had."""
        number = len(support["mask"])
        if normal is not None:
            given = _Given(self, normal)
            seen = statistics.normal(self.method, self.variables, [given])
            (rows,) = seen.videos
            number, own = len(rows.first), (seen.parts, seen.map_99)
        elif number >= LEAST:
            own = scene_statistics(self.method, old.variables, support, found)
        if number < LEAST:
            log.warning(
                "%s of the new scene are too few: the statistics of normal clips, which scores "
                "are scaled by, stay those of the old one. Give %d clips, or normal=VIDEO of it.",
                counted(number, "window"), LEAST,
            )  # fmt: skip
            return self
        return replace(self, statistics=own[0], map_99=own[1])

    def _support(self, clips: np.ndarray | Sequence[Sequence[np.ndarray]]) -> Batch:
        """Clips as `Method.adapt` takes them."""
        if isinstance(clips, np.ndarray) and clips.ndim < 4:
            raise DataError(
                f"Clips are uint8 [K, T, h, w] or [K, T, h, w, C]; this is {list(clips.shape)}."
            )
        needed = self.method.inputs.lead + self.method.inputs.frames
        wrong = sorted({len(clip) for clip in clips} - {needed})
        if wrong:
            raise DataError(f"Clips of {wrong[0]} frames; the method's windows have {needed}.")
        if not len(clips):
            raise DataError("There is no clip: adapting needs one at least.")
        if any(frame is None for clip in clips for frame in clip):
            raise DataError("A frame of a clip is None: clips are of whole frames.")
        frames = np.stack([[self.fitted(frame) for frame in clip] for clip in clips])
        number = np.arange(len(frames), dtype=np.int32)
        mask = np.ones(len(frames), bool)
        return {"frames": frames, "mask": mask, "video": number, "frame": number}

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
        right = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] == spec.channels
        if not (right and frame.size):
            raise DataError(
                f"A frame is uint8 [h, w, {spec.channels}] ({spec.colour}); this one is "
                f"{frame.dtype} {list(frame.shape)}."
            )
        return resized(frame, (spec.height, spec.width))


class _Given:
    """Frames in a user's hand, as scoring takes them; counts those that were lost."""

    def __init__(self, detector: Detector, frames: Iterable[np.ndarray | None]):
        if isinstance(frames, np.ndarray) and frames.ndim == 3 and frames.shape[-1] in (1, 3):
            raise DataError(
                f"One array {list(frames.shape)} looks like a single frame: give a sequence of "
                "frames, or an array [F, h, w] or [F, h, w, C]."
            )
        if isinstance(frames, str | bytes | Path) or not isinstance(frames, Iterable):
            raise DataError(
                f"A video is a sequence of frames; this is {frames!r}. Files are scored by "
                "vad_jax.score, and `vad_jax.data.decoder.iterate` reads their frames."
            )
        self.name, self._frames, self.lost = "video", frames, 0
        self._fitted = _Fitted(detector)

    def stream(self) -> Iterator[np.ndarray | None]:
        for frame in self._frames:
            self.lost += frame is None
            yield self._fitted(frame)


class _Fitted:
    """One stream's frames as the method's windows have them; all have one size."""

    def __init__(self, detector: Detector):
        self._detector, self._size, self._seen = detector, None, 0

    def __call__(self, frame: np.ndarray | None) -> np.ndarray | None:
        fitted = self._detector.fitted(frame)
        if fitted is not None:
            size = np.shape(frame)[:2]
            if self._size not in (None, size):
                raise DataError(
                    f"Frame {self._seen} is {size[0]}x{size[1]} pixels, those before "
                    f"{self._size[0]}x{self._size[1]}: all frames of a video have one size."
                )
            self._size = size
        self._seen += 1
        return fitted


class DetectorStream:
    """One live stream of a detector; gives the very scores that `Detector.score` gives a file."""

    def __init__(self, detector: Detector):
        self._detector, self._fitted, self._seen = detector, _Fitted(detector), 0
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
        fitted = self._fitted(frame)
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
