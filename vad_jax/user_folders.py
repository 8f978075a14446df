"""Folders below the user's home, and what stands in for them where there is no home."""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


def writable(folder: str | Path, *, option: str) -> Path:
    """A folder, made if it lies below the home; in a container without one, a temporary folder.

    Args:
      folder: as a user writes it, perhaps with `~`.
      option: what names it, for the message.

    Returns:
      The folder; where a home is not to be had or cannot be written, one that this user alone can
      write, below that of temporary files. A warning says so, once.

    Raises:
      PermissionError: that one belongs to another user.
    """
    if not str(folder).startswith("~"):
        return Path(folder)  # meant as it is: what is wrong with it is the user's to know
    try:
        place = Path(folder).expanduser()
        place.mkdir(parents=True, exist_ok=True)
        if os.access(place, os.W_OK | os.X_OK):
            return place
        reason = f"{place} cannot be written"
    except (RuntimeError, OSError) as error:  # RuntimeError: no home is known
        reason = str(error).rstrip(".")
    return _temporary(str(folder), option, reason)


@functools.cache
def _temporary(folder: str, option: str, reason: str) -> Path:
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    place = Path(tempfile.gettempdir()) / f"vad_jax{user}"
    place.mkdir(mode=0o700, exist_ok=True)
    about = place.lstat()
    own = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    if not (own and stat.S_ISDIR(about.st_mode)):
        raise PermissionError(f"{place} belongs to another user: give another {option}.")
    log.warning(
        "%s is not to be had (%s): %s is taken, which may not outlive this machine. Give %s=FOLDER "
        "to keep it.", folder, reason, place, option,
    )  # fmt: skip
    return place
