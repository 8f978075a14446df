"""Every source of a raw set's labels read, counted, and compared with every other.

Source: datasets.md («prepare and prepare --check»).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from vad_jax import messages
from vad_jax.datasets import Dataset, Published, Truth, truths
from vad_jax.datasets.check import Row
from vad_jax.datasets.names import is_document, is_junk, shown
from vad_jax.datasets.raw.counts import by_name
from vad_jax.evaluation import read_labels
from vad_jax.evaluation.truth.agreement import compare
from vad_jax.evaluation.truth.label_files import are_tracks
from vad_jax.evaluation.truth.masks import MaskFacts, mask_facts, mask_place, no_masks
from vad_jax.evaluation.truth.temporal import read_annotations
from vad_jax.spelling import composed, counted, lying, natural
from vad_jax.types import DataError


@dataclass
class Sources:
    """What the sources of labels say.

    Attributes:
      dataset, published: whose they are, and what they are compared with.
      tests: the rows of the test videos that are there.
      labels: source → test video → `[F]`; the one that is used first.
      kinds: source → what it is (`labels`, `masks`, `tracks`, `annotation`).
      used: name of the source that is used, or None.
      faults: what is wrong with the set as a whole, a sentence each.
      notes: what is not wrong, but to be known.
    """

    dataset: Dataset
    published: Published | None
    tests: Sequence[Row]
    labels: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    used: str | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_sources(
    dataset: Dataset, published: Published | None, rows: Sequence[Row], *, progress: bool = True
) -> Sources:
    """Reads every source of labels, notes what is wrong with each, and compares every pair.

    Args:
      dataset: as opened.
      published: what to compare with, or None.
      rows: of all videos; what concerns one video is added to its row.
      progress: whether a bar is shown.
    """
    tests = [row for row in rows if row.split == "test" and row.frames]
    found = Sources(dataset, published, tests)
    for truth in truths(dataset):
        _read(found, truth, progress=progress)
    if dataset.testing and not dataset.labels:
        said = (
            "No labels of the test videos were found: give --labels, or the videos are only scored."
        )
        (found.faults if published else found.notes).append(said)
    _compare(found, _count(found))
    return found


def _read(found: Sources, truth: Truth, *, progress: bool) -> None:
    """One source, and what is wrong with it."""
    dataset, name = found.dataset, _short(truth.path, found.dataset.root)
    lengths = {row.video: row.frames for row in found.tests}
    if truth.path == dataset.labels:
        found.used = name
    if strays := _strays(truth, dataset):
        found.faults.append(
            f"{name} knows {shown(strays)}, unknown here: no video has that name. Put the "
            "missing video there, or remove what does not belong to the set."
        )
    if truth.kind == "masks":
        labels = _read_masks(found, truth.path, progress=progress)
    elif not lengths:
        return
    else:
        fps = dict.fromkeys(lengths, dataset.fps) if dataset.fps else None
        if truth.kind == "annotation":
            found.faults += _annotated(truth.path, found.published)
        try:
            labels = read_labels(truth.path, lengths, fps=fps, times=dataset.times).values
        except DataError as error:
            found.faults.append(str(error))
            return
    found.labels[name], found.kinds[name] = labels, truth.kind


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
        composed((place / entry.name.removesuffix(ending)).as_posix())
        for place in {Path(name).parent for name in names}
        for ending, is_kind in endings.items()
        for entry in lying(truth.path, place.as_posix()).glob(f"*{ending}")
        if is_kind(entry) and not _of_no_video(entry)
    ]
    known = {natural(name) for name in names}
    return [name for name in here if natural(name) not in known]


def _of_no_video(entry: Path) -> bool:
    """Whether a file or folder beside the truth of videos is not meant to be of one."""
    return (
        is_junk(entry.name)
        or is_document(entry)
        or _OF_ALL.match(entry.name) is not None
        or (entry.suffix == ".txt" and not are_tracks(entry))
    )


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
        (listed - lines.keys(), "of the list of test videos without a line in"),
        (lines.keys() - listed, "outside the list of test videos with a line in"),
    )
    return [
        f"{counted(len(names), 'video')} {what} {path}: {shown(names)}. "
        "List and annotation belong together: take both from the data set's makers."
        for names, what in pairs
        if names
    ]


def _read_masks(found: Sources, folder: Path, *, progress: bool) -> dict[str, np.ndarray]:
    """Labels by the masks of each video that has them, and what is wrong with each."""
    masked = found.published.masked if found.published else None
    masked = None if masked is None else {natural(name) for name in masked}
    labels = {}
    hidden = {} if progress else {"disable": True}
    for row in messages.progress(found.tests, desc="masks", unit="video", **hidden):
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
            said = f"{counted(row.frames, 'frame')} but {counted(row.masks, 'mask')} ({place})"
            row.blame(verdict, said)
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
        some = ", ".join(f"{value:g}" for value in others[:4]) + (" …" if others[4:] else "")
        first = sorted(facts.values[value] for value in others)[1]
        why = (
            "JPEG blurs edges, and evaluation counts pixels nearer to white than to black"
            if facts.blurred
            else "were they resized, or do they number things? Evaluation refuses them"
        )
        row.blame(
            "different",
            f"frame {first}: masks hold the values 0, {some}; they have two, 0 and one other: "
            f"{why}. Take the originals ({place})",
        )


def _count(found: Sources) -> dict[str, str]:
    """Compares the anomalous frames of each video by each source with the published figure.

    Returns:
      Label source → the published column that it was compared with, else its kind.
    """
    published = found.published.anomalous if found.published else {}
    tables = {column: by_name(counts) for column, counts in published.items()}
    columns = {}
    for name, labels in found.labels.items():
        here = {natural(video): int(of.sum()) for video, of in labels.items()}
        columns[name] = column = _column(found.kinds[name], here, tables)
        for row in found.tests:
            if row.video not in labels:
                continue
            number, known = here[natural(row.video)], tables.get(column, {})
            if name == found.used:
                row.anomalous = number
            if number != known.get(natural(row.video), number):
                row.blame(
                    "different",
                    f"{counted(number, 'anomalous frame')}, {known[natural(row.video)]} published "
                    f"({name})",
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


def _compare(found: Sources, columns: Mapping[str, str]) -> None:
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
            f"{pair[0]} and {pair[1]} differ on {counted(said.total, 'frame')} of "
            f"{counted(len(said.frames), 'video')}, first {said.video}, frame {said.frame} "
            "(0-based)"
        )
        if said.total == known.get(frozenset(columns[name] for name in pair)):
            found.notes.append(f"{line}: so it is published")
            continue
        found.faults.append(line + _hint(pair, found.kinds, said.shift))
        for row in found.tests:
            if row.video in said.frames:
                row.blame(
                    "different",
                    f"{pair[0]} and {pair[1]} differ on {counted(said.frames[row.video], 'frame')}",
                )
    for row in found.tests:
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
