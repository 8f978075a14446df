"""Raw data sets by name: what lies in a folder, found without decoding a frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vad_jax.data import synthetic, synthetic_folder
from vad_jax.data.datasets.ucsd import open_ucsd
from vad_jax.data.decoder import frame_rate
from vad_jax.data.folder import Dataset, Source, open_folder
from vad_jax.types import DataError

__all__ = ["NAMES", "Dataset", "Source", "open_dataset"]

NAMES = ("ucsd_ped1", "ucsd_ped2", "folder", "synthetic")


def open_dataset(name: str, root: str | Path, *, labels: str | Path | None = None) -> Dataset:
    """Finds the videos, labels and masks of a raw folder.

    Args:
      name: one of `NAMES`; `synthetic` is written first where its folder does not exist.
      root: the folder, or for UCSD also the folder that holds it.
      labels: file or folder with the truth, instead of what the search would find.

    Raises:
      DataError: an unknown name, or a folder that is missing, empty or of no known layout.
    """
    root = Path(root).expanduser()
    if name in ("ucsd_ped1", "ucsd_ped2"):
        return open_ucsd(name.removeprefix("ucsd_"), root, labels=labels)
    if name == "synthetic":
        if not root.exists():
            synthetic_folder.write(root)
        return replace(open_folder(name, root, labels=labels), fps=synthetic.FPS)
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
