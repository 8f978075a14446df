"""A raw data set examined whole: every frame decoded, every label source read and compared.

Source: datasets.md («prepare and prepare --check»).
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from vad_jax.data.levels import Levels
from vad_jax.datasets import Dataset, Published, open_dataset
from vad_jax.datasets import check as videos
from vad_jax.datasets import published as published_of
from vad_jax.datasets.check import Row
from vad_jax.evaluation.truth.labels import digest
from vad_jax.runs.label_sources import read_sources


@dataclass
class Examined:
    """What a check has found.

    Attributes:
      dataset, published: what was looked at, and compared with (None: nothing is published).
      rows: one a video.
      labels: label source → test video → `[F]`; the source that is used first.
      used: name of the label source that is used, or None.
      faults: what is wrong with the set as a whole, a sentence each.
      notes: what is not wrong, but to be known.
      seconds: that the check took.
    """

    dataset: Dataset
    published: Published | None
    rows: list[Row]
    labels: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    used: str | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.faults and all(row.verdict == "ok" for row in self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 over names, lengths and sizes of all videos, and the labels that are used."""
        videos = [(row.split, row.video, row.frames, row.size) for row in self.rows]
        facts = [videos, digest(self.labels.get(self.used, {}))]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def check(
    name: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    fps: float | None = None,
    levels: Levels | None = None,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> Examined:
    """Opens a raw data set and examines it against what is published of it.

    Args:
      name: as `data.name`.
      root: its folder.
      labels: the label source that is used instead of the one found.
      fps: frames a second, where the data do not say.
      levels: the range of pictures with more than 8 bits a value.
      on_bad_frame: as for `examine`.
      progress: whether a bar is shown.

    Raises:
      DataError: no folder, no known layout, another set, names that cannot be ordered, or files
        that are Git LFS pointers and the like.
    """
    dataset = open_dataset(name, root, labels=labels, fps=fps, levels=levels)
    return examine(dataset, published_of(dataset), on_bad_frame=on_bad_frame, progress=progress)


def examine(
    dataset: Dataset,
    published: Published | None,
    *,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> Examined:
    """Decodes every video, reads every label source, and compares all of it.

    Args:
      dataset: as `open_dataset` gives it.
      published: what to compare with, or None.
      on_bad_frame: `error`: a frame that cannot be read is a fault; `skip`: it is noted.
      progress: whether a bar is shown.
    """
    began = time.perf_counter()
    rows, faults = videos.rows(dataset, published, on_bad_frame=on_bad_frame, progress=progress)
    truth = read_sources(dataset, published, rows, progress=progress)
    return Examined(
        dataset,
        published,
        rows,
        labels=truth.labels,
        used=truth.used,
        faults=faults + truth.faults,
        notes=[*(published.remarks if published else ()), *truth.notes],
        seconds=round(time.perf_counter() - began, 1),
    )
