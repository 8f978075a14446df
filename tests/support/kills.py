"""Kills real training processes at random moments and compares what is left with a quiet run.

    python tests/support/kills.py --times=50 [--seed=0] [--method=level] [--folder=FOLDER]

The method is MNAD, or the toy `level`, a fifth of the work. Half of the kills come at a random
time, half inside a save: between its first byte and the manifest. Signals in turn: KILL, TERM, INT.
Afterwards variables, optimiser slots, position and `metrics.jsonl` (time fields apart) must be
those of a run that nobody touched, bit for bit.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMMON = {
    "data.name": "folder", "data.validation": "05", "data.backend": "resident",
    "input.step": 2, "log_steps": 7, "evaluate_at_end": "false",
}  # fmt: skip
# Method → its config file and its keys.
METHODS = {
    "mnad": (
        "configs/mnad.py:ped2_small",
        {
            "input.height": 16, "input.width": 16, "input.channels": 1,
            "width": 4, "memory.items": 4,
            "stages.train.epochs": 12, "stages.train.batch_size": 5,
        },
    ),
    "level": (SUPPORT / "level_config.py", {"stages.level.epochs": 30}),
}  # fmt: skip


def command(method: str, folder: Path, workdir: Path) -> list[str]:
    config, own = METHODS[method]
    places = {"data.root": folder / "synthetic", "data.cache": folder / "cache"}
    return [
        sys.executable,
        __file__,
        f"--config={config}",
        f"--workdir={workdir}",
        f"--compile_cache={folder / 'compiled'}",
        *(f"--config.{key}={value}" for key, value in (COMMON | places | own).items()),
    ]


def start(method: str, folder: Path, workdir: Path, **environment) -> subprocess.Popen:
    return subprocess.Popen(
        command(method, folder, workdir),
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def dies_in_a_save(which: int, at: float, number: int) -> None:
    """Sends a signal to this process, `at` of a save's time after its save `which` began."""
    import threading

    from vad_jax.learning import checkpoint

    save, spent = checkpoint.Checkpoints.save, []

    def timed(self, *arguments):
        if len(spent) == which:
            delay = at * np.median(spent)
            threading.Timer(delay, os.kill, (os.getpid(), number)).start()
        since = time.perf_counter()
        save(self, *arguments)
        spent.append(time.perf_counter() - since)

    checkpoint.Checkpoints.save = timed


def left(workdir: Path) -> tuple[dict[str, bytes], list[dict]]:
    """All numbers of the newest checkpoint, and the log without its times."""
    import jax
    import orbax.checkpoint as ocp

    from vad_jax.learning.checkpoint import _steps

    (folder,) = (workdir.absolute() / "checkpoints").iterdir()  # of the one stage
    step = _steps(folder)[0]
    with ocp.CheckpointManager(folder, item_names=("variables", "slots", "position")) as manager:
        found = manager.restore(
            step,
            args=ocp.args.Composite(
                variables=ocp.args.StandardRestore(),
                slots=ocp.args.StandardRestore(),
                position=ocp.args.JsonRestore(),
            ),
        )
    leaves = jax.tree_util.tree_leaves_with_path((found.variables, found.slots))
    numbers = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    times = ("clips_per_second", "seconds")
    log = [{key: value for key, value in line.items() if key not in times} for line in lines]
    return numbers, [*log, found.position]


def survives(folder: Path, *, times: int, seed: int, method: str = "mnad") -> dict[str, int]:
    """Kills a run `times` times, lets it end, and compares; returns how the processes ended.

    Raises:
      AssertionError: it ended otherwise than the quiet run, or could not go on.
    """
    from vad_jax.datasets.synthetic import write as write_synthetic

    write_synthetic(folder / "synthetic")
    for name in ("compiles", "quiet"):
        since = time.perf_counter()
        process = start(method, folder, folder / name)
        said, _ = process.communicate()
        assert process.returncode == 0, said
    whole = time.perf_counter() - since
    expected = left(folder / "quiet")
    compare(expected, left(folder / "compiles"))

    draw, ends, workdir, run = random.Random(seed), {}, folder / "killed", 0
    for i in range(times):
        number = SIGNALS[i % 3]
        inside = i % 2 == 1
        if inside:
            when = f"{draw.randint(1, 3)},{draw.uniform(0, 1.1)},{int(number)}"
            process = start(method, folder, workdir, VAD_JAX_DIE=when)
        else:
            process = start(method, folder, workdir)
            time.sleep(draw.uniform(0.15, 0.9) * whole)
            process.send_signal(number)
        said, _ = process.communicate()
        how = f"{number.name}{' inside a save' if inside else ''}: exit {process.returncode}"
        ends[how] = ends.get(how, 0) + 1
        print(
            f"{i + 1}/{times} {how} | {said.strip().splitlines()[-1] if said else ''}", flush=True
        )
        assert process.returncode in (0, 3, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT), said
        if process.returncode == 0:  # it was done: the next one starts from nothing
            compare(expected, left(workdir))
            run += 1
            workdir = folder / f"killed{run}"
    process = start(method, folder, workdir)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    compare(expected, left(workdir))
    return {**ends, "runs compared": run + 1}


def compare(expected, found) -> None:
    assert found[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        assert found[0][name] == value, f"{name} differs"
    assert found[1] == expected[1], "the log or the position differs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", choices=METHODS, default="mnad")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        print(survives(folder.absolute(), times=given.times, seed=given.seed, method=given.method))


if __name__ == "__main__" and any(part.startswith("--config=") for part in sys.argv):
    sys.path[:0] = [str(REPOSITORY), str(SUPPORT.parent)]
    if "VAD_JAX_DIE" in os.environ:
        which, share, signal_number = os.environ["VAD_JAX_DIE"].split(",")
        dies_in_a_save(int(which), float(share), int(signal_number))
    from vad_jax import methods, train

    methods.__path__.append(str(SUPPORT / "method_modules"))
    sys.exit(train.main())
elif __name__ == "__main__":
    main()
