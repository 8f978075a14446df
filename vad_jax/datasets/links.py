"""Symbolic links in a raw folder: they may neither leave it nor lead in circles."""

from __future__ import annotations

import os
from pathlib import Path

from vad_jax.types import DataError


def check_link(entry: Path, root: Path, *, dangling: bool = False) -> None:
    """Raises DataError if an entry is a link that leaves the root, leads nowhere or leads back.

    Args:
      entry: a file or folder below the root.
      root: of the videos.
      dangling: whether a link to nowhere within the root is passed, for whom reads it to name.
    """
    if not entry.is_symlink():
        return
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):  # the latter for links in a ring
        if dangling and (entry.parent / entry.readlink()).is_relative_to(root):
            return
        raise DataError(
            f"{entry} is a link to {entry.readlink()}, which is not there. Put the file itself "
            "there, or remove the link."
        ) from None
    if not target.is_relative_to(root.resolve()):
        raise DataError(
            f"{entry} is a link to {target}, outside {root}. "
            "Put the files themselves there, or give the folder that holds both."
        )
    holders = [parent for parent in entry.parents if parent.is_relative_to(root)]
    if any(parent.resolve().is_relative_to(target) for parent in holders):
        raise DataError(
            f"{entry} is a link to {target}, which holds it: its videos would be there again and "
            "again. Remove the link."
        )


def check_links(place: Path, root: Path) -> None:
    """Raises DataError for a link to the outside at or below a place of truth within a root."""
    if not place.is_relative_to(root):
        return  # found beside the root, or named by the user
    for entry in (*reversed(place.parents), place):
        if entry != root and entry.is_relative_to(root):
            check_link(entry, root)
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            check_link(Path(folder, name), root)
