"""The data sets by name, and what is known of each beyond its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vad_jax.data.decoder import frame_rate
from vad_jax.datasets import annotated, prepared
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import open_folder
from vad_jax.datasets.links import check_links
from vad_jax.datasets.raw import avenue, shanghaitech, ucf_crime, ucsd
from vad_jax.datasets.raw.counts import Published
from vad_jax.datasets.synthetic import opening as synthetic
from vad_jax.types import DataError

NAMES = (
    "avenue",
    "shanghaitech",
    "ucf_crime",
    "ucsd_ped1",
    "ucsd_ped2",
    "folder",
    *synthetic.NAMES,
)


def open_dataset(
    name: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    cache: str | Path = prepared.CACHE,
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
    if name in NAMES and prepared.is_built(root):
        return _described(prepared.open_built(name, root, labels=labels, cache=cache))
    dataset = _opened(name, root, labels)
    for place in {dataset.masks, None if labels else dataset.labels} - {None}:
        check_links(place, dataset.root)
    return _described(dataset)


def _opened(name: str, root: Path, labels: str | Path | None) -> Dataset:
    if name in ("ucsd_ped1", "ucsd_ped2"):
        return ucsd.open_ucsd(name.removeprefix("ucsd_"), root, labels=labels)
    if name == "avenue":
        return avenue.open_avenue(root, labels=labels)
    if name == "shanghaitech":
        return shanghaitech.open_shanghaitech(root, labels=labels)
    if name == "ucf_crime":
        return ucf_crime.open_ucf_crime(root, labels=labels)
    if name in synthetic.NAMES:
        return synthetic.open_synthetic(name, root, labels=labels)
    if name == "folder":
        return _with_rate(open_folder(name, root, labels=labels))
    raise DataError(f"No data set is called {name!r}. Known are {', '.join(NAMES)} (data.name).")


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


def _described(dataset: Dataset) -> Dataset:
    """The scenes that names tell, the classes that names or labels tell, and the events."""
    scenes = classes = None
    if dataset.name in ("shanghaitech", *synthetic.SCENE_SETS):  # names are SCENE_NUMBER
        scenes = {source.name: source.name.split("_")[0] for source in dataset.testing}
    events = annotated.events_of(dataset)
    if dataset.name == "ucf_crime":
        classes = ucf_crime.classes((*dataset.training, *dataset.testing))
    elif events is not None:
        classes = annotated.classes_of(events)
    return replace(dataset, scenes=scenes, classes=classes, events=events)


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
