"""Single frames: what came in, what the method made of it, where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures.looking import Place, maps_of, pictures_of
from vad_jax.types import Picture

HEIGHT = 240  # pixels of a panel
_NUMBER = 10  # of each kind
_APART = 15  # frames between two pictures of one video
_KINDS = (("hit", 1, -1), ("false_alarm", 0, -1), ("miss", 1, 1))  # label, and sign of the score


def extremes(
    detector: Detector, videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """The strongest hits, the worst false alarms and the worst misses.

    Args:
      detector: what scored.
      videos: the decoded test videos.
      scored: their scores and labels (`evaluation.Scored`).

    Yields:
      A picture `[h, w, 3]` in BGR, and its entry in the index.
    """
    scores = of_rows(scored, "online_smoothed")
    chosen = [
        (kind, place)
        for kind, label, sign in _KINDS
        for place in _chosen(scores, scored.labels, label, sign)
    ]
    places = [place for _, place in chosen]
    drawn = pictures_of(detector, videos, places), maps_of(detector, videos, places)
    for (kind, (video, frame)), images, error in zip(chosen, *drawn, strict=True):
        panel, caption = _panel(images, error, detector.method.inputs.colour, videos[video])
        yield panel, {"kind": kind, "caption": caption} | about(scored, scores, (video, frame))


def about(scored: Any, scores: Sequence[np.ndarray], place: Place) -> dict[str, Any]:
    """What the index says of a frame."""
    video, frame = place
    return {
        "video": scored.names[video],
        "frame": int(frame),
        "score": float(scores[video][frame]),
        "label": int(scored.labels[video][frame]),
    }


def of_rows(scored: Any, name: str) -> list[np.ndarray]:
    """Scores `[F]` a video, NaN where no row scores the frame: it has no map of its own.

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


def _chosen(scores, labels, label, sign) -> list[Place]:
    """The most extreme scores of a class, some frames apart."""
    every = [
        (sign * value, video, frame)
        for video, row in enumerate(scores)
        for frame, value in enumerate(row)
        if labels[video][frame] == label and np.isfinite(value)
    ]
    chosen: list[Place] = []
    for _, video, frame in sorted(every):
        if len(chosen) == _NUMBER:
            break
        if all(video != v or abs(frame - f) >= _APART for v, f in chosen):
            chosen.append((video, frame))
    return chosen


def _panel(
    images: Mapping[str, Picture], error: np.ndarray | None, colour: str, video: Frames
) -> tuple[np.ndarray, str]:
    """The method's images and, where it has one, the error side by side in BGR; what is what."""
    own = [picture for picture in images.values() if picture.kind == "image"]
    shown = [byte_image(picture, colour) for picture in own]
    titles = [picture.title for picture in own]
    if error is not None:
        high = max(float(error.max()), 1e-12)
        heat = (np.clip(error / high, 0, 1) * 255).astype(np.uint8)
        shown.append(cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO))
        titles.append(f"squared error, colours 0 to {high:.3g}")
    aspect = video.source_size[1] / video.source_size[0]
    panels = [enlarged(image, aspect) for image in shown]
    return np.concatenate(panels, axis=1), " · ".join(titles)


def byte_image(picture: Picture, colour: str) -> np.ndarray:
    """A picture `[h, w, c]` of kind `image` as BGR bytes."""
    low, high = picture.range
    share = (picture.image.astype(np.float32) - low) / (high - low)
    image = (np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    if image.shape[-1] == 1 or colour == "grey":
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
