"""The frames that a click on a timeline shows: a bounded number of small pictures.

A page that is one file cannot hold every frame. Kept are the extreme frames and, of all scored
frames of the set in order, every k-th, `MOST` in all however long the set is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.evaluation import boxes_at
from vad_jax.evaluation.score_files import TIMELINE_INDEX
from vad_jax.pictures.frames import byte_image, enlarged, of_rows
from vad_jax.pictures.looking import maps_of
from vad_jax.types import Picture

MOST = 240  # pictures of a test set; 10 to 20 KB each in the page
HEIGHT = 150  # pixels of a panel
_BOX = (60, 220, 90)  # green, BGR: stands out from grey frames and from the colours of heat
_QUALITY = 80


def keep(
    detector: Detector,
    videos: Sequence[Frames],
    scored: Any,
    entries: Sequence[dict[str, Any]],
    folder: Path,
) -> None:
    """Writes `timeline/VIDEO_FRAME.jpg`, frame and map with boxes, and `timeline.json`.

    All maps have one range of colours, up to the 99.9th percentile of those kept. Boxes are where
    the map is above the 99th percentile of normal maps.

    Args:
      detector: what scored.
      videos: the decoded test videos.
      scored: their scores (`evaluation.Scored`).
      entries: the extreme frames, as `index.json` holds them.
      folder: of the pictures.
    """
    chosen, step = _chosen(scored, entries)
    maps = dict(zip(chosen, maps_of(detector, videos, chosen), strict=True))
    drawn = [error for error in maps.values() if error is not None]
    high = (
        float(np.quantile(np.concatenate([error.ravel() for error in drawn]), 0.999))
        if drawn
        else 0
    )
    (folder / "timeline").mkdir()
    kept = []
    for (video, frame), error in maps.items():
        found, boxes = _boxes(error, videos[video].source_size, detector.map_99)
        picture = _picture(detector, videos[video], frame, error, max(high, 1e-12), found)
        file = f"timeline/{video:04d}_{frame:06d}.jpg"
        cv2.imwrite(str(folder / file), picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        kept.append({"video": video, "frame": frame, "file": file, "boxes": boxes})
    about = {"most": MOST, "step": step, "height": HEIGHT, "high": high, "frames": kept}
    (folder / TIMELINE_INDEX).write_text(json.dumps(about))


def _chosen(scored, entries) -> tuple[list[tuple[int, int]], int]:
    """(video, frame) in order, and k."""
    number = {name: place for place, name in enumerate(scored.names)}
    extreme = {(number[e["video"]], e["frame"]) for e in entries if "video" in e}
    every = [
        (video, int(frame))
        for video, row in enumerate(of_rows(scored, "online_raw"))
        for frame in np.flatnonzero(np.isfinite(row))
    ]
    step = max(1, -(-len(every) // (MOST - len(extreme))))
    return sorted(extreme | set(every[::step])), step


def _boxes(error, size, threshold) -> tuple[np.ndarray, int]:
    if error is None or np.isnan(threshold):
        return np.empty((0, 4), np.int64), 0
    found, _ = boxes_at(error, size, threshold=threshold)
    return found, len(found)


def _picture(detector, video, frame, error, high, boxes) -> np.ndarray:
    """The frame, and its map beside it where there is one, both with the boxes, BGR."""
    height, width = video.source_size
    spec = detector.method.inputs
    image = np.array(video.read(np.array([frame]))[0], np.float32)
    panels = [byte_image(Picture(image, "frame", range=(0, 255)), spec.colour)]
    if error is not None:
        share = np.clip(error / high, 0, 1)
        panels.append(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO))
    panels = [enlarged(panel, width / height, height=HEIGHT) for panel in panels]
    scale = HEIGHT / height
    for x0, y0, x1, y1 in boxes.tolist():
        low = round(x0 * scale), round(y0 * scale)
        top = round((x1 + 1) * scale) - 1, round((y1 + 1) * scale) - 1
        for panel in panels:
            cv2.rectangle(panel, low, top, _BOX, 1)
    return np.concatenate(panels, axis=1)
