"""Files that are there whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def whole(path: str | Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """A file to write that takes its place once all is written; on an error nothing is left.

    Args:
      path: of the file; its folder is made if need be.
      mode: `w` or `wb`.
      options: for `open`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(half, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)  # a failed write does not say of what
        raise
    finally:
        half.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
