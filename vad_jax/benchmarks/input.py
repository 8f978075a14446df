"""What input costs: decoding once, choosing windows, gathering them, the two feeds.

    python -m vad_jax.benchmarks.input [--config=configs/quickstart.py] [--config.KEY=VALUE ...]
        [--vary=input.height+input.width=64,256] [--batches=50] [--rounds=5]
        [--with_step | --step_seconds=SECONDS] [--json]

`--vary=` measures the config as it is. The synthetic set is written to a temporary folder where
its root does not exist; another: `--config=configs/mnad.py:ped2 --config.data.root=FOLDER`. The
files are in the system's memory already, so the disk is not measured. `times_a_step` says how many
times faster the clips come than a step uses them up, each having the machine for itself: in a
training on a CPU they share its cores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax import cli
from vad_jax.data import rows as kinds
from vad_jax.data import spans
from vad_jax.data.backends import open_feed
from vad_jax.data.footage import Footage
from vad_jax.datasets import splits
from vad_jax.datasets.folder import Source
from vad_jax.types import ConfigError, DataError

BACKENDS = ("tf", "resident")
COLUMNS = {
    "varied": "",
    "arm": "",
    "seconds": ".4f",
    "spread": ".4f",
    "frames_per_second": ".0f",
    "clips_per_second": ".1f",
    "times_a_step": ".1f",
}


def footage(settings, folder: Path) -> tuple[Source, ...]:
    """The normal videos that `config.data` names, else its test videos.

    Args:
      settings: `config.data`.
      folder: where the synthetic set is written if it is asked for and not there.
    """
    settings = settings.copy_and_resolve_references()
    if settings.name == "synthetic" and not Path(settings.root or "").expanduser().is_dir():
        settings.root = str(folder / "synthetic")
    dataset = splits.find(settings)
    return dataset.training or dataset.testing


def measure(
    config, sources: Sequence[Source], *, batches: int, rounds: int
) -> list[dict[str, Any]]:
    """One row for each part of the way of the data.

    Args:
      config: completed.
      sources: raw videos.
      batches: that a call of a feed gives.
      rounds: of timed calls.
    """
    import vad_jax
    from vad_jax.benchmarks import timing

    stage = vad_jax.create(config).stages[0]
    spec, size = stage.inputs, config.stages[stage.name].batch_size
    with tempfile.TemporaryDirectory() as folder:

        def decoded(cache):
            return splits.decoded(sources, config.data, spec, cache=cache, progress=False)

        def decoded_anew():
            with tempfile.TemporaryDirectory(dir=folder) as empty:
                decoded(empty)

        cache = Path(folder, "cache")
        videos = decoded(cache)
        shuffle = _shuffle(spec, videos, size)
        rows, mask = (part[:batches] for part in shuffle())
        arms = {
            "decode": decoded_anew,
            "open the cache": lambda: decoded(cache),
            "shuffle": shuffle,
            "gather on the host": lambda: [_gathered(spec, videos, batch) for batch in rows],
            **{f"feed {name}": _feed(name, videos, spec, rows, mask) for name in BACKENDS},
        }
        times = timing.alternating(arms, rounds)
    counts = {
        "decode": {"frames_per_second": sum(map(len, videos))},
        "open the cache": {},
        "shuffle": {"clips_per_second": shuffle()[0].shape[0] * size},
    }
    clips = {"clips_per_second": int(mask.sum())}
    found = []
    for name, seconds in times.items():
        row = {"arm": name, **timing.summary(seconds)}
        rates = {key: n / row["seconds"] for key, n in counts.get(name, clips).items()}
        found.append(row | rates)
    return found


def _shuffle(spec, videos, size) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    given, kind = Footage(videos), kinds.kind(spec)
    if not any(kind.fits(spec, given, video) for video in range(len(videos))):
        raise DataError(f"No video has {kind.need(spec)}: nothing to measure.")
    return lambda: kind.batches(spec, given, batch_size=size, seed=0, epoch=0)


def _gathered(spec, videos, batch) -> np.ndarray:
    index = spans.frame_indices(spec, batch[:, 1])
    return np.stack([videos[video].read(i) for video, i in zip(batch[:, 0], index, strict=True)])


def _feed(backend, videos, spec, batches, mask) -> Callable[[], None]:
    """Every batch of a feed, on the devices as the loop puts it there."""
    import jax

    from vad_jax.learning import mesh as meshes

    feed = open_feed(backend, Footage(videos), spec)
    mesh = meshes.make(mask.shape[1])
    store, gather = meshes.copy(mesh, feed.store), jax.jit(feed.gather)

    def arm():
        for item in feed.items(batches, mask):
            jax.block_until_ready(gather(store, meshes.split(mesh, item)))

    return arm


def beside_a_step(
    rows: Sequence[dict[str, Any]], seconds: float, clips: int
) -> list[dict[str, Any]]:
    """The rows beside what a training step uses up.

    Args:
      rows: of `measure`.
      seconds: of a step.
      clips: of its batch.
    """
    used = clips / seconds
    compared = [
        row | {"times_a_step": row["clips_per_second"] / used} if "clips_per_second" in row else row
        for row in rows
    ]
    return [*compared, {"arm": "a step uses", "seconds": seconds, "clips_per_second": used}]


def _step_seconds(config) -> float:
    from vad_jax.benchmarks import timing, train

    step = train.build(config, timing.OURS).call
    return timing.alternating({"step": step}, 1)["step"][0]


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures the way of the data and prints the table."""
    from vad_jax.benchmarks import cases, timing

    variations = cases.varied(given.read_config(), given.vary or None)
    if given.step_seconds and (given.with_step or len(variations) > 1):
        raise ConfigError(
            "--step_seconds is the time of one config's step: give it without --with_step and "
            "with --vary= (nothing varied)."
        )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sources = footage(variations[0][1].data, Path(folder))
        for changes, config in variations:
            measured = measure(config, sources, batches=given.batches, rounds=given.rounds)
            seconds = _step_seconds(config) if given.with_step else given.step_seconds
            if seconds:
                clips = config.stages[config.stage_names[0]].batch_size
                measured = beside_a_step(measured, seconds, clips)
            rows += [{"varied": changes, **row} for row in measured]
    about = timing.machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(
        f"{given.config}; {len(sources)} videos, feeds give {given.batches} batches; medians and "
        f"quartiles of {given.rounds} calls"
    )
    print(timing.table(rows, COLUMNS))
    figures = {"benchmark": "input", "config": given.config, "machine": about, "rows": rows}
    return cli.Outcome(figures)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    size = "input.height+input.width=64,256"
    command.string("config", "configs/quickstart.py", "Config file, or FILE:PRESET.")
    command.string("vary", size, "Config keys and their values: KEY[+KEY]=V1,V2; or nothing.")
    command.integer("batches", 50, "Batches that a timed call gives.", least=1)
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    command.switch("with_step", "Measure the config's training step, too.")
    command.number("step_seconds", None, "Seconds of a training step, where they are known.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
