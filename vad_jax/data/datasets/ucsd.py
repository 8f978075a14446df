"""UCSD Ped1 and Ped2: the official archive, and the repacked one of the future-frame papers."""

from __future__ import annotations

from pathlib import Path

from vad_jax.data.folder import (
    Dataset,
    Source,
    Walk,
    check_root,
    first_missing,
    given_labels,
    shown,
)
from vad_jax.types import DataError

FPS = 10.0
FOLDERS = {"official": ("Train", "Test"), "repacked": ("training", "testing")}
FIRST = {"official": 1, "repacked": 0}  # number of a video's first image
COUNTS = {  # frames of each video in natural order: training, testing
    "ped1": ((200,) * 34, (200,) * 36),
    "ped2": (
        (120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150),
        (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180),
    ),
}


def open_ucsd(scene: str, root: Path, *, labels: str | Path | None = None) -> Dataset:
    """One scene of UCSD in either layout, compared with its published counts.

    Args:
      scene: `ped1` or `ped2`.
      root: the scene's folder, or one that holds it.
      labels: a user's own path instead of the search.

    Raises:
      DataError: no folder, neither layout, or names that cannot be ordered.
    """
    check_root(root)
    root, layout = _locate(scene, root)
    walk = Walk(root)
    walk.entries(root)
    train, test = (root / name for name in FOLDERS[layout])
    training, testing = walk.part(train), walk.part(test)
    if not training and not testing:
        raise DataError(
            f"{root} has the {layout} layout of UCSD {scene.title()} but no video. "
            f"{test.name}/ holds {shown(e.name for e in test.iterdir()) if test.is_dir() else '-'}."
        )
    published = dict(zip((train.name, test.name), COUNTS[scene], strict=True))
    for part, found in ((train.name, training), (test.name, testing)):
        walk.notes += _differences(part, found, published[part], FIRST[layout])
    return Dataset(
        name=f"ucsd_{scene}",
        layout=layout,
        root=root,
        training=training,
        testing=testing,
        labels=given_labels(labels) if labels else _labels(scene, root, test),
        masks=_masks(layout, root, test),
        fps=FPS,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


def _locate(scene: str, root: Path) -> tuple[Path, str]:
    names = (f"UCSD{scene}", scene, f"ucsd_{scene}")
    places = (root, *(root / name for name in names))
    places += tuple(root / "UCSD_Anomaly_Dataset.v1p2" / name for name in names)
    for place in places:
        for layout, folders in FOLDERS.items():
            if any((place / name).is_dir() for name in folders):
                return place, layout
    raise DataError(
        f"{root} is not UCSD {scene.title()}. Looked for Train/ and Test/ (official) or training/ "
        f"and testing/ (repacked), there or in {', '.join(names)}; found "
        f"{shown(entry.name for entry in root.iterdir())}."
    )


def _differences(
    part: str, found: tuple[Source, ...], counts: tuple[int, ...], first: int
) -> list[str]:
    notes = []
    if len(found) != len(counts):
        notes.append(f"{part}: {len(found)} videos, {len(counts)} published")
    for source, frames in zip(found, counts, strict=False):
        here = len(source.images or ())
        if here != frames:
            missing = first_missing(source, first=first, frames=frames)
            notes.append(
                f"{part} {source.name}: {here} frames, {frames} published"
                + (f", first missing {missing}" if missing else "")
            )
    return notes


def _labels(scene: str, root: Path, test: Path) -> Path | None:
    for name in (f"UCSD{scene}.m", f"{scene}.mat", f"frame_labels_{scene}.npy"):
        for folder in (root, test, root / "labels", root.parent):
            if (folder / name).is_file():
                return folder / name
    return None


def _masks(layout: str, root: Path, test: Path) -> Path | None:
    if layout == "official":
        return test if any(test.glob("*_gt")) else None
    return next((p for p in (test / "masks", root / "masks") if p.is_dir()), None)
