"""What a person is told while something works: messages and progress bars, on one terminal.

A library stays out of the way of a program that has logging of its own. Where there is none, in a
script or a notebook, the jobs are heard all the same, as the commands are. To silence them:
`logging.getLogger("vad_jax").setLevel(logging.ERROR)`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

_OURS = logging.getLogger("vad_jax")


class _Terminal(logging.Handler):
    """Plain lines on standard error, above whatever progress bar is there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


_SPOKEN = _Terminal()  # while it is among the handlers, `speak` has put it there


def speak() -> None:
    """Lets the jobs be heard that a script or a notebook calls; what the program has set stays.

    Nothing changes where the logger `vad_jax` has a level or a handler, or where the program has
    logging of its own; should it come later, the next job finds it.
    """
    if _SPOKEN in _OURS.handlers:
        if _listened():
            _OURS.removeHandler(_SPOKEN)
            _OURS.setLevel(logging.NOTSET)
            _OURS.propagate = True
        return
    if _OURS.level != logging.NOTSET or _OURS.handlers or _listened():
        return
    _OURS.addHandler(_SPOKEN)
    _OURS.setLevel(logging.INFO)
    _OURS.propagate = False


def _listened() -> bool:
    """Whether the program has logging of its own.

    A handler on standard error for warnings is no sign of it: Python adds that by itself as soon as
    a library calls `logging.warning`, as Orbax does (0.11), and notebooks come with one.
    """
    root = logging.getLogger()
    chosen = root.level != logging.WARNING or not all(map(_made_by_itself, root.handlers))
    return bool(root.handlers) and chosen


def _made_by_itself(handler: logging.Handler) -> bool:
    form = getattr(handler.formatter, "_fmt", logging.BASIC_FORMAT)
    return type(handler) is logging.StreamHandler and form == logging.BASIC_FORMAT


@contextlib.contextmanager
def on_the_terminal() -> Iterator[None]:
    """Within it every message goes to standard error, whatever the process has set."""
    before = _OURS.level, _OURS.propagate, _OURS.handlers
    theirs = [handler for handler in _OURS.handlers if not isinstance(handler, _Terminal)]
    _OURS.handlers = [*theirs, _Terminal()]
    _OURS.setLevel(logging.INFO)
    _OURS.propagate = False
    try:
        yield
    finally:
        level, _OURS.propagate, _OURS.handlers = before
        _OURS.setLevel(level)


def say(text: str) -> None:
    """A line that belongs to no logger, on standard error, above whatever progress bar is there."""
    tqdm.write(text, file=sys.stderr)


def progress(*args: Any, **options: Any) -> tqdm:
    """A progress bar: `tqdm` with its arguments, shown on terminals and in notebooks alone."""
    hidden = not (_in_a_notebook() or sys.stderr.isatty())
    return tqdm(*args, **{"disable": hidden} | options)


def _in_a_notebook() -> bool:
    """Whether a person sees the output of this process below the cell of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
