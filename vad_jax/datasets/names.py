"""Names of videos and of their images: their order, their numbers, what is junk among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vad_jax.data.source import Source
from vad_jax.spelling import natural
from vad_jax.types import DataError

LEFT = frozenset(  # by file managers and the like, whatever their case
    [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "lost+found",
        "$recycle.bin",
    ]
)
DOCUMENTS = ("readme", "license", "licence", "copying", "copyright", "notice", "changelog")
TEXTS = frozenset({"", ".txt", ".md", ".rst", ".rtf", ".pdf", ".htm", ".html", ".doc", ".docx"})


def is_junk(name: str) -> bool:
    """Whether an editor, a file manager or a broken download left an entry of this name."""
    return (
        name.startswith(".")
        or name.endswith(("~", ".tmp", ".part", ".crdownload"))
        or name.casefold() in LEFT
    )


def is_document(entry: Path) -> bool:
    """Whether a file is written for people, by its name: a readme, a licence."""
    named = entry.stem.casefold().startswith(DOCUMENTS) and entry.suffix.casefold() in TEXTS
    return named and entry.is_file()


def check_case(place: Path) -> None:
    """Raises DataError where a file or folder is not there, but one that differs in case is."""
    if place.exists() or not place.parent.is_dir():
        return
    for entry in place.parent.iterdir():
        if entry.name.casefold() == place.name.casefold():
            raise DataError(f"{entry}: rename it to {place.name}, names are told apart by case.")


def shown(names: Iterable[str]) -> str:
    """The first five of some names, for a message."""
    names = sorted(names, key=lambda name: (natural(name), name))
    if not names:
        return "nothing"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def inside(folder: Path) -> str:
    """The first five names in a folder, junk left out, for a message."""
    return shown(entry.name for entry in folder.iterdir() if not is_junk(entry.name))


def prefix(path: Path) -> str:
    """An image's name up to the number at its end."""
    return re.sub(r"\d+$", "", path.stem)


def number(path: Path) -> int:
    """The number at the end of an image's name, 0 where there is none."""
    return int(path.stem[len(prefix(path)) :] or 0)


def renumbered(path: Path, number: int) -> str:
    """An image's name with another number, of the same width."""
    width = len(path.stem) - len(prefix(path))
    return f"{prefix(path)}{number:0{width}d}{path.suffix}"


def first_missing(source: Source, *, first: int, frames: int) -> str | None:
    """The name of the first of `frames` images, counted from `first`, that a video lacks.

    Sets are repacked with names from 0 and from 1: where the name before `first`, or the one after
    the last, is there, that is what the names are counted from.
    """
    if not source.images:
        return None
    present = {number(path) for path in source.images}
    if first and first - 1 in present:
        first -= 1
    elif first not in present and first + frames in present:
        first += 1
    absent = next((n for n in range(first, first + frames) if n not in present), None)
    return None if absent is None else renumbered(source.images[0], absent)
