"""What a process sets before its first array: where compiled programs are kept, and the heap.

Both change the whole process: commands call them, of the library only the jobs that compile, where
programs are kept as JAX's user has said. Neither starts a backend.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FOLDER = "~/.cache/vad_jax/compiled"
QUICK = 0.3  # seconds of compiling that are not worth a file
PATIENCE = 2.0  # seconds that need no message
_CACHE = "/jax/compilation_cache/"
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # malloc.h


def compilation_cache(*, folder: str | Path | None = None) -> Path | None:
    """Keeps compiled programs for later processes, which then start in seconds.

    From the start of a process to the end of its first step at MNAD's preset `tiny`: 5 s instead
    of 35 (two cores, 2026-11); tracing is not saved, 1 s. A folder that JAX has already, from
    `JAX_COMPILATION_CACHE_DIR` or `jax.config`, stays as it is unless another is given.

    Args:
      folder: instead of that one or `~/.cache/vad_jax/compiled`. Programs hold machine code for
        one kind of processor, so each kind gets a folder below, and JAX's version another.

    Returns:
      Where programs are kept. None where nothing may be kept; a warning says why.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache as persistent

    if not jax.config.jax_enable_compilation_cache:
        return None
    if not folder and jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    try:
        top = Path(folder or FOLDER).expanduser().absolute()
        place = top / _machine(jax.__version__)
        for level in (top, place):
            level.parent.mkdir(parents=True, exist_ok=True)
            level.mkdir(mode=0o700, exist_ok=True)
            _check(level)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        _not_kept(str(error))
        return None
    # It grows without a bound, about 1 MB a program: `jax_compilation_cache_max_size` needs the
    # package filelock, which JAX does not bring (0.7.2 and 0.10.2).
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", QUICK)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # What a notebook has compiled before had JAX note, for good, that there is no cache.
    persistent.reset_cache()
    return place


@functools.cache
def _not_kept(reason: str) -> None:
    """Says so, once a process for each reason."""
    log.warning(
        "Compiled programs are not kept for the next time: %s. Give --compile_cache=FOLDER, or set "
        "JAX_COMPILATION_CACHE_DIR.", reason.rstrip("."),
    )  # fmt: skip


def no_compilation_cache() -> None:
    """Keeps no compiled program and takes none, whatever the environment says."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


def _check(folder: Path) -> None:
    """Raises PermissionError unless this user alone can write: the content is executed."""
    about = folder.stat()
    if hasattr(os, "getuid") and about.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user.")
    if os.name == "posix" and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"others may write to {folder}, and what lies there is executed: delete it."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")


def _machine(version: str) -> str:
    """A folder's name for all that compiled code depends on and JAX's own key leaves out.

    The number of cores is part of it: loops are split for as many as the compiling process had
    (jax 0.10.2), and a program compiled on one core would stay on one.
    """
    model, features = _processor()
    model = re.sub(r"\((R|TM)\)", "", model)
    model = re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.")[:60]
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{model}-{_cores()}cores-{digest}-jax{version}"


def _processor() -> tuple[str, str]:
    """Model and features of the processor; elsewhere than on Linux the host stands for them."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine(), " ".join(platform.uname())
    fields = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in first.splitlines())
    }
    arm = "-".join(fields[key] for key in ("CPU implementer", "CPU part") if key in fields)
    model = fields.get("model name") or f"{platform.machine()}-{arm}"
    features = fields.get("flags") or fields.get("Features") or fields.get("isa", "")
    return model, " ".join(sorted(features.split()))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_heap() -> bool:
    """Lets the heap keep what is freed, so that a step finds its memory where the last one left it.

    XLA takes its temporary buffer (2 GB for MNAD's step, batch 4, 256x256) afresh from malloc for
    each execution and gives it back. What that costs depends on the machine: where page faults
    are dear, a fifth of the step; on another it cost nothing and keeping the heap made the step
    23 % slower, PyTorch's 14 % faster (two cores of a server CPU, 2026-11). Try it. The price:
    resident memory stays at its peak until the process ends.

    Returns:
      Whether it worked. It needs glibc's malloc; elsewhere a warning says that nothing changed.
    """
    library = platform.libc_ver()[0]
    if library != "glibc":
        log.warning("The heap is not kept: that needs glibc, this is %s.", library or os.name)
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))
    done = all(mallopt(option, value) for option, value in settings)
    if not done:
        log.warning("The heap is not kept: glibc refused a setting of mallopt.")
    return done


@contextlib.contextmanager
def compiling(what: str) -> Iterator[None]:
    """Says what is being compiled once that takes more than two seconds, and at last how long.

    with compiling("the training step"):
        step(variables, batch)  # the first call
    """
    programs = _programs()
    before, began = programs.copy(), time.perf_counter()
    waiting = threading.Timer(PATIENCE, log.info, ("Compiling %s …", what))
    waiting.daemon = True
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()
    seconds = time.perf_counter() - began
    if seconds > PATIENCE:
        new = programs - before
        log.info(
            "Compiled %s in %.1f s, %d of %d programs from the cache.",
            what, seconds, new["found"], new["wanted"],
        )  # fmt: skip


def told(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """A function under `jax.jit`, compiled at its first call, which says so (`compiling`).

    All later calls must have arguments of the same shapes and places.
    """
    programs = []

    def call(*args):
        if not programs:
            with compiling(what):
                programs.append(function.lower(*args).compile())
            trim_heap()
        return programs[0](*args)

    return call


def trim_heap() -> None:
    """Gives back to the system what compiling has left free in the heap, where malloc is glibc's.

    After MNAD's step at 256x256 that is 0.55 GB: the peak of training was 2.7 GB instead of 3.2.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def _programs() -> Counter[str]:
    """Programs of this process that were looked for in the cache, and those found there.

    Counts go on for good: in JAX 0.7.2 there is no public way to take a listener away.
    """
    import jax

    programs = Counter()
    names = {f"{_CACHE}compile_requests_use_cache": "wanted", f"{_CACHE}cache_hits": "found"}

    def count(event: str, **_) -> None:
        if event in names:
            programs[names[event]] += 1

    jax.monitoring.register_event_listener(count)
    return programs
