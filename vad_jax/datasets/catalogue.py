"""The data sets by name, and what is known of each beyond its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vad_jax.data.decoder import frame_rate
from vad_jax.data.levels import Levels
from vad_jax.data.source import with_levels
from vad_jax.datasets import annotated, prepared
from vad_jax.datasets.clock import Clock
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import open_folder
from vad_jax.datasets.likeness import advice, check_likeness, looks_like
from vad_jax.datasets.links import check_links
from vad_jax.datasets.raw import avenue, named, ucf_crime
from vad_jax.datasets.synthetic import opening as synthetic
from vad_jax.types import DataError

NAMES = (*named.NAMES, "folder", *synthetic.NAMES)


def open_dataset(
    name: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    fps: float | None = None,
    levels: Levels | None = None,
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
      fps: frames a second, where the data do not say or say it wrongly.
      levels: the range of pictures with more than 8 bits a value.
      cache: folder where a built set is unpacked.

    Raises:
      DataError: an unknown name, a folder that is missing, empty, of no known layout or looks like
        another set, or a link that leaves it.
    """
    root = Path(root).expanduser()
    if name in NAMES and prepared.is_built(root):
        return _described(prepared.open_built(name, root, labels=labels, cache=cache), fps, levels)
    dataset = _opened(name, root, labels)
    for place in {dataset.masks, None if labels else dataset.labels} - {None}:
        check_links(place, dataset.root)
    return _described(dataset, fps, levels)


def _opened(name: str, root: Path, labels: str | Path | None) -> Dataset:
    if name in named.NAMES:
        return _recognised(name, root, labels)
    if name in synthetic.NAMES:
        return synthetic.open_synthetic(name, root, labels=labels)
    if name == "folder":
        dataset = _with_rate(open_folder(name, root, labels=labels))
        other = looks_like(root, but=name) if dataset.layout == "scoring" else None
        return _noting(dataset, f"it looks like {other}: {advice(other)}" if other else None)
    raise DataError(f"No data set is called {name!r}. Known are {', '.join(NAMES)} (data.name).")


def _recognised(name: str, root: Path, labels: str | Path | None) -> Dataset:
    """A published set, unless the folder looks like another."""
    try:
        dataset = named.open_named(name, root, labels=labels)
    except DataError as error:
        if other := looks_like(root, but=name):
            raise DataError(f"{error} It looks like {other}: {advice(other)}.") from None
        raise
    return _noting(dataset, check_likeness(dataset, root))


def _noting(dataset: Dataset, note: str | None) -> Dataset:
    """The same with a note before its others."""
    return replace(dataset, notes=(note, *dataset.notes)) if note else dataset


def _with_rate(dataset: Dataset) -> Dataset:
    """The frame rate of the test videos, or of others, where they are files that agree on one."""
    rates = {frame_rate(s.file) if s.file else None for s in dataset.testing or dataset.training}
    if len(rates) == 1:
        return replace(dataset, fps=rates.pop())
    if rates - {None}:
        names = sorted("unknown" if rate is None else f"{rate:g}" for rate in rates)
        note = f"frame rates differ ({', '.join(names)}): none is taken"
        return replace(dataset, notes=(*dataset.notes, note))
    return dataset


def _described(dataset: Dataset, fps: float | None, levels: Levels | None) -> Dataset:
    """The scenes that names tell, the classes that names or labels tell, times and events."""
    parts = {name: with_levels(getattr(dataset, name), levels) for name in ("training", "testing")}
    dataset = _noting(dataset, _other_rate(dataset, fps))
    times = Clock(parts["testing"])
    dataset = replace(dataset, **parts, fps=fps or dataset.fps, times=times)
    scenes = classes = None
    if dataset.name in ("shanghaitech", *synthetic.SCENE_SETS):  # names are SCENE_NUMBER
        scenes = {source.name: source.name.split("_")[0] for source in dataset.testing}
    events = annotated.events_of(dataset)
    if dataset.name == "ucf_crime":
        classes = ucf_crime.classes((*dataset.training, *dataset.testing))
    elif events is not None:
        classes = annotated.classes_of(events)
    return replace(dataset, scenes=scenes, classes=classes, events=events)


def _other_rate(dataset: Dataset, fps: float | None) -> str | None:
    """What is said where a rate is given and films have another one."""
    films = any(source.file for source in dataset.testing)
    if not (fps and dataset.fps and films) or abs(fps / dataset.fps - 1) < 0.01:
        return None
    return (
        f"{fps:g} frames a second are given, but the films have {dataset.fps:g}: labels in seconds "
        "go by the films' own times; where these are wrong write the labels in frames"
    )


def exclusions(name: str) -> dict[str, dict[str, tuple[range, ...]]]:
    """What may be left out of a set's training by `data.exclude`: its name → video → positions."""
    return {"hf2vad": avenue.unclean()} if name == "avenue" else {}
