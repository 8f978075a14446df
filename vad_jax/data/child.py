"""A process of ours that may die: a deadline from outside, a limit of memory from within.

A child takes one request after another from its standard input, one line of JSON each, and answers
with messages on its standard output: a kind of one byte, a length, and bytes; nothing that has to
be unpickled. Whoever asks says how long a message may take, and ends a child that is late.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from vad_jax.data import limits
from vad_jax.types import DataError

_HEADER = struct.Struct("<cq")  # kind, bytes that follow
_PIPE_BYTES = 1 << 20

Send = Callable[..., None]  # (kind, *buffers): one message


class Silent(Exception):
    """A child that says no more, and why, as the end of a sentence that begins with its name."""


class Child:
    """The process, seen by the one who asks.

    Args:
      module: whose `__main__` calls `serve`.
      most_bytes: of a message; a longer one is not believed.
      environment: variables beside ours.

    Raises:
      DataError: too many files are open, or a system without such pipes.

    Attributes:
      pid: of the process.
    """

    def __init__(self, module: str, *, most_bytes: int, environment: Mapping[str, str]):
        if not hasattr(os, "readv"):
            raise DataError(
                "Pictures and films are read by a process of their own, which needs Linux or "
                "macOS. On Windows use the Windows Subsystem for Linux (WSL)."
            )
        self._owner, self._most_bytes = os.getpid(), most_bytes
        with limits.of_open_files():
            self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(self._owner)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env=os.environ | {"PYTHONPATH": path} | environment,
                start_new_session=True,  # Ctrl-C is for the parent
            )
        self.pid = self._process.pid
        self._out = self._process.stdout.fileno()
        _widen(self._out)

    def ready(self) -> bool:
        """Whether it lives and is ours: after a fork two processes would share its pipes."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, request: dict) -> None:
        """Sends a request; of a child that is gone `answer` tells."""
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, seconds: float) -> tuple[bytes, bytearray]:
        """The next message: its kind and its bytes.

        Args:
          seconds: that all of it may take.

        Raises:
          Silent: it is late, too long, or the child has died.
        """
        until = time.monotonic() + seconds
        kind, size = _HEADER.unpack(self._read(_HEADER.size, until, seconds))
        if not 0 <= size <= self._most_bytes:
            raise Silent(f"sent a message of {size} bytes, more than any has,")
        return kind, self._read(size, until, seconds)

    def _read(self, size: int, until: float, seconds: float) -> bytearray:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise Silent(f"was silent for {seconds:g} seconds")
            number = os.readv(self._out, [rest])
            if not number:
                raise Silent(f"died ({self._cause()})")
            rest = rest[number:]
        return buffer

    def _cause(self) -> str:
        """The signal or exit code of a dead child, and the last line that it wrote."""
        code = self._process.wait()
        said = f"signal {-code}" if code < 0 else f"exit {code}"
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return f"{said}: {lines[-1]}" if lines and code > 0 else said

    def end(self) -> None:
        """Kills it; a child of another process is only let go."""
        if self._owner == os.getpid():
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            with contextlib.suppress(OSError):
                pipe.close()
        if self._owner == os.getpid():
            self._process.wait()


def serve(answer: Callable[[dict, Send], None]) -> None:
    """The child's side: answers every request until there are no more, or its parent is gone.

    Args:
      answer: given a request and `send(kind, *buffers)`, which sends one message.
    """
    parent = int(sys.argv[1])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not come between the messages
    _widen(out.fileno())

    def send(kind: bytes, *buffers) -> None:
        parts = [memoryview(buffer).cast("B") for buffer in buffers]
        for part in (_HEADER.pack(kind, sum(map(len, parts))), *parts):
            rest = memoryview(part)
            while rest:
                rest = rest[out.write(rest) :]

    for line in sys.stdin:
        try:
            answer(json.loads(line), send)
        except BrokenPipeError:
            return


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent is gone, whatever a library is doing."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _widen(pipe: int) -> None:
    """Lets a pipe hold a frame or more, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass
