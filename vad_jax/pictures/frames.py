"""Single frames: what came in, what the method made of it, where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.data.windows import frame_indices
from vad_jax.detector import Detector
from vad_jax.scoring import compiled
from vad_jax.types import Batch

HEIGHT = 240  # pixels of a panel
_NUMBER = 10  # of each kind
_APART = 15  # frames between two pictures of one video
_KINDS = (("hit", 1, -1), ("false_alarm", 0, -1), ("miss", 1, 1))  # label, and sign of the score


def extremes(
    detector: Detector, drawn: Callable[..., Any], videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """The strongest hits, the worst false alarms and the worst misses.

    Args:
      detector: what scored.
      drawn: its method's `pictures` under jit.
      videos: the decoded test videos.
      scored: their scores and labels (`evaluation.Scored`).

    Yields:
      A picture `[h, w, 3]` in BGR, and its entry in the index.
    """
    scores = of_windows(scored, "online_smoothed")
    for kind, label, sign in _KINDS:
        for video, frame in _chosen(scores, scored.labels, label, sign):
            panel, caption = _panel(detector, drawn, videos[video], frame)
            yield (
                panel,
                {
                    "video": scored.names[video],
                    "frame": int(frame),
                    "score": float(scores[video][frame]),
                    "label": int(scored.labels[video][frame]),
                    "kind": kind,
                    "caption": caption,
                },
            )


def of_windows(scored: Any, name: str) -> list[np.ndarray]:
    """Scores `[F]` a video, NaN where no window scores the frame: it has no map of its own.

    Args:
      scored: scores and parts (`evaluation.Scored`).
      name: of the scores. Under `all_frames` they hold numbers lent from other frames.
    """
    if not scored.parts:
        return scored.scores[name]
    return [
        np.where(np.isnan(np.stack(parts)).all(axis=0), np.nan, values)
        for values, *parts in zip(scored.scores[name], *scored.parts.values(), strict=True)
    ]


def _chosen(scores, labels, label, sign) -> list[tuple[int, int]]:
    """(video, frame) of the most extreme scores of a class, some frames apart."""
    every = [
        (sign * value, video, frame)
        for video, row in enumerate(scores)
        for frame, value in enumerate(row)
        if labels[video][frame] == label and np.isfinite(value)
    ]
    chosen: list[tuple[int, int]] = []
    for _, video, frame in sorted(every):
        if len(chosen) == _NUMBER:
            break
        if all(video != v or abs(frame - f) >= _APART for v, f in chosen):
            chosen.append((video, frame))
    return chosen


def batch_of(detector: Detector, video: Frames, frame: int) -> tuple[Batch, int]:
    """The window that scores a frame best in its middle, as a batch of one, and its first frame."""
    spec = detector.method.inputs
    offset = spec.scored[len(spec.scored) // 2]
    first = int(np.clip(frame - spec.stride * offset, 0, len(video) - spec.span))
    clip = video.read(frame_indices(spec, first))
    batch = {
        "frames": np.array(clip)[None],
        "mask": np.ones(1, bool),
        "video": np.zeros(1, np.int32),
        "frame": np.full(1, first, np.int32),
    }
    return batch, first


def map_of(detector: Detector, video: Frames, frame: int) -> tuple[Batch, np.ndarray | None]:
    """The window of `batch_of`, and the frame's error map `[h, w]`; None if the method has none."""
    method, variables = detector.method, detector.variables
    spec = method.inputs
    batch, first = batch_of(detector, video, frame)
    _, scores = compiled(method, maps=True)(variables, method.start(variables), batch)
    reached = int(np.argmin(np.abs(np.asarray(spec.scored) * spec.stride + first - frame)))
    return batch, None if scores.maps is None else np.asarray(scores.maps, np.float32)[0, reached]


def _panel(detector: Detector, drawn, video, frame: int) -> tuple[np.ndarray, str]:
    """Frame, output and, where the method has one, error side by side in BGR; what is what."""
    batch, error = map_of(detector, video, frame)
    images, colour = drawn(detector.variables, batch), detector.method.inputs.colour
    shown = [byte_image(np.asarray(images[name])[0], colour) for name in ("target", "output")]
    caption = "frame · output"
    if error is not None:
        high = max(float(error.max()), 1e-12)
        heat = (error / high * 255).astype(np.uint8)
        shown.append(cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO))
        caption += f" · squared error, colours 0 to {high:.3g}"
    aspect = video.source_size[1] / video.source_size[0]
    return np.concatenate([enlarged(image, aspect) for image in shown], axis=1), caption


def byte_image(image: np.ndarray, colour: str) -> np.ndarray:
    """`[h, w, c]` in 0..1 as BGR bytes."""
    image = (np.clip(image.astype(np.float32), 0, 1) * 255).round().astype(np.uint8)
    if colour == "grey":
        return cv2.cvtColor(image[..., :1], cv2.COLOR_GRAY2BGR)
    return image[..., ::-1] if colour == "rgb" else image


def enlarged(image: np.ndarray, aspect: float, *, height: int = HEIGHT) -> np.ndarray:
    """The image at a panel's height and the raw video's shape."""
    enlarging = image.shape[0] < height
    return cv2.resize(
        np.ascontiguousarray(image),
        (round(height * aspect), height),
        interpolation=cv2.INTER_NEAREST if enlarging else cv2.INTER_AREA,
    )
