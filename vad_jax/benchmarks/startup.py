"""What a start costs: imports, `--help`, the first training step; each in a fresh interpreter.

    python -m vad_jax.benchmarks.startup [--config=configs/mnad.py:tiny] [--config.KEY=VALUE ...]
        [--rounds=3] [--json]

Seconds are of the whole process, the interpreter's own 0.02 included; resident MB are its peak.
The first step is taken with an empty folder of compiled programs, and with the one that an earlier
process has left. Takes three minutes on two cores.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vad_jax import cli

COLUMNS = {
    "arm": "",
    "seconds": ".2f",
    "spread": ".2f",
    "resident_mb": ".0f",
    "compile_seconds": ".2f",
}

# The peak is read by the process itself: what a parent is told (ru_maxrss) is at least its own.
_REPORT = """
import atexit, json
found = {}
def report():
    try:
        with open("/proc/self/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        found["resident_mb"] = int(peak.split()[1]) * 1024 / 1e6
    except OSError:
        pass  # not Linux
    print(json.dumps(found))
atexit.register(report)
"""
_HELP = """
import runpy, sys
runpy.run_module("vad_jax." + sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_STEP = """
import sys
from vad_jax import config
from vad_jax.benchmarks import timing, train
built = train.build(config.complete(config.from_json(sys.argv[1])), timing.OURS)
built.call()
found["compile_seconds"] = built.compile_seconds
"""


def commands() -> list[str]:
    """The commands: modules right below `vad_jax` that have a function `main`."""
    folder = Path(cli.__file__).parent
    return [path.stem for path in sorted(folder.glob("*.py")) if _has_main(path)]


def _has_main(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in body)


def fresh(code: str, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Runs code in a fresh interpreter.

    Args:
      code: it may put figures into the dict `found`.
      arguments: the code's `sys.argv[1:]`.
      environment: variables to set besides this process's own.

    Returns:
      `found`, and `resident_mb` where the system tells it.
    """
    done = subprocess.run(
        [sys.executable, "-c", _REPORT + code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | (environment or {}),
        check=False,
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:  # absl leaves --help with 1
        raise RuntimeError(f"A measured process failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def first_step(stored: str, cache: str | Path) -> dict[str, Any]:
    """Takes one training step in a fresh interpreter.

    Args:
      stored: a config as text.
      cache: folder of compiled programs.

    Returns:
      `resident_mb`, and `compile_seconds` of the step, tracing included.
    """
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return fresh(_STEP, stored, environment=environment)


def measure(stored: str, *, rounds: int) -> list[dict[str, Any]]:
    """One row for each kind of start.

    The kinds take turns, after one untimed turn that brings the files into the system's memory
    and fills the folder of compiled programs.

    Args:
      stored: the config of the first step, as text.
      rounds: of timed processes.
    """
    from vad_jax.benchmarks import timing

    with tempfile.TemporaryDirectory() as folder:

        def compiled_anew():
            with tempfile.TemporaryDirectory(dir=folder) as empty:
                return first_step(stored, empty)

        starts = {
            "python": lambda: fresh(""),
            "import vad_jax": lambda: fresh("import vad_jax"),
            "import vad_jax.detector": lambda: fresh("import vad_jax.detector"),
            **{f"{name} --help": functools.partial(_help, name) for name in commands()},
            "first step, from the cache": lambda: first_step(stored, folder),
            "first step, compiled": compiled_anew,
        }
        for name in [*starts][:-1]:
            starts[name]()
        turns = [{name: _timed(start) for name, start in starts.items()} for _ in range(rounds)]
    rows = []
    for name in starts:
        mine = [turn[name] for turn in turns]
        columns = {key: timing.summary([found[key] for found in mine]) for key in mine[0]}
        medians = {key: column["seconds"] for key, column in columns.items()}
        rows.append({"arm": name, **medians, **columns["seconds"]})
    return rows


def _help(command: str) -> dict[str, Any]:
    return fresh(_HELP, command, "--help")


def _timed(start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    found = start()
    return {**found, "seconds": time.perf_counter() - began}


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures every start and prints the table."""
    from vad_jax import config as configs
    from vad_jax.benchmarks import timing

    config = configs.complete(given.read_config())
    rows = measure(configs.to_json(config), rounds=given.rounds)
    about = timing.machine()  # takes the device, which the measured processes need
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"{given.config}; medians and quartiles of {given.rounds} fresh interpreters")
    print(timing.table(rows, COLUMNS))
    figures = {"benchmark": "startup", "config": given.config, "machine": about, "rows": rows}
    return cli.Outcome(figures)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mnad.py:tiny", "Config file, or FILE:PRESET.")
    command.integer("rounds", 3, "Timed processes of each kind.", least=1)
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
