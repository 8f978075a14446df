"""One process at a time works in a folder of results."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from vad_jax.types import CheckpointError

log = logging.getLogger(__name__)


LOCK = "lock"


@contextlib.contextmanager
def locked(folder: Path, flag: str = "--workdir") -> Iterator[None]:
    """Keeps other processes from writing into a folder, which is made if need be.

    Args:
      folder: a workdir, or another folder of results.
      flag: the option that names it.

    Raises:
      CheckpointError: another process works in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A stranger's workdir may hold a link here, to a file that is not ours to write.
        options = os.O_RDWR | os.O_CREAT
        options |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # not on Windows
        file = os.fdopen(os.open(folder / LOCK, options, 0o644), "r+")
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written ({error.strerror}): give another {flag}, where you may "
            "write."
        ) from None
    with file:
        _lock(file, folder, flag)
        yield


def _lock(file, folder: Path, flag: str) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        log.warning("%s cannot be locked on this system: start nothing else in it.", folder)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise CheckpointError(
            f"{folder} is in use by process {file.read(20) or '(unknown)'}: wait for it, stop it, "
            f"or give another {flag}."
        ) from None
    except OSError as error:  # some network file systems cannot
        log.warning("%s cannot be locked (%s): start nothing else in it.", folder, error.strerror)
        return
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
