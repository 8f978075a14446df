"""UCSD Ped1 and Ped2: the official archive, and the repacked one of the future-frame papers."""

from __future__ import annotations

from pathlib import Path

from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import check_root, given_labels
from vad_jax.datasets.names import inside
from vad_jax.datasets.raw.counts import Part, Published, differences, numbered
from vad_jax.datasets.raw.places import PARTS, first_of, located
from vad_jax.datasets.walk import Walk
from vad_jax.types import DataError

FPS = 10.0
FOLDERS = {"official": ("Train", "Test"), "repacked": PARTS}
FIRST = {"official": 1, "repacked": 0}  # number of a video's first image
PREFIXES = {"official": ("Train", "Test"), "repacked": ("", "")}  # of a video's name
SIZES = {"ped1": (158, 238), "ped2": (240, 360)}
COUNTS = {  # frames of each video in natural order: training, testing
    "ped1": ((200,) * 34, (200,) * 36),
    "ped2": (
        (120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150),
        (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180),
    ),
}
ANOMALOUS = {  # frames of each test video
    "ped1": (
        *(93, 126, 110, 138, 147, 191, 175, 94, 48, 140, 96, 71),
        *(156, 200, 63, 78, 47, 67, 75, 131, 170, 92, 158, 122),
        *(96, 68, 113, 96, 84, 26, 180, 103, 161, 121, 115, 94),
    ),
    "ped2": (120, 86, 146, 150, 129, 159, 135, 180, 120, 150, 180, 93),
}
MASKED = (3, 4, 14, 18, 19, 21, 22, 23, 24, 32)  # test videos of Ped1 with official masks


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
            f"{test.name}/ holds {inside(test) if test.is_dir() else '-'}."
        )
    counts = published(scene, layout)
    for part, found, known in (
        (train.name, training, counts.training),
        (test.name, testing, counts.testing),
    ):
        walk.notes += differences(part, found, known, first=counts.first)
    return Dataset(
        name=f"ucsd_{scene}",
        layout=layout,
        root=root,
        training=training,
        testing=testing,
        labels=given_labels(labels) if labels else first_of(f"ucsd_{scene}", root, test),
        masks=_masks(layout, root, test),
        fps=FPS,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


def published(scene: str, layout: str) -> Published:
    """What is published of a scene, under the names that a layout gives the videos."""
    train, test = (
        Part(len(counts), sum(counts), numbered(prefix, counts))
        for prefix, counts in zip(PREFIXES[layout], COUNTS[scene], strict=True)
    )
    anomalous = numbered(PREFIXES[layout][1], ANOMALOUS[scene])
    partly = scene == "ped1" and layout == "official"
    return Published(
        training=train,
        testing=test,
        size=SIZES[scene],
        grey=True,
        first=FIRST[layout],
        anomalous={"labels": anomalous, "masks": anomalous},
        masked=tuple(f"Test{number}" for number in MASKED) if partly else None,
        remarks=("Only 10 of Ped1's 36 test videos have official masks.",) if partly else (),
    )


def _locate(scene: str, root: Path) -> tuple[Path, str]:
    names = (f"UCSD{scene}", scene, f"ucsd_{scene}")
    archive = tuple(f"UCSD_Anomaly_Dataset.v1p2/{name}" for name in names)
    place = located(root, (*names, *archive), FOLDERS)
    if place:
        return place
    raise DataError(
        f"{root} is not UCSD {scene.title()}. Looked for Train/ and Test/ (official) or training/ "
        f"and testing/ (repacked), there or in {', '.join(names)}; found "
        f"{inside(root)}."
    )


def _masks(layout: str, root: Path, test: Path) -> Path | None:
    if layout == "official":
        return test if any(test.glob("*_gt")) else None
    return next((p for p in (test / "masks", root / "masks") if p.is_dir()), None)
