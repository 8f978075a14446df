"""Pixel masks of the test frames: which pixels are anomalous.

Source: datasets.md (UCSD Ped1 and Ped2; the generic folder).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vad_jax.types import DataError

ADVICE = (
    "Labels count every frame of the raw video: check that no frame file is missing, "
    "or choose another file with data.labels."
)
IMAGES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


def mask_folder(folder: Path, name: str) -> Path | None:
    """Where a video's masks lie: `VIDEO`, `VIDEO_gt`, or None."""
    for candidate in (folder / f"{name}_gt", folder / name):
        if candidate.is_dir() and _mask_files(candidate):
            return candidate
    return None


def _mask_files(folder):
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGES and not file.name.startswith(".")
    ]
    return sorted(files, key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)])


def read_masks(folder: Path, name: str, length: int) -> Iterator[np.ndarray]:
    """The masks of a video, frame after frame.

    Args:
      folder: holds `VIDEO/NAME.png` or `VIDEO_gt/NAME.bmp`, in natural order of their numbers.
      name: of the video.
      length: F.

    Yields:
      `[H, W]` bool, True where any channel is not 0.
    """
    import cv2

    where = mask_folder(folder, name)
    if where is None:
        raise DataError(f"{name} has no masks in {folder}: expected {name}/NAME.png. {ADVICE}")
    files = _mask_files(where)
    if len(files) != length:
        raise DataError(f"{name} has {length} frames but {len(files)} masks ({where}). {ADVICE}")
    for file in files:
        # colour drops an alpha channel, which is never 0; any depth keeps 1 of 65,535
        mask = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if mask is None:
            raise DataError(f"{file} cannot be read as an image. Replace the file.")
        yield mask.any(axis=-1)
