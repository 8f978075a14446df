"""What a meta-gradient costs: time and memory as the number of inner steps grows.

    python -m vad_jax.benchmarks.meta [--steps=1,4,16] [--episodes=4] [--shots=5] [--size=16]
        [--width=16] [--rounds=5] [--keep_heap] [--json]

Value and gradient of `meta_loss` with respect to initial parameters and one step size for each, of
four 3x3 convolutions that map images to images. Arms: first order; second order; the same with
`remat` (steps computed again), `unroll` (steps and episodes written out, no loop), and `chunk=1`
(one episode after another). `temporary mb` is what the compiled program asks for beside its
arguments and results, as XLA counts it. Takes some minutes on two cores.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import cli, meta
from vad_jax.benchmarks import timing
from vad_jax.benchmarks.timing import Built
from vad_jax.nets import conv as nets

LAYERS = 4
ARMS = {
    "order 1": {"order": 1},
    "order 2": {"order": 2},
    "order 2, remat": {"order": 2, "remat": True},
    "order 2, unroll": {"order": 2, "unroll": True},
    "order 2, chunk=1": {"order": 2, "chunk": 1},
}
COLUMNS = {
    "steps": "d",
    "arm": "",
    "seconds": ".4f",
    "spread": ".4f",
    "temporary_mb": ".1f",
    "compile_seconds": ".1f",
    "cores_of_others": ".2f",
}


def loss(params: Sequence[Mapping[str, jax.Array]], batch: Mapping[str, jax.Array]) -> jax.Array:
    """Mean square between what the convolutions make of `x` and `y`, both `[K, H, W, 1]`."""
    x = batch["x"]
    for layer in params[:-1]:
        x = jax.nn.relu(nets.conv(x, layer["kernel"]) + layer["bias"])
    return jnp.mean((nets.conv(x, params[-1]["kernel"]) + params[-1]["bias"] - batch["y"]) ** 2)


def start(
    *, episodes: int, shots: int, size: int, width: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random parameters with their step sizes, and random episodes, as `meta_loss` takes them."""
    rng = np.random.default_rng(0)
    channels = [1, *[width] * (LAYERS - 1), 1]

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape, np.float32))

    params = [
        {"kernel": normal(3, 3, i, o) / (3 * i**0.5), "bias": jnp.zeros((1, 1, 1, o))}
        for i, o in itertools.pairwise(channels)
    ]
    images = (episodes, shots, size, size, 1)
    sets = {name: {"x": normal(*images), "y": normal(*images)} for name in ("support", "query")}
    return {"init": params, "step_size": meta.init_step_size(params, 1e-3)}, sets


def build(learned: Any, episodes: Any, **how: Any) -> tuple[Built, float]:
    """The meta-gradient as an arm, and the megabytes that its program needs for a while.

    Args:
      learned, episodes: as `start` makes them.
      how: options of `meta_loss`.
    """
    objective = functools.partial(meta.meta_loss, loss, **how)
    began = time.perf_counter()
    program = jax.jit(jax.value_and_grad(objective, has_aux=True))
    program = program.lower(learned, episodes).compile()
    seconds = time.perf_counter() - began
    temporary = program.memory_analysis().temp_size_in_bytes / 1e6
    return Built(lambda: jax.block_until_ready(program(learned, episodes)), seconds), temporary


def measure(steps: int, learned: Any, episodes: Any, *, rounds: int) -> list[dict[str, Any]]:
    """One row for each arm at a number of inner steps."""
    made = {name: build(learned, episodes, steps=steps, **how) for name, how in ARMS.items()}
    rows = timing.measured({name: arm for name, (arm, _) in made.items()}, rounds=rounds)
    return [{"steps": steps, **row, "temporary_mb": made[row["arm"]][1]} for row in rows]


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures every arm at every number of steps and prints the table."""
    timing.settle(with_torch=False)
    sizes = {name: getattr(given, name) for name in ("episodes", "shots", "size", "width")}
    about = timing.machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(", ".join(f"{name} {value}" for name, value in sizes.items()))
    learned, episodes = start(**sizes)
    rows = []
    for steps in given.steps:
        rows += measure(int(steps), learned, episodes, rounds=given.rounds)
    print(timing.table(rows, COLUMNS))
    return cli.Outcome({"benchmark": "meta", **sizes, "machine": about, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.list("steps", "1,4,16", "Numbers of inner steps.")
    command.integer("episodes", 4, "Episodes in a meta-step.", least=1)
    command.integer("shots", 5, "Images in each support and query set.", least=1)
    command.integer("size", 16, "Height and width of the images.", least=1)
    command.integer("width", 16, "Channels between the convolutions.", least=1)
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
