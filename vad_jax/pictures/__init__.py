"""Pictures of an evaluated run, and the index that the report reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.evaluation.score_files import PICTURES_INDEX
from vad_jax.pictures import frames, grids, memory, thumbnails

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


def draw(detector: Detector, videos: Sequence[Frames], scored: Any, folder: Path) -> list[dict]:
    """Draws extreme frames, those of the timelines, and what a method keeps of normality.

    Frames are chosen by the `online` score.

    Args:
      detector: what scored.
      videos: the decoded test videos.
      scored: their scores and labels (`evaluation.Scored`).
      folder: gets the pictures, `index.json` and `timeline.json`; what was in it is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = []
    for kind in (frames.extremes, grids.maps, memory.vectors):
        for picture, entry in kind(detector, videos, scored):
            drawing = entry.pop("drawing", False)  # lines and letters: PNG is smaller, and sharp
            file = f"{entry['kind']}_{len(entries):02d}.{'png' if drawing else 'jpg'}"
            cv2.imwrite(str(folder / file), picture, [] if drawing else JPEG)
            entries.append({"file": file, **entry})
    (folder / PICTURES_INDEX).write_text(json.dumps(entries, indent=1))
    thumbnails.keep(detector, videos, scored, entries, folder)
    return entries
