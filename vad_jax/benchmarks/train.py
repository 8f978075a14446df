"""What a training step costs: value, gradient, Adam, memory update.

    python -m vad_jax.benchmarks.train [--config=configs/mnad.py:ped2] [--config.KEY=VALUE ...]
        [--vary=KEY[+KEY]=V1,V2] [--rounds=5] [--memory] [--torch] [--keep_heap] [--json]

How cost grows: `--vary=input.height+input.width=64,128,256`, `--vary=memory.items=0,10,100`,
`--vary=stages.train.batch_size=1,2,4,8`. A round of MNAD at 256x256 takes 6 to 8 s an arm on two
cores, and compiling 10 s (PyTorch's: minutes).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

import vad_jax
from vad_jax import cli, runtime
from vad_jax import config as configs
from vad_jax.benchmarks import cases, peak_memory, peers, timing
from vad_jax.benchmarks.timing import OURS, Built
from vad_jax.learning import mesh as meshes
from vad_jax.learning import optim
from vad_jax.learning.stage_run import train_step
from vad_jax.types import Batch, Stage, Variables

COLUMNS = {
    "varied": "",
    "arm": "",
    "seconds": ".4f",
    "spread": ".4f",
    "clips_per_second": ".2f",
    "gflop_per_second": ".0f",
    "share_of_peak": ".2f",
    "compile_seconds": ".1f",
    "peak_mb": ".0f",
    "before_mb": ".0f",
    "cores_of_others": ".2f",
    "ratio_to_best_torch": ".2f",
}


def build(config, name: str) -> Built:
    """The training step of a completed config's first stage, by the name of the arm.

    A call takes one more step and returns its loss.
    """
    if name != OURS:
        return timing.torch_arm(*twin(config), mode=name.removeprefix("torch "))
    return ours(*start(config), seed=config.seed)


def ours(stage: Stage, variables: Variables, batch: Batch, *, seed: int) -> Built:
    """Steps of a stage, each one more, from the variables that it begins with."""
    far = {"steps_per_epoch": 1000, "steps": 1000}
    transform = optim.only(stage.optimizer(**far), stage.trainable, variables["params"])
    mesh, key = meshes.make(len(batch["mask"])), jax.random.key(seed)
    slots = jax.jit(transform.init)(variables["params"])
    variables, slots = meshes.copy(mesh, (variables, slots))
    began = time.perf_counter()
    step = jax.jit(train_step(stage, transform), donate_argnums=(0, 1))
    step = step.lower(variables, slots, meshes.split(mesh, batch), key).compile()
    seconds = time.perf_counter() - began
    runtime.trim_heap()  # as the loop does

    def call():
        nonlocal variables, slots
        results = step(variables, slots, meshes.split(mesh, batch), key)
        variables, slots, metrics = jax.block_until_ready(results)
        return metrics["loss"]

    return Built(call, seconds, step.memory_analysis().temp_size_in_bytes / 1e6)


def start(config, *, index: int = 0) -> tuple[Stage, Variables, Batch]:
    """A stage of a completed config, what it begins with, and a random batch."""
    method = vad_jax.create(config)
    stage = method.stages[index]
    variables = stage.begin(jax.jit(method.init)(jax.random.key(config.seed)))
    return stage, variables, cases.batch(stage.inputs, config.stages[stage.name].batch_size)


def twin(config) -> tuple[Any, ...]:
    """The same step in PyTorch: what `peers.arm` is told."""
    stage, variables, batch = start(config)
    return cases.twin(config, "train_step", stage.finish(variables), batch)


def memory(config, name: str, *, keep_heap: bool) -> dict[str, float]:
    """Memory of an arm in a fresh process."""
    if name == OURS:
        ours = ("vad_jax.benchmarks.train", configs.to_json(config), name)
        return peak_memory.memory("vad_jax.benchmarks.timing:jax_call", *ours, keep_heap=keep_heap)
    mode, device = name.removeprefix("torch "), peers.device()
    theirs = (*twin(config), mode, device)
    return peak_memory.memory("vad_jax.benchmarks.peers:arm", *theirs, keep_heap=keep_heap)


def operations(config) -> int:
    """Floating-point operations of a step: the forward pass three times, as is the custom.

    Once forward, once for the gradients of the inputs, once for those of the kernels; from the
    shapes of the network's layers, not from how they are computed.
    """
    return 3 * sum(layer.operations for layer in cases.training_layers(config))


def measure(
    config, built: Mapping[str, Built], *, rounds: int, peak: float
) -> list[dict[str, Any]]:
    """One row for each arm of a completed config's training step."""
    rows = timing.measured(built, rounds=rounds, operations=operations(config), peak=peak)
    clips = config.stages[config.stage_names[0]].batch_size
    return [{**row, "clips_per_second": clips / row["seconds"]} for row in rows]


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures every variation and prints the table."""
    variations = cases.varied(given.read_config(), given.vary)
    names = timing.names(with_torch=given.torch)
    if given.torch:
        peers.find(variations[0][1].method)
    about = timing.begin("train", given, precision=variations[0][1].precision)
    rows = []
    for changes, config in variations:
        built = {name: build(config, name) for name in names}
        for row in measure(config, built, rounds=given.rounds, peak=about["peak_flop_per_second"]):
            if given.memory:
                row |= memory(config, row["arm"], keep_heap=given.keep_heap)
            rows.append({"varied": changes, **row})
    print(timing.table(rows, COLUMNS))
    return cli.Outcome({**about, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    command.string("vary", None, "Config keys and their values: KEY[+KEY]=V1,V2.")
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    command.switch("memory", "Measure peak memory, each arm in a fresh process.")
    command.switch("torch", "Run the same in PyTorch, in turn.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
