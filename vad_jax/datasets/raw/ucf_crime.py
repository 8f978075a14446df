"""UCF-Crime: films named by their class, two lists that part them, one annotation of the test set.

The archives unpack to many folders, so a film is found by its name and not by its path. Training
labels are a class a video, which the name says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vad_jax.data.source import Source
from vad_jax.data.suffixes import VIDEOS
from vad_jax.datasets.annotated import ANNOTATIONS
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import check_root, given_labels
from vad_jax.datasets.names import inside, shown
from vad_jax.datasets.raw.counts import Part, Published
from vad_jax.datasets.walk import Walk
from vad_jax.disguise import check_file
from vad_jax.spelling import composed, counted
from vad_jax.types import DataError

FPS = 30.0
SIZE = (240, 320)
NORMAL = "Normal"
LISTS = ("Anomaly_Train.txt", "Anomaly_Test.txt")
VIDEOS_OF = {  # class → videos in the training list, in the test list
    "Abuse": (48, 2),
    "Arrest": (45, 5),
    "Arson": (41, 9),
    "Assault": (47, 3),
    "Burglary": (87, 13),
    "Explosion": (29, 21),
    "Fighting": (45, 5),
    NORMAL: (800, 150),
    "RoadAccidents": (127, 23),
    "Robbery": (145, 5),
    "Shooting": (27, 23),
    "Shoplifting": (29, 21),
    "Stealing": (95, 5),
    "Vandalism": (45, 5),
}


class Listed(NamedTuple):
    """One line of a list.

    Attributes:
      event: the video's class, `Normal` for normal ones.
      folder: the folder that the list names, or an empty text.
    """

    event: str
    folder: str


def event_class(name: str) -> str:
    """The class that a video's name says.

    >>> event_class("RoadAccidents017_x264"), event_class("Normal_Videos_003_x264")
    ('RoadAccidents', 'Normal')

    Raises:
      DataError: the name begins with none of the set's classes.
    """
    event = re.match(r"[A-Za-z]*", name)[0]
    if event not in VIDEOS_OF:
        raise DataError(
            f"Video {name} is of no class of UCF-Crime: its name begins with none of "
            f"{', '.join(VIDEOS_OF)}."
        )
    return event


def classes(videos: Iterable[Source]) -> dict[str, str]:
    """The class of every video that is not normal, as the names say.

    Raises:
      DataError: as `event_class`.
    """
    events = {video.name: event_class(video.name) for video in videos}
    return {name: event for name, event in events.items() if event != NORMAL}


def read_list(file: str | Path) -> dict[str, Listed]:
    """The videos of a list (`Abuse/Abuse001_x264.mp4`, one a line) by name without the suffix.

    Raises:
      DataError: the file is no text; or by its line: no video, one of no class, a folder of
        another class, a video twice.
    """
    found: dict[str, Listed] = {}
    try:
        check_file(Path(file))
        text = Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no text in UTF-8 ({error}). Save it as UTF-8.") from None
    for number, line in enumerate(text.splitlines(), 1):
        line = composed(line.strip().replace("\\", "/"))
        if not line or line.startswith("#"):
            continue
        where, path = f"{file}, line {number}", PurePosixPath(line)
        if path.suffix.lower() not in VIDEOS:
            raise DataError(
                f"{where} reads {line!r}. Expected a video like Abuse/Abuse001_x264.mp4."
            )
        if path.stem in found:
            raise DataError(f"{where} lists {path.stem} a second time: remove one of the lines.")
        try:
            event = event_class(path.stem)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        if path.parent.name in VIDEOS_OF and path.parent.name != event:
            raise DataError(
                f"{where} has {path.name} in the folder {path.parent.name}: its name says {event}."
            )
        found[path.stem] = Listed(event, path.parent.name)
    return found


def open_ucf_crime(
    root: Path,
    *,
    labels: str | Path | None = None,
    lists: tuple[str, str] = LISTS,
) -> Dataset:
    """UCF-Crime by its lists of training and test videos.

    Listed videos that are not there are noted and left out, so that a part of the set can be used;
    videos of neither list are passed over.

    Args:
      root: the folder that holds films, lists and annotation, at any depth.
      labels: the annotation's path instead of the search.
      lists: names of the lists: one of the four folds is `("train_001.txt", "test_001.txt")`.

    Raises:
      DataError: no folder, no list, no listed film, a bad line, a video in both lists, or films
        of one name that differ.
    """
    check_root(root)
    walk = Walk(root)
    files = list(_files(walk, root))
    texts = {file.name: file for file in reversed(files) if file.suffix == ".txt"}
    listed = _lists(root, texts, lists)
    films: dict[str, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in VIDEOS:
            films.setdefault(composed(file.stem), []).append(file)
    parts = []
    for name, videos in zip(lists, listed, strict=True):
        found = tuple(
            Source(video, None, _film(video, line, films[video]))
            for video, line in videos.items()
            if video in films
        )
        if len(found) < len(videos):
            missing = shown(video for video in videos if video not in films)
            walk.notes.append(
                f"{name} lists {counted(len(videos), 'video')}, {len(found)} are there; missing "
                f"{missing}"
            )
        parts.append(found)
    if not any(parts):
        raise DataError(
            f"{root} holds none of the videos of {' and '.join(lists)}, like "
            f"{next(iter(listed[0] or listed[1]), '-')}.mp4; found {shown(films)}."
        )
    unlisted = films.keys() - listed[0].keys() - listed[1].keys()
    if unlisted:
        number = counted(len(unlisted), "video")
        walk.notes.append(f"in neither list, {number}: {shown(unlisted)}")
    annotation = next((texts[name] for name in ANNOTATIONS if name in texts), None)
    return Dataset(
        name="ucf_crime",
        layout="official",
        root=root,
        training=parts[0],
        testing=parts[1],
        labels=given_labels(labels) if labels else annotation,
        masks=None,
        fps=FPS,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


def published(root: Path, *, lists: tuple[str, str] = LISTS) -> Published:
    """The videos that the lists of a folder name, and how the lists differ from the published ones.

    Args:
      root: as for `open_ucf_crime`.
      lists: names of the lists.
    """
    files = _files(Walk(root), root)
    texts = {file.name: file for file in reversed(list(files)) if file.suffix == ".txt"}
    listed = _lists(root, texts, lists)
    train, test = (Part(len(part), None, dict.fromkeys(part)) for part in listed)
    return Published(
        training=train,
        testing=test,
        size=SIZE,
        own_names=True,
        faults=tuple(_list_faults(listed)) if lists == LISTS else (),
    )


def _list_faults(listed: tuple[Mapping[str, Listed], ...]) -> Iterator[str]:
    for part, (name, videos) in enumerate(zip(LISTS, listed, strict=True)):
        here = Counter(line.event for line in videos.values())
        for event, numbers in VIDEOS_OF.items():
            if here[event] != numbers[part]:
                listed_here = f"{name} lists {counted(here[event], 'video')} of {event}"
                yield f"{listed_here}, {numbers[part]} published"


def _files(walk: Walk, folder: Path) -> Iterator[Path]:
    """Every file below a folder in natural order, junk left out."""
    for entry in walk.entries(folder):
        if entry.is_dir():
            yield from _files(walk, entry)
        else:
            yield entry


def _lists(
    root: Path, texts: Mapping[str, Path], names: tuple[str, str]
) -> tuple[dict[str, Listed], dict[str, Listed]]:
    missing = [name for name in names if name not in texts]
    if missing:
        raise DataError(
            f"{root} is not UCF-Crime as it can be read: {' and '.join(missing)} must lie in it, "
            f"at any depth; found {inside(root)}."
        )
    train, test = (read_list(texts[name]) for name in names)
    if both := train.keys() & test.keys():
        raise DataError(
            f"{texts[names[0]]} and {texts[names[1]]} both list {counted(len(both), 'video')}: "
            f"{shown(both)}. What is tested must not be trained on. An altered test list is in "
            "circulation: take the one that belongs to the annotation."
        )
    return train, test


def _film(name: str, line: Listed, films: list[Path]) -> Path:
    """The film of that name; of several the one in the listed folder, else any of equal copies."""
    if len(films) == 1:
        return films[0]
    there = [film for film in films if film.parent.name == line.folder]
    if len(there) == 1:
        return there[0]
    films = there or films
    if len({film.stat().st_size for film in films}) > 1:
        raise DataError(
            f"Video {name} is there as {' and as '.join(map(str, films))}, of different sizes. "
            "Films are found by name: remove one."
        )
    return films[0]
