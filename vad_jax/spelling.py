"""How names are compared and numbers of things are written, the same in every room."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath


def composed(name: str) -> str:
    """A name with each accent in its letter (NFC), as names are compared.

    Some file systems take the two apart (macOS), so that names which look alike differ.

    >>> composed("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def is_text(name: str) -> bool:
    """Whether a name is text that a line can show: UTF-8, no control characters.

    >>> is_text("two words"), is_text("two\\nlines"), is_text("\\udce9")
    (True, False, False)
    """
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def natural(name: str) -> tuple[str | int, ...]:
    """A sort key that compares digits as numbers: `2` before `10`, `1` equal to `001`."""
    return tuple(int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name))


def lying(folder: Path, name: str) -> Path:
    """Where an entry lies below a folder, however the accents of its name are written there.

    Args:
      folder: to look in.
      name: of the entry, a path below the folder.

    Returns:
      Its path; where there is none, the path with the name as it was given.
    """
    for part in PurePosixPath(name).parts:
        place = folder / part
        if not part.isascii() and folder.is_dir() and not place.exists():
            alike = (e for e in folder.iterdir() if composed(e.name) == composed(part))
            place = next(alike, place)
        folder = place
    return folder


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "video"), counted(2, "video")
    ('1 video', '2 videos')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
