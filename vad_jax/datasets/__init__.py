"""Raw data sets by name: what lies in a folder, found without decoding a frame."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from vad_jax.data.decoder import frame_rate
from vad_jax.datasets import prepared as built
from vad_jax.datasets.folder import Dataset, Source, open_folder
from vad_jax.datasets.links import check_links
from vad_jax.datasets.raw import avenue, shanghaitech, ucf_crime, ucsd
from vad_jax.datasets.raw.places import Truth, truths
from vad_jax.datasets.raw.published import Published
from vad_jax.datasets.synthetic import videos as synthetic
from vad_jax.datasets.synthetic import writer as synthetic_folder
from vad_jax.types import DataError

log = logging.getLogger(__name__)

__all__ = [
    "NAMES",
    "Dataset",
    "Published",
    "Source",
    "Truth",
    "exclusions",
    "open_dataset",
    "published",
    "truths",
]

SCENES = ("synthetic_scenes", "synthetic_scenes_held_out")
NAMES = (
    "avenue",
    "shanghaitech",
    "ucf_crime",
    "ucsd_ped1",
    "ucsd_ped2",
    "folder",
    "synthetic",
    *SCENES,
)


def open_dataset(
    name: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    cache: str | Path = built.CACHE,
) -> Dataset:
    """Finds the videos, labels and masks of a raw folder.

    Args:
      name: one of `NAMES`; the synthetic sets are written first where their folder does not exist.
        `synthetic_scenes` trains on scenes 0 to 79 (64 to 79 are there to be held out) and tests on
        scenes 100 to 159, `synthetic_scenes_held_out` tests on 64 to 79 of the same folder.
      root: the folder; for UCSD, Avenue and ShanghaiTech also one that holds it; or that set as it
        was built by `vad_jax.prepare`.
      labels: file or folder with the truth, instead of what the search would find; for Avenue
        also `masks` or `intervals`, its own two sources.
      cache: folder where a built set is unpacked.

    Raises:
      DataError: an unknown name, a folder that is missing, empty or of no known layout, or a link
        that leaves it.
    """
    root = Path(root).expanduser()
    if name in NAMES and built.is_built(root):
        return _with_scenes(built.open_built(name, root, labels=labels, cache=cache))
    dataset = _with_scenes(_opened(name, root, labels))
    for place in {dataset.masks, None if labels else dataset.labels} - {None}:
        check_links(place, dataset.root)
    return dataset


def _opened(name: str, root: Path, labels: str | Path | None) -> Dataset:
    if name in ("ucsd_ped1", "ucsd_ped2"):
        return ucsd.open_ucsd(name.removeprefix("ucsd_"), root, labels=labels)
    if name == "avenue":
        return avenue.open_avenue(root, labels=labels)
    if name == "shanghaitech":
        return shanghaitech.open_shanghaitech(root, labels=labels)
    if name == "ucf_crime":
        return ucf_crime.open_ucf_crime(root, labels=labels)
    if name.startswith("synthetic") and name in NAMES:
        scenes = name in SCENES
        if not root.exists():
            log.info("Writing the synthetic set to %s.", root)
            synthetic_folder.write(root, preset="scenes" if scenes else "quickstart")
        found = replace(open_folder(name, root, labels=labels), fps=synthetic.FPS)
        return _scenes(found) if scenes else found
    if name == "folder":
        return _with_rate(open_folder(name, root, labels=labels))
    raise DataError(f"No data set is called {name!r}. Known are {', '.join(NAMES)} (data.name).")


def _scenes(dataset: Dataset) -> Dataset:
    """The videos of the scenes that are trained on, and of those that are tested on."""
    scenes = synthetic_folder.SCENES
    part = "validation" if dataset.name.endswith("held_out") else "testing"
    tested, own = scenes[part], dataset.root / synthetic_folder.scene_labels(part)
    training = (*scenes["training"], *scenes["validation"])
    try:
        numbers = {s.name: int(s.name.split("_")[0]) for s in (*dataset.training, *dataset.testing)}
    except ValueError as error:
        raise DataError(
            f"{dataset.root} holds no scenes ({error}): name a folder that is not there yet, the "
            "synthetic scenes are written into it."
        ) from None
    wanted = {"training": training, "testing": tested}
    planned = [r for r in synthetic_folder.plan("scenes") if r.scene in wanted[r.part]]
    present = {p: {s.name for s in getattr(dataset, p)} for p in wanted}
    missing = [f"{r.part}/{r.name}" for r in planned if r.name not in present[r.part]]
    if missing:
        raise DataError(
            f"{dataset.root} lacks {len(missing)} of the {len(planned)} videos of scenes (the "
            f"first is {missing[0]}): an older release wrote it, or not all of it is here. Delete "
            "it, or name a folder that is not there yet: they are written into it."
        )
    return replace(
        dataset,
        training=tuple(s for s in dataset.training if numbers[s.name] in training),
        testing=tuple(s for s in dataset.testing if numbers[s.name] in tested),
        # The folder's own labels name the videos of all scenes.
        labels=own if dataset.labels == dataset.root / "labels.csv" else dataset.labels,
    )


def _with_scenes(dataset: Dataset) -> Dataset:
    """The scene of each test video, where names say it: `SCENE_NUMBER`."""
    if dataset.name not in ("shanghaitech", *SCENES):
        return dataset
    return replace(dataset, scenes={s.name: s.name.split("_")[0] for s in dataset.testing})


def published(dataset: Dataset) -> Published | None:
    """What is published of a data set; None for a user's own folder and the synthetic set."""
    if dataset.name in ("ucsd_ped1", "ucsd_ped2"):
        return ucsd.published(dataset.name.removeprefix("ucsd_"), dataset.layout)
    if dataset.name == "avenue":
        return avenue.published()
    if dataset.name == "shanghaitech":
        return shanghaitech.published()
    if dataset.name == "ucf_crime":
        return ucf_crime.published(dataset.root)
    return None


def exclusions(name: str) -> dict[str, dict[str, tuple[range, ...]]]:
    """What may be left out of a set's training by `data.exclude`: its name → video → positions."""
    return {"hf2vad": avenue.unclean()} if name == "avenue" else {}


def _with_rate(dataset: Dataset) -> Dataset:
    """The frame rate of the test videos, where they are files that agree on one."""
    rates = {frame_rate(s.file) if s.file else None for s in dataset.testing}
    if len(rates) == 1:
        return replace(dataset, fps=rates.pop())
    if rates - {None}:
        names = sorted("unknown" if rate is None else f"{rate:g}" for rate in rates)
        note = f"frame rates differ ({', '.join(names)}): none is taken"
        return replace(dataset, notes=(*dataset.notes, note))
    return dataset
