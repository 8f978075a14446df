"""Files that are something else than their names say: Git LFS pointers, pickles, web pages."""

from __future__ import annotations

import re
from pathlib import Path

from vad_jax.types import DataError

HEAD = 256  # bytes that tell
_KINDS = (
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
    ),
    (
        # a protocol's opcode; or an array of NumPy's whose type is `object`
        rb"\x80[\x02-\x05]|\x93NUMPY.{2,6}\{[^}]*'descr': '\|O'",
        "no plain array of numbers or text but a pickle, which may run any program. Pickles and "
        "object arrays are never loaded: save plain numbers with np.save, or write labels.csv",
    ),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html)",
        "a web page, not the file itself: download it again",
    ),
)


def disguised(head: bytes) -> str | None:
    """What a file really is and what to do, by its first `HEAD` bytes; None where it is no such.

    >>> disguised(b"<!DOCTYPE html><title>404</title>")
    'a web page, not the file itself: download it again'
    """
    return next((what for form, what in _KINDS if re.match(form, head, re.DOTALL)), None)


def disguise_of(path: Path) -> str | None:
    """`disguised` of a file; None where there is none, too."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return disguised(file.read(HEAD))


def check_file(path: Path) -> None:
    """Raises DataError for a file that is a Git LFS pointer, a pickle or a web page."""
    if what := disguise_of(path):
        raise DataError(f"{path} is {what}.")
