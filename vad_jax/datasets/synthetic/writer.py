"""The synthetic set as a generic folder of frames, labels, masks and tracks."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vad_jax.datasets.synthetic.videos import HELD_OUT, TEST, TRAIN, SyntheticVideo, video
from vad_jax.types import DataError

SCENES = {"training": range(64), "validation": range(64, 80), "testing": range(100, 160)}

_TESTS = {"quickstart": 6, "camera": 36}  # test videos of the one scene


class Row(NamedTuple):
    """One video of a preset: its part of the folder, its name, and the numbers that make it."""

    part: str
    name: str
    scene: int
    split: int
    index: int
    frames: int


def plan(preset: str) -> tuple[Row, ...]:
    """The videos of a preset, `quickstart`, `camera` or `scenes`.

    `camera` is `quickstart` with six turns of the kinds of anomaly, 36 test videos. In `scenes` a
    video is called `SCENE_NUMBER`; `SCENES` says which scenes are for what.
    """
    if preset in _TESTS:
        tests = range(_TESTS[preset])
        normal = [(TRAIN, i) for i in range(4)] + [(HELD_OUT, 0)]
        rows = [Row("training", f"{n + 1:02d}", 0, *which, 120) for n, which in enumerate(normal)]
        return (*rows, *(Row("testing", f"{i + 1:02d}", 0, TEST, i, 120) for i in tests))
    if preset == "scenes":
        return tuple(
            Row(part, f"{scene:03d}_{index + 1:02d}", scene, split, index, 80)
            for scenes in SCENES.values()
            for scene in scenes
            for part, split in (("training", TRAIN), ("testing", TEST))
            for index in range(2)
        )
    raise DataError(
        f"No synthetic preset is called {preset!r}. Known are camera, quickstart and scenes."
    )


def write(root: str | Path, *, preset: str = "quickstart", seed: int = 0) -> Path:
    """Writes a preset as a generic folder of PNG frames with labels, masks and tracks.

    Args:
      root: the folder; it appears whole, or not at all.
      preset: `quickstart` (about 5 MB) or `camera` (13 MB), in both of which training video 05 is
        the held-out normal one, or `scenes`.
      seed: of everything.

    Raises:
      DataError: the folder holds something already, or the preset is unknown.
    """
    root = Path(root)
    rows = plan(preset)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists. Synthetic data go into a new folder: give another.")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
        part = Path(folder) / "whole"
        part.mkdir(mode=0o755)
        events = {row: _write_video(part, row, seed) for row in rows}
        _write_labels(part / "labels.csv", events.values())
        if preset == "scenes":  # labels that name no other video, of the scenes that are tested on
            for name in ("validation", "testing"):
                own = [e for row, e in events.items() if row.scene in SCENES[name]]
                _write_labels(part / scene_labels(name), own)
        part.rename(root)
    return root


def scene_labels(scenes: str) -> str:
    """Name of the file with the labels of one of `SCENES` alone."""
    return f"labels_{scenes}_scenes.csv"


def _write_labels(path: Path, events: Iterable[list[tuple[str, int, int, str]]]) -> None:
    rows = [("video", "start", "end", "class"), *(event for own in events for event in own)]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write_video(root: Path, row: Row, seed: int) -> list[tuple[str, int, int, str]]:
    made = video(seed, row.scene, row.split, row.index, frames=row.frames)
    _write_images(root / row.part / "frames" / row.name, made.frames)
    if row.part == "training":
        return []
    _write_images(root / "masks" / row.name, made.masks.astype(np.uint8) * 255)
    (root / "tracks").mkdir(exist_ok=True)
    np.savetxt(root / "tracks" / f"{row.name}.txt", made.tracks, fmt="%d", delimiter=",")
    return [(row.name, *run) for run in runs(made)]


def runs(made: SyntheticVideo) -> list[tuple[int, int, str]]:
    """Spans `start, end, kind` in which a track is seen without a gap; 0-based, end exclusive."""
    spans = []
    for number, kind in enumerate(made.kinds):
        seen = made.tracks[made.tracks[:, 0] == number, 1]
        for span in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1):
            if len(span):
                spans.append((int(span[0]), int(span[-1]) + 1, kind))
    return sorted(spans)


def _write_images(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
