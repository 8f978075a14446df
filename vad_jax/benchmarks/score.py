"""What scoring costs: the network alone, streams side by side, whole videos with their decoding.

    python -m vad_jax.benchmarks.score [--config=configs/mnad.py:ped2] [--config.KEY=VALUE ...]
        [--rows=network] [--streams=8] [--videos=1] [--frames=32] [--rounds=5] [--memory] [--torch]
        [--keep_heap] [--json]

Rows `network` are windows that lie on the host to parts on the device; `end_to_end` are files of
`data.root` (where it is not there, of the synthetic set) to parts on the host. Where tests move a
memory, the arm `vad_jax` leaves it as it is, like PyTorch's, and `vad_jax gated` moves it.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vad_jax
from vad_jax import cli
from vad_jax import config as configs
from vad_jax.benchmarks import cases, peak_memory, peers, timing
from vad_jax.benchmarks.timing import OURS, Built
from vad_jax.data import decoder
from vad_jax.data.source import Source
from vad_jax.datasets import splits
from vad_jax.datasets.synthetic import write as write_synthetic
from vad_jax.scoring import compiled, score_videos
from vad_jax.types import InputSpec, Method, Variables

BATCHES = (1, 8)
KINDS = ("network", "streams", "end_to_end")
COLUMNS = {
    "row": "",
    "arm": "",
    "windows": "d",
    "videos": "d",
    "frames": "d",
    "data": "",
    "seconds": ".4f",
    "spread": ".4f",
    "frames_per_second": ".1f",
    "gflop_per_second": ".0f",
    "share_of_peak": ".2f",
    "compile_seconds": ".1f",
    "peak_mb": ".0f",
    "before_mb": ".0f",
    "cores_of_others": ".2f",
    "ratio_to_best_torch": ".2f",
}


def arms(config, names: Sequence[str]) -> dict[str, Any]:
    """Name of an arm → its completed config; one more for each policy that moves a memory."""
    if "memory.update" not in configs.flatten(config) or not config.memory["items"]:
        return dict.fromkeys(names, config)
    found = dict.fromkeys(names, _under(config, "never"))
    return found | {f"{OURS} gated": _under(config, "gated")}


def _under(config, policy):
    config = config.copy_and_resolve_references()
    config.memory["update"] = policy
    return config


def build(config, name: str, windows: int) -> Built:
    """Scores of so many consecutive windows at once, by the name of the arm."""
    if not name.startswith(OURS):
        return timing.torch_arm(*twin(config, windows), mode=name.removeprefix("torch "))
    method, variables = start(config)
    batch = cases.batch(method.inputs, windows)
    return _ours(compiled(method, maps=False), variables, method.start(variables), batch)


def start(config) -> tuple[Method, Variables]:
    """The method of a completed config, and variables that no one has trained."""
    method = vad_jax.create(config)
    return method, jax.jit(method.init)(jax.random.key(config.seed))


def twin(config, windows: int) -> tuple[Any, ...]:
    """The same in PyTorch: what `peers.arm` is told."""
    method, variables = start(config)
    return cases.twin(config, "score", variables, cases.batch(method.inputs, windows))


def memory(config, name: str, windows: int, *, keep_heap: bool) -> dict[str, float]:
    """Memory of an arm of the network in a fresh process."""
    if name.startswith(OURS):
        ours = ("vad_jax.benchmarks.score", configs.to_json(config), name, windows)
        return peak_memory.memory("vad_jax.benchmarks.timing:jax_call", *ours, keep_heap=keep_heap)
    mode, device = name.removeprefix("torch "), peers.device()
    theirs = (*twin(config, windows), mode, device)
    return peak_memory.memory("vad_jax.benchmarks.peers:arm", *theirs, keep_heap=keep_heap)


def side_by_side(config, streams: int) -> Built:
    """One window of each of several streams at once, each with its own carry."""
    method, variables = start(config)
    score = compiled(method, maps=False, streams=True)
    carry = jax.tree.map(lambda leaf: jnp.stack([leaf] * streams), method.start(variables))
    rows = cases.batch(method.inputs, streams)
    return _ours(score, variables, carry, {name: row[:, None] for name, row in rows.items()})


def _ours(score, variables, carry, batch) -> Built:
    began = time.perf_counter()
    score = score.lower(variables, carry, batch).compile()
    seconds = time.perf_counter() - began
    return Built(lambda: jax.block_until_ready(score(variables, carry, batch)), seconds)


class Clip(NamedTuple):
    """The first frames of a raw video, decoded as they are asked for."""

    source: Source
    spec: InputSpec
    frames: int

    @property
    def name(self) -> str:
        return self.source.name

    def stream(self) -> Iterator[np.ndarray]:
        """The frames in order, uint8 `[H, W, C]`."""
        spec = self.spec
        return decoder.iterate(
            self.source,
            height=spec.height,
            width=spec.width,
            colour=spec.colour,
            frames=self.frames,
        )


def end_to_end(config, clips: Sequence[Clip]) -> Built:
    """Videos from files to parts on the host."""
    method, variables = start(config)
    return Built(lambda: list(score_videos(method, variables, clips)), None)


@contextlib.contextmanager
def footage(settings) -> Iterator[tuple[list[Source], str]]:
    """The test videos of `data.root`, or of the synthetic set where that folder is not there."""
    with contextlib.ExitStack() as stack:
        if settings.root is None or not Path(settings.root).expanduser().exists():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vad_jax-"))
            settings = settings.copy_and_resolve_references()
            root = write_synthetic(Path(folder) / "synthetic")
            settings.update(name="synthetic", root=str(root))
        dataset = splits.find(settings)
        yield list(dataset.testing or dataset.training), settings.name


def operations(config, windows: int) -> int:
    """Floating-point operations in the convolutions that score so many windows."""
    return sum(layer.operations for layer in cases.scoring_layers(config, windows))


def network_rows(config, names: Sequence[str], *, rounds: int, peak: float) -> list[dict[str, Any]]:
    """Windows on the host to parts on the device, for each batch of `BATCHES`."""
    rows = []
    for windows in BATCHES:
        built = {name: build(its, name, windows) for name, its in arms(config, names).items()}
        work = operations(config, windows)
        found = timing.measured(built, rounds=rounds, operations=work, peak=peak)
        rows += [{"row": "network", "windows": windows, **row} for row in found]
    return rows


def stream_rows(config, streams: int, *, rounds: int, peak: float) -> list[dict[str, Any]]:
    """Streams side by side, where a method has a carry to keep apart."""
    if vad_jax.create(config).carry_over == "none":
        return []
    built = {name: side_by_side(its, streams) for name, its in arms(config, [OURS]).items()}
    work = streams * operations(config, 1)
    found = timing.measured(built, rounds=rounds, operations=work, peak=peak)
    return [{"row": "streams", "windows": streams, **row} for row in found]


def video_rows(config, videos: int, frames: int, *, rounds: int) -> list[dict[str, Any]]:
    """Videos from files to parts; every frame is decoded, also those before the first score."""
    spec = vad_jax.create(config).inputs
    with footage(config.data) as (sources, name):
        clips = [Clip(source, spec, frames) for source in sources[:videos]]
        built = {arm: end_to_end(its, clips) for arm, its in arms(config, [OURS]).items()}
        read = sum(scored.length for scored in built[OURS].call())  # some videos may be shorter
        found = timing.measured(built, rounds=rounds)
    label = {"row": "end_to_end", "videos": len(clips), "frames": read, "data": name}
    return [{**label, **row} for row in found]


def measure(
    config,
    *,
    kinds: Sequence[str] = KINDS,
    names: Sequence[str],
    streams: int,
    videos: int,
    frames: int,
    rounds: int,
    peak: float,
) -> list[dict[str, Any]]:
    """All rows of a completed config.

    Args:
      config: completed.
      kinds: which rows, of `KINDS`.
      names: of the arms of the network alone, see `build`.
      streams: side by side.
      videos, frames: from files to parts, so many videos and so many frames of each at most.
      rounds: of timed calls.
      peak: floating-point operations a second that `share_of_peak` is a share of.
    """
    rows = []
    if "network" in kinds:
        rows += network_rows(config, names, rounds=rounds, peak=peak)
    if "streams" in kinds:
        rows += stream_rows(config, streams, rounds=rounds, peak=peak)
    if "end_to_end" in kinds:
        rows += video_rows(config, videos, frames, rounds=rounds)
    step = vad_jax.create(config).inputs.step
    for row in rows:
        seen = row["frames"] if "frames" in row else row["windows"] * step
        row["frames_per_second"] = seen / row["seconds"]
    return rows


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures and prints the table."""
    config = configs.complete(given.read_config())
    names = timing.names(with_torch=given.torch)
    if given.torch:
        peers.find(config.method)
    about = timing.begin("score", given, precision=config.precision)
    rows = measure(
        config,
        kinds=given.rows,
        names=names,
        streams=given.streams,
        videos=given.videos,
        frames=given.frames,
        rounds=given.rounds,
        peak=about["peak_flop_per_second"],
    )
    configured = arms(config, names)
    for row in rows:
        if given.memory and row["row"] == "network":
            name, windows = row["arm"], row["windows"]
            row |= memory(configured[name], name, windows, keep_heap=given.keep_heap)
    print(timing.table(rows, COLUMNS))
    return cli.Outcome({**about, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    command.choices("rows", KINDS, "Which rows; may be given again.")
    command.integer("streams", 8, "Streams side by side.", least=1)
    command.integer("videos", 1, "Videos from files to scores.", least=1)
    command.integer("frames", 32, "Frames of each, at most.", least=1)
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    command.switch("memory", "Measure peak memory, each arm in a fresh process.")
    command.switch("torch", "Run the same in PyTorch, in turn.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
