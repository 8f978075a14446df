"""Measuring: arms in turn, each warmed; what the machine can do at most; memory; tables.

An arm is a function without arguments that does its work once and waits for its device.
"""

from __future__ import annotations

import datetime
import importlib
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vad_jax import config as configs
from vad_jax.benchmarks import peers

log = logging.getLogger(__name__)

Arm = Callable[[], Any]
OURS = "vad_jax"  # the arm that PyTorch's are compared with

_SIZES = (2048, 4096)  # of the square matrices whose product is the peak
_TRIES = 5


def alternating(arms: Mapping[str, Arm], rounds: int) -> dict[str, list[float]]:
    """Seconds of every arm in each round.

    The arms take turns, so that a busy spell of the machine meets all of them, and each is called
    once untimed right before its timed call: the first call after another framework's turn pays
    for memory that it must take back (1.5 times the seconds were seen for the same program).
    """
    seconds = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            arm()
            began = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - began)
    return seconds


class Built(NamedTuple):
    """An arm that is ready to be timed.

    Attributes:
      call: the arm.
      compile_seconds: what compiling it took, or None where nothing is compiled.
      temporary_mb: memory that the compiled program takes beside what goes in and comes out, or
        None where nobody says.
    """

    call: Arm
    compile_seconds: float | None
    temporary_mb: float | None = None


def names(*, with_torch: bool) -> list[str]:
    """The arms of a command."""
    return [OURS] + [f"torch {mode}" for mode in peers.MODES if with_torch]


def measured(
    built: Mapping[str, Built],
    *,
    rounds: int,
    operations: int | None = None,
    peak: float | None = None,
) -> list[dict[str, Any]]:
    """One row for each of the arms that do the same work.

    Args:
      built: name → arm. `OURS` gets `ratio_to_best_torch`: its time over the best of those that
        are called `torch …`.
      rounds: of timed calls.
      operations: floating-point operations of one call.
      peak: floating-point operations a second that `share_of_peak` is a share of.

    `cores_of_others` says how many cores other processes used meanwhile (on Linux).
    """
    began, before = time.perf_counter(), _cpu_seconds_of_others()
    times = alternating({name: arm.call for name, arm in built.items()}, rounds)
    lasted, others = time.perf_counter() - began, None
    if before is not None:
        others = max(0.0, (_cpu_seconds_of_others() - before) / lasted)
    rows = {name: {"arm": name, **summary(seconds)} for name, seconds in times.items()}
    for name, row in rows.items():
        row["cores_of_others"] = others
        row["compile_seconds"] = built[name].compile_seconds
        row["temporary_mb"] = built[name].temporary_mb
        if operations:
            row["gflop_per_second"] = operations / row["seconds"] / 1e9
        if operations and peak:
            row["share_of_peak"] = operations / row["seconds"] / peak
    for name, row in rows.items():  # the table comes at the end; this says that it goes on
        log.info("%s: %.4f s", name, row["seconds"])
    theirs = [row["seconds"] for name, row in rows.items() if name.startswith("torch")]
    if theirs and OURS in rows:
        rows[OURS]["ratio_to_best_torch"] = rows[OURS]["seconds"] / min(theirs)
    return list(rows.values())


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and number of an arm's times."""
    quartiles = [seconds[0]] * 3
    if len(seconds) > 1:
        quartiles = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "seconds": quartiles[1],
        "spread": [quartiles[0], quartiles[2]],
        "rounds": len(seconds),
    }


def _cpu_seconds_of_others():
    """Since the machine started, what a hypervisor took included; None where it is not known."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def settle(*, with_torch: bool) -> None:
    """What a benchmark sets before its first array; the commands call it.

    Compile times are those of a first start, and memory is left for the other framework.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if with_torch:
        peers.prepare()


def begin(benchmark: str, given: Any, *, precision: str = "float32") -> dict[str, Any]:
    """Settles the process, says what is measured where, and returns that as figures.

    Args:
      benchmark: its name.
      given: the command's flags `config`, `torch`, `rounds` and `keep_heap`.
      precision: of the product that the peak is measured with.
    """
    settle(with_torch=given.torch)
    about = {
        "benchmark": benchmark,
        "command": sys.argv[1:],
        "config": given.config,
        "keep_heap": given.keep_heap,
        "machine": machine(),
    }
    peak = matmul_peak(with_torch=given.torch, precision=precision)
    print(", ".join(f"{name} {value}" for name, value in about["machine"].items()))
    print(
        f"{given.config}; matmul peak {peak / 1e9:.0f} GFLOP/s ({precision}); medians and "
        f"quartiles of {given.rounds} calls, heap {'kept' if given.keep_heap else 'not kept'}"
    )
    return {**about, "peak_flop_per_second": peak}


def matmul_peak(*, with_torch: bool = False, precision: str = "float32") -> float:
    """The most floating-point operations a second that a square matrix product reached here.

    Args:
      with_torch: try PyTorch's product too; the larger of both counts.
      precision: `float32` or `bfloat16`.
    """
    products = {(size, "jax"): _jax_product(size, precision) for size in _SIZES}
    if with_torch:
        products |= {(size, "torch"): _torch_product(size, precision) for size in _SIZES}
    times = alternating(products, _TRIES)
    return max(2 * size**3 / min(seconds) for (size, _), seconds in times.items())


def _jax_product(size, precision):
    a = jnp.ones((size, size), precision)
    dot = jax.jit(jnp.dot)
    return lambda: dot(a, a).block_until_ready()


def _torch_product(size, precision):
    import torch

    device = peers.device()
    a = torch.ones((size, size), dtype=getattr(torch, precision), device=device)

    def arm():
        torch.mm(a, a)
        peers.wait(device)

    return arm


def torch_arm(*twin: Any, mode: str) -> Built:
    """PyTorch's arm; `compile` compiles at its first call.

    Args:
      twin: arguments of `peers.arm`.
      mode: one of `peers.MODES`.
    """
    call = peers.arm(*twin, mode, peers.device())
    if mode != "compile":
        return Built(call, None)
    began = time.perf_counter()
    call()
    return Built(call, time.perf_counter() - began)


def jax_call(module: str, stored: str, *arguments: Any) -> Arm:
    """Our arm by the name of its module, with a config as text: what a fresh process is told."""
    settle(with_torch=False)
    config = configs.complete(configs.from_json(stored))
    return importlib.import_module(module).build(config, *arguments).call


def machine() -> dict[str, Any]:
    """What the figures were measured on, and when; `load` is the processes that wanted a core."""
    names = ("jax", "jaxlib", "torch")
    installed = {d.metadata["Name"] for d in metadata.distributions()} & set(names)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names if name in installed},
        "date": datetime.date.today().isoformat(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Rows as aligned text; a value that a row lacks is a dash.

    Args:
      columns: key → format specification, in the order of the columns; a column that no row has
        is left out.
    """
    columns = {
        key: how
        for key, how in columns.items()
        if any(row.get(key) not in (None, {}) for row in rows)
    }
    lines = [[key.replace("_", " ") for key in columns]]
    lines += [[_cell(row.get(key), how) for key, how in columns.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [bool(how) for how in columns.values()]

    def line(cells):
        cut = zip(cells, widths, numeric, strict=True)
        return "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in cut).rstrip()

    return "\n".join(map(line, lines))


def _cell(value, how):
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={v}" for key, v in value.items())
    if isinstance(value, list):
        return "…".join(format(v, how) for v in value)
    return format(value, how)
