"""The anomalies that a truth names, each with its frames and its class.

Two forms tell classes: `labels.csv` with its fourth column, and UCF-Crime's annotation. They are
read when somebody first asks, so that a set whose labels are spoilt can still be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from vad_jax.datasets.dataset import Dataset, Event
from vad_jax.spelling import composed
from vad_jax.types import DataError

Value = TypeVar("Value")

TABLE = "labels.csv"
ANNOTATIONS = (
    "Temporal_Anomaly_Annotation.txt",
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
)


@dataclass(frozen=True, eq=False)
class Told(Mapping[str, Value]):
    """What a file says of some videos, read when it is first asked of one of them.

    Attributes:
      names: of the videos of which the file may speak; for others nothing is read.
      read: `() → {name: value}`; it may raise DataError.
    """

    names: frozenset[str]
    read: Callable[[], Mapping[str, Value]]

    @cached_property
    def _found(self) -> Mapping[str, Value]:
        return self.read()

    def __getitem__(self, name: str) -> Value:
        if name not in self.names:
            raise KeyError(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def events_of(dataset: Dataset) -> Told[tuple[Event, ...]] | None:
    """The anomalies of every test video by the labels in use, or None where they tell no classes.

    Frames are not counted here: an event may end beyond its video.
    """
    labels = dataset.labels
    if labels is None:
        return None
    inside = (labels / name for name in (TABLE, *ANNOTATIONS))
    file = next((path for path in inside if path.is_file()), labels)
    suffix = file.suffix.lower() if file.is_file() else ""
    if suffix == ".csv" and _has_classes(file):
        read = partial(_of_table, file, dataset)
    elif suffix == ".txt":
        read = partial(_of_annotation, file, dataset)
    else:
        return None
    return Told(frozenset(source.name for source in dataset.testing), read)


def classes_of(events: Told[tuple[Event, ...]]) -> Told[str]:
    """The classes of the videos that have events, each class once."""

    def read() -> dict[str, str]:
        kinds = {name: dict.fromkeys(event.kind for event in own) for name, own in events.items()}
        return {name: ",".join(of) for name, of in kinds.items() if of}

    return Told(events.names, read)


def _has_classes(file: Path) -> bool:
    with file.open("rb") as lines:
        header = lines.readline().decode("utf-8-sig", errors="replace")
    return header.rstrip().rpartition(",")[2].strip() == "class"


def _of_table(file: Path, dataset: Dataset) -> dict[str, tuple[Event, ...]]:
    from vad_jax.evaluation.truth.interval_table import read_intervals

    names = [source.name for source in dataset.testing]
    fps = dict.fromkeys(names, dataset.fps) if dataset.fps else None
    found: dict[str, list[Event]] = {name: [] for name in names}
    for row in read_intervals(file, names, fps=fps, times=dataset.times):
        if row.start >= row.end:
            raise DataError(
                f"{row.where} labels frames {row.start} to {row.end} (end exclusive) of "
                f"{row.video}. Write 0-based frames with start < end."
            )
        found[row.video].append(Event(row.start, row.end, row.kind))
    return {name: tuple(events) for name, events in found.items()}


def _of_annotation(file: Path, dataset: Dataset) -> dict[str, tuple[Event, ...]]:
    from vad_jax.evaluation.truth.temporal import read_annotations

    lines = read_annotations(file)
    found = {}
    for source in dataset.testing:
        line = lines.get(composed(PurePosixPath(source.name).name))
        if line is None:
            raise DataError(
                f"{file} has no line for {source.name}. Every test video needs one: the list of "
                "test videos and the annotation belong together."
            )
        found[source.name] = tuple(Event(*span, line.event) for span in line.intervals)
    return found
