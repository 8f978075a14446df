"""A raw data set examined whole: every frame decoded, every label source read and compared.

Source: datasets.md («prepare and prepare --check»).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from vad_jax.datasets import Dataset, Published, Truth, open_dataset, truths
from vad_jax.datasets import check as videos
from vad_jax.datasets.check import Row
from vad_jax.datasets.folder import is_junk, natural, shown
from vad_jax.datasets import published as published_of
from vad_jax.datasets.raw.published import by_name
from vad_jax.evaluation import read_labels
from vad_jax.evaluation.truth.agreement import compare
from vad_jax.evaluation.truth.labels import digest
from vad_jax.evaluation.truth.masks import MaskFacts, mask_facts, mask_place, no_masks
from vad_jax.evaluation.truth.temporal import read_annotations
from vad_jax.types import DataError


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
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> Examined:
    """Opens a raw data set and examines it against what is published of it.

    Args:
      name: as `data.name`.
      root: its folder.
      labels: the label source that is used instead of the one found.
      on_bad_frame: as for `examine`.
      progress: whether a bar is shown.

    Raises:
      DataError: no folder, no known layout, or names that cannot be ordered.
    """
    dataset = open_dataset(name, root, labels=labels)
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
    found = Examined(dataset, published, rows, faults=faults)
    found.notes += published.remarks if published else ()
    _read_labels(found, progress=progress)
    found.seconds = round(time.perf_counter() - began, 1)
    return found


def _read_labels(found: Examined, *, progress: bool) -> None:
    """Reads every label source, notes what is wrong with each, and compares every pair."""
    dataset = found.dataset
    tests = [row for row in found.rows if row.split == "test" and row.frames]
    lengths = {row.video: row.frames for row in tests}
    kinds: dict[str, str] = {}
    for truth in truths(dataset):
        name = _short(truth.path, dataset.root)
        if truth.path == dataset.labels:
            found.used = name
        if strays := _strays(truth, dataset):
            found.faults.append(
                f"{name} knows {shown(strays)}, unknown here: no video has that name. Put the "
                "missing video there, or remove what does not belong to the set."
            )
        if truth.kind == "masks":
            labels = _read_masks(found, truth.path, tests, progress=progress)
        elif not lengths:
            continue
        else:
            fps = dict.fromkeys(lengths, dataset.fps) if dataset.fps else None
            if truth.kind == "annotation":
                found.faults += _annotated(truth.path, found.published)
            try:
                labels = read_labels(truth.path, lengths, fps=fps).values
            except DataError as error:
                found.faults.append(str(error))
                continue
        found.labels[name], kinds[name] = labels, truth.kind
    if dataset.testing and not dataset.labels:
        said = (
            "No labels of the test videos were found: give --labels, or the videos are only scored."
        )
        (found.faults if found.published else found.notes).append(said)
    columns = _count(found, tests, kinds)
    _compare(found, tests, kinds, columns)


def _strays(truth: Truth, dataset: Dataset) -> list[str]:
    """Names of which a source has a file or folder of their own, but which no video has."""
    suffix = {"labels": ".npy", "masks": ".npy", "tracks": ".txt"}.get(truth.kind)
    scenes = dataset.name.startswith("synthetic_")  # one folder holds the truth of several sets
    if suffix is None or scenes or not truth.path.is_dir():
        return []
    names = [source.name for source in (*dataset.training, *dataset.testing)]
    endings = {suffix: Path.is_file}
    if truth.kind == "masks":
        endings |= {"_gt": Path.is_dir, "_label.mat": Path.is_file}
    here = [
        (place / entry.name.removesuffix(ending)).as_posix()
        for place in {Path(name).parent for name in names}
        for ending, is_kind in endings.items()
        for entry in (truth.path / place).glob(f"*{ending}")
        if is_kind(entry) and not is_junk(entry.name) and not _OF_ALL.match(entry.name)
    ]
    known = {natural(name) for name in names}
    return [name for name in here if natural(name) not in known]


_OF_ALL = re.compile(r"(frame_)?labels")  # begins the name of a file that labels all videos


def _annotated(path: Path, published: Published | None) -> list[str]:
    """The list of test videos against the annotation's lines, by name."""
    if published is None or not published.testing.lengths:
        return []
    try:
        lines = read_annotations(path)
    except DataError:
        return []  # said where the labels are read
    listed = published.testing.lengths.keys()
    pairs = (
        (sorted(listed - lines.keys()), "are in the list of test videos and not in"),
        (sorted(lines.keys() - listed), "are not in the list of test videos, but in"),
    )
    return [
        f"{len(names)} videos {what} {path}: {', '.join(names[:5])}{' …' if names[5:] else ''}. "
        "List and annotation belong together: take both from the data set's makers."
        for names, what in pairs
        if names
    ]


def _read_masks(
    found: Examined, folder: Path, tests: Sequence[Row], *, progress: bool
) -> dict[str, np.ndarray]:
    """Labels by the masks of each video that has them, and what is wrong with each."""
    masked = found.published.masked if found.published else None
    masked = None if masked is None else {natural(name) for name in masked}
    labels = {}
    for row in tqdm(tests, desc="masks", unit="video", disable=None if progress else True):
        place = mask_place(folder, row.video)
        if place is None:
            if masked is None or natural(row.video) in masked:
                row.blame("missing", no_masks(folder, row.video))
            continue
        try:
            facts = mask_facts(folder, row.video)
        except DataError as error:
            row.blame("different", str(error))
            continue
        row.masks = len(facts.labels)
        labels[row.video] = facts.labels
        if row.masks != row.frames:
            verdict = "missing" if row.masks < row.frames else "different"
            row.blame(verdict, f"{row.frames} frames but {row.masks} masks ({place})")
        _check_masks(row, facts, place)
    return labels


def _check_masks(row: Row, facts: MaskFacts, place: Path) -> None:
    for size, frame in facts.sizes.items():
        if row.size and size != row.size:
            row.blame(
                "different",
                f"frame {frame}: the mask is {size[0]}x{size[1]} pixels, the frame "
                f"{row.size[0]}x{row.size[1]} ({place})",
            )
    others = sorted(value for value in facts.values if value != 0)
    if len(others) > 1:
        shown = ", ".join(f"{value:g}" for value in others[:4]) + (" …" if others[4:] else "")
        first = sorted(facts.values[value] for value in others)[1]
        advice = "Masks saved as JPEG are spoilt: take" if place.is_dir() else "Take"
        row.blame(
            "different",
            f"frame {first}: masks hold the values 0, {shown}; they have two, 0 and one other. "
            f"{advice} the originals ({place})",
        )


def _count(found: Examined, tests: Sequence[Row], kinds: Mapping[str, str]) -> dict[str, str]:
    """Compares the anomalous frames of each video by each source with the published figure.

    Returns:
      Label source → the published column that it was compared with, else its kind.
    """
    published = found.published.anomalous if found.published else {}
    tables = {column: by_name(counts) for column, counts in published.items()}
    columns = {}
    for name, labels in found.labels.items():
        here = {natural(video): int(of.sum()) for video, of in labels.items()}
        columns[name] = column = _column(kinds[name], here, tables)
        for row in tests:
            if row.video not in labels:
                continue
            number, known = here[natural(row.video)], tables.get(column, {})
            if name == found.used:
                row.anomalous = number
            if number != known.get(natural(row.video), number):
                row.blame(
                    "different",
                    f"{number} anomalous frames, {known[natural(row.video)]} published ({name})",
                )
    return columns


def _column(kind: str, here: Mapping, tables: Mapping[str, Mapping]) -> str:
    """The published column for a source: the one that it equals, else the one of its own kind.

    An array of labels may have been made from masks, and then has their counts.
    """
    if kind in tables:
        for column in sorted(tables, key=lambda column: column != kind):
            if all(tables[column].get(video) == number for video, number in here.items()):
                return column
    return kind


def _compare(
    found: Examined, tests: Sequence[Row], kinds: Mapping[str, str], columns: Mapping[str, str]
) -> None:
    """Compares every pair of sources frame by frame; the rows get how many agree."""
    known = found.published.disagreements if found.published else {}
    differing: dict[str, Mapping[str, int]] = {}  # from the used source
    for pair in combinations(found.labels, 2):
        said = compare(*(found.labels[name] for name in pair))
        if said is None:
            continue
        if found.used in pair:
            differing[pair[pair[0] == found.used]] = said.frames
        line = (
            f"{pair[0]} and {pair[1]} differ on {said.total} frames of {len(said.frames)} videos, "
            f"first {said.video}, frame {said.frame} (0-based)"
        )
        if said.total == known.get(frozenset(columns[name] for name in pair)):
            found.notes.append(f"{line}: so it is published")
            continue
        found.faults.append(line + _hint(pair, kinds, said.shift))
        for row in tests:
            if row.video in said.frames:
                row.blame(
                    "different",
                    f"{pair[0]} and {pair[1]} differ on {said.frames[row.video]} frames",
                )
    for row in tests:
        labelling = [name for name, labels in found.labels.items() if row.video in labels]
        if found.used in labelling:
            length = len(found.labels[found.used][row.video])
            agreeing = [
                name
                for name in labelling
                if len(found.labels[name][row.video]) == length
                and row.video not in differing.get(name, {})
            ]
            row.agreeing = len(agreeing), len(labelling)


def _hint(pair: tuple[str, str], kinds: Mapping[str, str], shift: int | None) -> str:
    """The advice for labels that are off by one frame, or nothing."""
    if shift is None:
        return ""
    if kinds[pair[1]] == "masks":
        return f"; labels agree with the masks when shifted by {shift}"
    if kinds[pair[0]] == "masks":
        return f"; labels agree with the masks when shifted by {-shift}"
    return f"; they agree when {pair[0]} is shifted by {shift}"


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
