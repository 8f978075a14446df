"""Which published set a folder looks like, by the names and lengths of its videos."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vad_jax.data.source import Source
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.raw.counts import by_name
from vad_jax.datasets.raw.named import NAMES, open_named, published
from vad_jax.spelling import counted, natural
from vad_jax.types import DataError


class Likeness(NamedTuple):
    """How much of a published set is there; only splits with published names are looked at.

    Attributes:
      named: its videos that are there by name.
      alike: of those the ones with the published number of images; films of a set of films by
        name alone.
      of: its videos.
    """

    named: int
    alike: int
    of: int

    @property
    def share(self) -> float:
        """The part of the set that is there, 0 to 1."""
        return self.alike / self.of if self.of else 0.0


def likeness(dataset: Dataset) -> Likeness | None:
    """How much of the set whose name it bears a folder holds; None where no names are published."""
    known = published(dataset)
    if known is None:
        return None
    named = alike = of = 0
    for sources, part in ((dataset.training, known.training), (dataset.testing, known.testing)):
        if not sources or not part.lengths:
            continue
        lengths = by_name(part.lengths)
        here = [source for source in sources if natural(source.name) in lengths]
        of, named = of + len(lengths), named + len(here)
        alike += sum(_alike(source, lengths[natural(source.name)], dataset) for source in here)
    return Likeness(named, alike, of) if of else None


def _alike(source: Source, frames: int | None, dataset: Dataset) -> bool:
    if source.images is None:
        return dataset.name == "ucf_crime" or dataset.layout == "official"
    return frames in (None, len(source.images))


def looks_like(root: Path, *, but: str) -> str | None:
    """The name of the published set of which a folder holds at least half, or None.

    Args:
      root: the folder.
      but: the name of a set that it is not.
    """
    best = {}
    for name in NAMES:
        if name != but:
            try:
                found = likeness(open_named(name, root))
            except DataError:
                continue
            if found and found.share >= 0.5:
                best[name] = found.share
    return max(best, key=best.__getitem__, default=None)


def check_likeness(dataset: Dataset, root: Path) -> str | None:
    """What is to be said of a folder that holds little of the set whose name it was given.

    Args:
      dataset: as opened under that name.
      root: as the user gave it.

    Returns:
      A note, or None where at least half of the set is there.

    Raises:
      DataError: it looks like another set, or no video is called as one of the set.
    """
    found = likeness(dataset)
    if found is None or found.share >= 0.5:
        return None
    if other := looks_like(root, but=dataset.name):
        raise DataError(f"{root} looks like {other}, not {dataset.name}: {advice(other)}.")
    set_of = f"{counted(found.of, 'video')} of {dataset.name}"
    if not found.named:
        raise DataError(
            f"{root} holds none of the {set_of}, by their names. Videos of your own are no "
            "published set: data.name=folder (--data=folder)."
        )
    return (
        f"of the {set_of} {found.alike} are here with their names and lengths. Where these are "
        "videos of your own, use data.name=folder (--data=folder)"
    )


def advice(name: str) -> str:
    """How to name a set."""
    return f"give --data={name} (data.name={name})"
