"""Pictures of an evaluated run, and the index that the report reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import jax

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures import frames, grids, memory
from vad_jax.pictures import thumbnails as timeline

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
DRAWING = ("memory",)  # kinds with lines and letters: PNG is smaller, and sharp


def draw(detector: Detector, videos: Sequence[Frames], scored: Any, folder: Path) -> list[dict]:
    """Draws extreme frames, those of the timelines, and what a method keeps of normality.

    Frames are chosen by the `online` score. All is drawn with the trained state, not with a state
    that test frames have moved.

    Args:
      detector: what scored.
      videos: the decoded test videos.
      scored: their scores and labels (`evaluation.Scored`).
      folder: gets the pictures, `index.json` and `timeline.json`; what was in it is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = []
    drawn = jax.jit(detector.method.pictures)
    for kind in (frames.extremes, grids.maps, memory.queries_and_items):
        for picture, entry in kind(detector, drawn, videos, scored):
            suffix = "png" if entry["kind"] in DRAWING else "jpg"
            file = f"{entry['kind']}_{len(entries):02d}.{suffix}"
            cv2.imwrite(str(folder / file), picture, [] if entry["kind"] in DRAWING else JPEG)
            entries.append({"file": file, **entry})
    (folder / "index.json").write_text(json.dumps(entries, indent=1))
    timeline.keep(detector, videos, scored, entries, folder)
    return entries
