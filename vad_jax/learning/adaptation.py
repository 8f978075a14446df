"""Few-shot adaptation of any method: supports, many of them in one call, and their outliers.

`Method.adapt` does the steps; here they are laid out. Letters: K shots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.data.spans import frame_indices
from vad_jax.types import Batch, InputSpec, Method, TrainingError, Variables

TOGETHER = 8  # supports that are adapted to in one call
OUTLIER = 3.0  # times the median of its fellows' losses


def steps_by_program(steps: int) -> list[int]:
    """Steps of adaptation that each call of a compiled program takes.

    One on CPUs, where XLA runs the body of a loop on a single core; elsewhere all at once.
    """
    return [1] * steps if steps > 1 and jax.default_backend() == "cpu" else [steps]


def support_batch(spec: InputSpec, video: Frames, first: np.ndarray) -> Batch:
    """Windows of a video as the support of `Method.adapt`."""
    return {
        "frames": np.array(video.read(frame_indices(spec, first))),
        "mask": np.ones(len(first), bool),
        "video": np.zeros(len(first), np.int32),
        "frame": np.asarray(first, np.int32),
    }


@functools.lru_cache(maxsize=16)
def compiled_steps(
    method: Method, steps: int, *, rated: bool, shared: bool = True
) -> Callable[..., Any]:
    """`method.adapt` to many supports, of one set of variables or of each one's own, under jit.

    `(variables, supports, rate) → variables, losses [N, steps]`. The rate counts where `rated`; it
    is data, so that another one compiles nothing.
    """

    def run(variables, support, rate):
        return method.adapt(variables, support, steps=steps, learning_rate=rate if rated else None)

    return jax.jit(jax.vmap(run, in_axes=(None if shared else 0, 0, None)))


def adapted(
    method: Method,
    variables: Variables,
    supports: Sequence[Batch],
    *,
    steps: int,
    learning_rate: float | None = None,
) -> Iterator[tuple[Variables, np.ndarray]]:
    """The variables adapted to each support, all from the same ones, several in one call.

    Where steps go one by one (`steps_by_program`), so do supports: convolutions side by side, whose
    kernels differ from the second step on, are several times slower on CPUs.

    Args:
      method, variables: what is adapted.
      supports: batches of equally many windows.
      steps: gradient steps.
      learning_rate: of plain gradient steps instead of the method's own rule.

    Yields:
      For each support the variables, on the host, and the losses before each step `[steps]`.

    Raises:
      TrainingError: the steps lead to parameters that are not finite.
    """
    first, *further = steps_by_program(steps)
    rated = learning_rate is not None
    rate = min(learning_rate or 0.0, float(np.finfo(np.float32).max))
    size = 1 if further else min(TOGETHER, len(supports))
    for begin in range(0, len(supports), size):
        some = supports[begin : begin + size]
        filled = [*some, *[some[0]] * (size - len(some))]  # one shape, one program
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *filled)
        moved, losses = compiled_steps(method, first, rated=rated)(variables, stacked, rate)
        each = [losses]
        for number in further:
            program = compiled_steps(method, number, rated=rated, shared=False)
            moved, losses = program(moved, stacked, rate)
            each.append(losses)
        moved, losses = jax.device_get((moved, jnp.concatenate(each, axis=1)))
        for i in range(len(some)):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], moved)
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(own["params"])):
                raise TrainingError(
                    f"Adapting to support {begin + i + 1} of {len(supports)} in {steps} steps gave "
                    f"parameters that are not finite (losses {losses[i].tolist()}): take fewer "
                    "--steps, or a lower --learning_rate."
                )
            yield own, losses[i]


def disagreement(
    method: Method,
    variables: Variables,
    support: Batch,
    *,
    steps: int,
    learning_rate: float | None = None,
) -> np.ndarray | None:
    """How each window of a support fares after adaptation to the others.

    Arguments as `adapted`'s.

    Returns:
      `[K]`, its loss as a multiple of the median of the other windows' such losses; None for fewer
      than three windows, which cannot outvote one.
    """
    number = len(support["mask"])
    if number < 3:
        return None
    others = ~np.eye(number, dtype=bool)
    without = [{**support, "mask": support["mask"] & row} for row in others]
    found = adapted(method, variables, without, steps=steps, learning_rate=learning_rate)
    losses = []
    for i, (moved, _) in enumerate(found):
        alone = {**support, "mask": support["mask"] & ~others[i]}
        losses.append(loss_on(method, moved, alone, rated=learning_rate is not None))
    losses = np.array(losses)
    return np.array([losses[i] / np.median(losses[row]) for i, row in enumerate(others)])


def loss_on(method: Method, variables: Variables, support: Batch, *, rated: bool = False) -> float:
    """The loss that `Method.adapt` lowers, on a support; `rated` says which program is at hand."""
    judged = jax.tree.map(lambda leaf: np.asarray(leaf)[None], support)
    _, losses = compiled_steps(method, 1, rated=rated)(variables, judged, 0.0)  # before its step
    return float(losses[0, 0])
