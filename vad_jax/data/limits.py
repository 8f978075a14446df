"""What a system lets a process have, said as a limit where it is reached."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from vad_jax.types import DataError


@contextlib.contextmanager
def of_open_files() -> Iterator[None]:
    """Says of too many open files that this is a limit, and how to raise it.

    Raises:
      DataError: no more files can be opened.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise DataError(
            f"{error.strerror}: {_allowed()}. Nothing is damaged or lost: raise the limit (ulimit "
            "-n 4096) and run again."
        ) from None


def _allowed() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "this process may open no more"
    return f"this process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} at once"


def memory(size: int) -> None:
    """Lets this process take so many bytes of address space; where a system cannot, all it has."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows, macOS
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))
