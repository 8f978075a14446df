"""The published data sets by name: how each is opened, and what is published of it."""

from __future__ import annotations

from pathlib import Path

from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.raw import avenue, shanghaitech, ucf_crime, ucsd
from vad_jax.datasets.raw.counts import Published

NAMES = ("avenue", "shanghaitech", "ucf_crime", "ucsd_ped1", "ucsd_ped2")


def open_named(name: str, root: Path, *, labels: str | Path | None = None) -> Dataset:
    """The set of one of `NAMES`; arguments and errors as `catalogue.open_dataset`'s."""
    if name == "avenue":
        return avenue.open_avenue(root, labels=labels)
    if name == "shanghaitech":
        return shanghaitech.open_shanghaitech(root, labels=labels)
    if name == "ucf_crime":
        return ucf_crime.open_ucf_crime(root, labels=labels)
    return ucsd.open_ucsd(name.removeprefix("ucsd_"), root, labels=labels)


def published(dataset: Dataset) -> Published | None:
    """What is published of a data set; None for a user's own folder and the synthetic sets."""
    if dataset.name in ("ucsd_ped1", "ucsd_ped2"):
        return ucsd.published(dataset.name.removeprefix("ucsd_"), dataset.layout)
    if dataset.name == "avenue":
        return avenue.published()
    if dataset.name == "shanghaitech":
        return shanghaitech.published()
    if dataset.name == "ucf_crime":
        return ucf_crime.published(dataset.root)
    return None
