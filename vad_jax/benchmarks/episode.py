"""What meta-learning costs: a step of the stage `meta` of MPN, and an adaptation at test time.

    python -m vad_jax.benchmarks.episode [--config=configs/mpn.py:ped2] [--config.KEY=VALUE ...]
        [--rows=step] [--vary=input.height+input.width=64,256] [--rounds=5] [--memory] [--torch]
        [--keep_heap] [--json]

Rows `step`: episodes, inner steps, gradient through them, Adam; PyTorch's has its features once
and without a graph, too. Rows `inner`: our step with 1, 2 and 5 inner steps, of second and first
order, each step computed again in the backward pass (`remat`), steps written out (`unroll`), and
with the features, which do not depend on θ, computed in each pass as the authors do. Rows `parts`:
an adaptation and a meta-step beside a training step of the stage `joint`. Compiling takes 15 s a
row on two cores; `inner` are fifteen rows.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax

import vad_jax
from vad_jax import cli
from vad_jax import config as configs
from vad_jax.benchmarks import cases, peak_memory, peers, timing, train
from vad_jax.benchmarks.timing import OURS, Built
from vad_jax.learning import meta
from vad_jax.methods import mpn
from vad_jax.types import ConfigError, Stage

KINDS = ("step", "inner", "parts")
MODES = ("eager", "channels_last")  # torch.compile takes no second derivatives
STEPS = (1, 2, 5)
FORMS = {  # of an inner loop → what is set
    "order 2": {"order": 2},
    "order 2, remat": {"order": 2, "remat": True},
    "order 2, unroll": {"order": 2, "unroll": True},
    "order 2, features each pass": {"order": 2},
    "order 1": {"order": 1},
}
COLUMNS = {
    "row": "",
    "varied": "",
    "arm": "",
    "inner_steps": "d",
    "seconds": ".4f",
    "spread": ".4f",
    "temporary_mb": ".0f",
    "compile_seconds": ".1f",
    "peak_mb": ".0f",
    "before_mb": ".0f",
    "cores_of_others": ".2f",
    "ratio_to_training_step": ".2f",
    "ratio_to_eager": ".2f",
    "ratio_to_best_torch": ".2f",
}


def prepared(config) -> Any:
    """A config whose training ends with episodes, as a file makes it or with that stage added.

    Raises:
      ConfigError: not a config of MPN.
    """
    if config.method != "mpn":
        raise ConfigError(
            f"method = {config.method!r}: the stage meta that is measured here is that of mpn; "
            "give --config=configs/mpn.py:ped2 or another of its presets."
        )
    config.stage_names = ("joint", "meta")
    return config


def build(config, name: str) -> Built:
    """The meta-step of a completed config, by the name of the arm."""
    if name == OURS:
        return train.ours(*train.start(config, index=1), seed=config.seed)
    return timing.torch_arm(*twin(config), mode=name.removeprefix("torch "))


def twin(config) -> tuple[Any, ...]:
    """The same in PyTorch: what `peers.arm` is told."""
    stage, variables, batch = train.start(config, index=1)
    return cases.twin(config, "meta_step", stage.finish(variables), batch)


def memory(config, name: str, *, keep_heap: bool) -> dict[str, float]:
    """Memory of an arm in a fresh process."""
    if name == OURS:
        ours = ("vad_jax.benchmarks.episode", configs.to_json(config), name)
        return peak_memory.memory("vad_jax.benchmarks.timing:jax_call", *ours, keep_heap=keep_heap)
    theirs = (*twin(config), name.removeprefix("torch "), peers.device())
    return peak_memory.memory("vad_jax.benchmarks.peers:arm", *theirs, keep_heap=keep_heap)


def form(config, name: str, steps: int) -> Built:
    """Our meta-step with so many inner steps, in one of `FORMS`."""
    config = config.copy_and_resolve_references()
    config.meta.update({"steps": steps, "remat": False, "unroll": False} | FORMS[name])
    stage, variables, batch = train.start(config, index=1)
    if name.endswith("features each pass"):
        stage = forgetful(config, stage)
    return train.ours(stage, variables, batch, seed=config.seed)


def forgetful(config, stage: Stage) -> Stage:
    """The stage `meta` with the features computed anew in each pass, support and query alike."""
    functions = mpn.Model(config)

    def loss(frozen, theta, windows):
        # Seemingly of θ, so that no compiler takes them out of the loop.
        still = jax.lax.stop_gradient(theta)
        frames, _ = jax.lax.optimization_barrier((windows["frames"], still))
        features = functions.features(frozen, frames, windows["mask"])
        features = jax.lax.stop_gradient(features)
        return functions.objective(theta, features, functions.weights)[0]

    def episode_loss(params, state, batch, key, *, train):
        del key, train
        sides = {
            side: {"frames": batch[side], "mask": batch[f"{side}_mask"]}
            for side in ("support", "query")
        }
        of_theta = functools.partial(loss, state["frozen"])
        given = {**params, "step_size": functions.mapped(params["step_size"])}
        episodes = {**sides, "mask": batch["mask"]}
        total, _ = meta.meta_loss(of_theta, given, episodes, **functions.inner)
        return total, (state, {})

    return dataclasses.replace(stage, loss=episode_loss)


def adaptation(config) -> Built:
    """An adaptation to as many windows as an episode has for support."""
    method = vad_jax.create(config)
    variables = jax.jit(method.init)(jax.random.key(config.seed))
    support = cases.batch(method.inputs, config.meta.support)
    began = time.perf_counter()
    adapt = jax.jit(functools.partial(method.adapt, steps=config.adapt.steps))
    adapt = adapt.lower(variables, support).compile()
    seconds = time.perf_counter() - began
    temporary = adapt.memory_analysis().temp_size_in_bytes / 1e6
    return Built(lambda: jax.block_until_ready(adapt(variables, support)), seconds, temporary)


def step_rows(config, names: Sequence[str], *, rounds: int) -> list[dict[str, Any]]:
    """A meta-step of each arm."""
    built = {name: build(config, name) for name in names}
    rows = timing.measured(built, rounds=rounds)
    seconds = {row["arm"]: row["seconds"] for row in rows}
    if "torch eager" in seconds:
        rows[0]["ratio_to_eager"] = seconds[OURS] / seconds["torch eager"]
    return [{"row": "step", "inner_steps": config.meta.steps, **row} for row in rows]


def inner_rows(config, *, rounds: int) -> list[dict[str, Any]]:
    """Our meta-step in each of `FORMS` with each number of `STEPS`, those of a number in turn."""
    rows = []
    for steps in STEPS:
        built = {name: form(config, name, steps) for name in FORMS}
        found = timing.measured(built, rounds=rounds)
        rows += [{"row": "inner", "inner_steps": steps, **row} for row in found]
    return rows


def part_rows(config, *, rounds: int) -> list[dict[str, Any]]:
    """A training step, a meta-step and an adaptation, in turn."""
    steps = {"meta-step": config.meta.steps, "adaptation": config.adapt.steps}
    built = {
        "training step": train.build(config, OURS),
        "meta-step": build(config, OURS),
        "adaptation": adaptation(config),
    }
    rows = timing.measured(built, rounds=rounds)
    whole = rows[0]["seconds"]
    return [
        {
            "row": "parts",
            "inner_steps": steps.get(row["arm"]),
            "ratio_to_training_step": row["seconds"] / whole,
            **row,
        }
        for row in rows
    ]


def measure(
    config, *, kinds: Sequence[str] = KINDS, names: Sequence[str], rounds: int
) -> list[dict[str, Any]]:
    """All rows of a completed config.

    Args:
      config: completed, of `prepared`.
      kinds: which rows, of `KINDS`.
      names: of the arms of the rows `step`, see `build`.
      rounds: of timed calls.
    """
    rows = []
    if "step" in kinds:
        rows += step_rows(config, names, rounds=rounds)
    if "inner" in kinds:
        rows += inner_rows(config, rounds=rounds)
    if "parts" in kinds:
        rows += part_rows(config, rounds=rounds)
    return rows


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures every variation and prints the table."""
    variations = cases.varied(prepared(given.read_config()), given.vary)
    names = [OURS] + [f"torch {mode}" for mode in MODES if given.torch]
    if given.torch:
        peers.find("mpn")
    about = timing.begin("episode", given, precision=variations[0][1].precision)
    rows = []
    for changes, config in variations:
        for row in measure(config, kinds=given.rows, names=names, rounds=given.rounds):
            if given.memory and row["row"] == "step":
                row |= memory(config, row["arm"], keep_heap=given.keep_heap)
            rows.append({"varied": changes, **row})
    print(timing.table(rows, COLUMNS))
    return cli.Outcome({**about, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mpn.py:ped2", "Config file, or FILE:PRESET.")
    command.choices("rows", KINDS, "Which rows; may be given again.")
    command.string("vary", None, "Config keys and their values: KEY[+KEY]=V1,V2.")
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    command.switch("memory", "Measure peak memory, each arm in a fresh process.")
    command.switch("torch", "Run the same in PyTorch, in turn.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())
