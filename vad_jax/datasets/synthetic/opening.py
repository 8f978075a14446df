"""The synthetic sets opened as raw folders, written first where they are not there yet."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import open_folder
from vad_jax.datasets.synthetic import writer
from vad_jax.datasets.synthetic.videos import FPS
from vad_jax.types import DataError

log = logging.getLogger(__name__)

SCENE_SETS = ("synthetic_scenes", "synthetic_scenes_held_out")
_PRESETS = {"synthetic": "quickstart", "synthetic_camera": "camera"} | dict.fromkeys(
    SCENE_SETS, "scenes"
)
NAMES = tuple(_PRESETS)


def open_synthetic(name: str, root: Path, *, labels: str | Path | None = None) -> Dataset:
    """A synthetic set by its name, one of `NAMES`.

    Args:
      name: `synthetic` and `synthetic_camera` show one scene, in 6 and 36 test videos;
        `synthetic_scenes` trains on scenes 0 to 79 and tests on 100 to 159,
        `synthetic_scenes_held_out` tests on 64 to 79 of the same folder.
      root: its folder; where there is none the set is written there.
      labels: a user's own path instead of the search.

    Raises:
      DataError: as `open_folder`; or a folder that lacks videos of the scenes.
    """
    scenes = name in SCENE_SETS
    if not root.exists():
        log.info("Writing the synthetic set to %s.", root)
        writer.write(root, preset=_PRESETS[name])
    dataset = replace(open_folder(name, root, labels=labels), fps=FPS)
    return _of_scenes(dataset) if scenes else dataset


def _of_scenes(dataset: Dataset) -> Dataset:
    """The videos of the scenes that are trained on, and of those that are tested on."""
    tested = "validation" if dataset.name.endswith("held_out") else "testing"
    trained = {*writer.SCENES["training"], *writer.SCENES["validation"]}
    scenes = {"training": trained, "testing": set(writer.SCENES[tested])}
    planned = [row for row in writer.plan("scenes") if row.scene in scenes[row.part]]
    wanted = {part: {row.name for row in planned if row.part == part} for part in scenes}
    found = {
        part: tuple(source for source in getattr(dataset, part) if source.name in names)
        for part, names in wanted.items()
    }
    present = {(part, source.name) for part, sources in found.items() for source in sources}
    if not present:
        raise DataError(
            f"{dataset.root} holds no scenes: name a folder that is not there yet, the synthetic "
            "scenes are written into it."
        )
    missing = [f"{r.part}/{r.name}" for r in planned if (r.part, r.name) not in present]
    if missing:
        raise DataError(
            f"{dataset.root} lacks {len(missing)} of the {len(planned)} videos of scenes (the "
            f"first is {missing[0]}): an older release wrote it, or not all of it is here. Delete "
            "it, or name a folder that is not there yet: they are written into it."
        )
    # The folder's own labels name the videos of all scenes.
    own = dataset.labels == dataset.root / "labels.csv"
    labels = dataset.root / writer.scene_labels(tested) if own else dataset.labels
    return replace(dataset, labels=labels, **found)
