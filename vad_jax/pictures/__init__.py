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
from vad_jax.pictures import frames, memory


def draw(detector: Detector, videos: Sequence[Frames], scored: Any, folder: Path) -> list[dict]:
    """Draws extreme frames, and what a memory holds where the method has one.

    Frames are chosen by the `online` score. All is drawn with the trained state, not with a state
    that test frames have moved.

    Args:
      detector: what scored.
      videos: the decoded test videos.
      scored: their scores and labels (`evaluation.Scored`).
      folder: gets the pictures and `index.json`; what was in it before is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = []
    drawn = jax.jit(detector.method.pictures)
    for kind in (frames.extremes, memory.matching, memory.queries_and_items):
        for picture, entry in kind(detector, drawn, videos, scored):
            file = f"{entry['kind']}_{len(entries):02d}.png"
            cv2.imwrite(str(folder / file), picture)
            entries.append({"file": file, **entry})
    (folder / "index.json").write_text(json.dumps(entries, indent=1))
    return entries
