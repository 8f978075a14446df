"""What a user holds after training: a method, its variables, and how they become a score."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import jax
import numpy as np

from vad_jax import create
from vad_jax.data.video import resized
from vad_jax.evaluation import assign, fuse
from vad_jax.evaluation.fusion import mentioned
from vad_jax.learning import checkpoint, statistics
from vad_jax.runs import workdir
from vad_jax.scoring import Stream, VideoScores, score_video
from vad_jax.types import CheckpointError, DataError, Method, Variables

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """The frames of one video: `score` `[F]`, higher = stranger, NaN = none; `parts` by name."""

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
        self, video: Iterable[np.ndarray], *, protocol: Literal["online", "paper"] = "online"
    ) -> Result:
        """Scores one video, started anew.

        Args:
          video: frames uint8 of any size, grey `[h, w]` or colour `[h, w, 3]` in OpenCV's order
            (BGR), as a camera gives them; a grey model takes both.
          protocol: `online` uses nothing of the video's future; `paper` scales by all of it.
        """
        if isinstance(video, np.ndarray) and video.ndim == 3 and video.shape[-1] in (1, 3):
            raise DataError(
                f"One array {list(video.shape)} looks like a single frame: give a sequence of "
                "frames, or an array [F, h, w] or [F, h, w, C]."
            )
        windows = score_video(self.method, self.variables, map(self._fitted, video))
        if not len(windows.first):
            raise DataError(
                f"The video has {windows.length} frames, a window needs "
                f"{self.method.inputs.span}: it has no score."
            )
        return Result(self.fused(windows, protocol=protocol), self.frame_parts(windows))

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
        frames = np.stack([[self._fitted(frame) for frame in clip] for clip in clips])
        number = np.arange(len(frames), dtype=np.int32)
        mask = np.ones(len(frames), bool)
        support = {"frames": frames, "mask": mask, "video": number, "frame": number}
        steps = self.config.adapt.steps if steps is None else steps
        run, variables = jax.jit(self.method.adapt, static_argnames="steps"), self.variables
        for number in steps_by_program(steps):
            variables, _ = run(variables, support, steps=number)
        return replace(self, variables=variables)

    def frame_parts(self, windows: VideoScores) -> dict[str, np.ndarray]:
        """The parts of a video's windows given to its frames, name → `[F]`."""
        spec, how = self.method.inputs, self.method.fusion.assign
        return {
            name: assign(windows.first, part, spec=spec, length=windows.length, how=how)
            for name, part in windows.parts.items()
        }

    def fused(
        self,
        windows: VideoScores,
        *,
        protocol: Literal["online", "paper"] = "online",
        smoothed: bool = True,
    ) -> np.ndarray:
        """One score a frame of a video's windows, float64 `[F]`, NaN where there is none."""
        if not len(windows.first):
            return np.full(windows.length, np.nan)
        parts = self.frame_parts(windows)
        return fuse(self.method.fusion, parts, self.statistics, protocol, smoothed=smoothed)

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
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


class DetectorStream:
    """One live stream of a detector."""

    def __init__(self, detector: Detector):
        self._detector = detector
        self._stream = Stream(detector.method, detector.variables)

    def push(self, frame: np.ndarray) -> list[tuple[int, float]]:
        """Takes the next frame; returns (position in the stream, score) of each frame scored."""
        fitted = self._detector._fitted(frame)
        if np.may_share_memory(fitted, frame):  # cameras write the next frame into the same array
            fitted = fitted.copy()
        return self._fused(self._stream.push(fitted))

    def flush(self) -> list[tuple[int, float]]:
        """Ends the stream; returns what was still to come."""
        return self._fused(self._stream.flush())

    def _fused(self, batches) -> list[tuple[int, float]]:
        detector = self._detector
        spec = detector.method.inputs
        found = []
        for first, scores in batches:
            parts = {k: np.asarray(v, np.float64)[: len(first)] for k, v in scores.parts.items()}
            frame = first[:, None] + spec.stride * np.asarray(spec.scored)
            fused = fuse(
                detector.method.fusion,
                {name: part.reshape(-1) for name, part in parts.items()},
                detector.statistics,
                "online",
                smoothed=False,
            )
            found += zip(frame.reshape(-1).tolist(), np.asarray(fused).tolist(), strict=True)
        return found


def steps_by_program(steps: int) -> list[int]:
    """Steps of adaptation that each call of a compiled program takes.

    One on CPUs, where XLA runs the body of a loop on a single core; elsewhere all at once.
    """
    return [1] * steps if steps > 1 and jax.default_backend() == "cpu" else [steps]


def load(folder: str | Path) -> Detector:
    """The detector of a finished run.

    Args:
      folder: the workdir that training wrote; copied from another machine will do.

    Raises:
      CheckpointError: there is no run, no readable checkpoint, or the run is not finished.
    """
    folder = Path(folder)
    config, data = workdir.read(folder)
    method = create(config)
    last = method.stages[-1]
    found = statistics.before_last(folder, method)
    shapes = jax.eval_shape(lambda key: last.begin(method.init(key), found), jax.random.key(0))
    variables, position = checkpoint.read_variables(
        folder / "checkpoints" / last.name, _here(shapes)
    )
    workdir.check_origin(folder, position, workdir.digest(config, data))
    normal = folder / "normal.npz"
    if not normal.exists():
        raise CheckpointError(
            f"{folder} holds a run that is not finished (no normal.npz, checkpoint at step "
            f"{position['step']}): give the same command again, it goes on."
        )
    parts = statistics.read(normal)
    used = mentioned(method.fusion, "online") or parts
    for name in (name for name, part in parts.items() if part["std"] == 0 and name in used):
        log.warning(
            "%s: the part %r is the same on all normal clips, so the protocol `online` cannot "
            "scale it and counts it as 0.", folder, name,
        )  # fmt: skip
    return Detector(
        method=method,
        variables=last.finish(variables),
        statistics=parts,
        map_99=statistics.read_map_99(normal),
        config=config,
        about={**position, "data": data},
    )


def _here(shapes: Any) -> Any:
    """The shapes placed on this machine's first device, wherever the run was."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
