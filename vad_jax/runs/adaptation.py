"""Few-shot adaptation of any method: supports, many of them in one call, and their outliers.

`Method.adapt` does the steps; here they are laid out. Letters: K shots.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import create
from vad_jax.data.frames import Frames
from vad_jax.data.windows import frame_indices
from vad_jax.detector import Detector, steps_by_program
from vad_jax.types import Batch, ConfigError, InputSpec, Method, TrainingError, Variables

TOGETHER = 8  # videos that are adapted in one call
OUTLIER = 3.0  # times the median of its fellows' losses


def support_batch(spec: InputSpec, video: Frames, first: np.ndarray) -> Batch:
    """Windows of a video as the support of `Method.adapt`."""
    return {
        "frames": np.array(video.read(frame_indices(spec, first))),
        "mask": np.ones(len(first), bool),
        "video": np.zeros(len(first), np.int32),
        "frame": np.asarray(first, np.int32),
    }


@functools.lru_cache(maxsize=16)
def _adapt(method: Method, steps: int, *, shared: bool = True) -> Callable[..., Any]:
    """`method.adapt` to many supports, of one set of variables or of each one's own, under jit."""
    in_axes = (None if shared else 0, 0)
    return jax.jit(jax.vmap(functools.partial(method.adapt, steps=steps), in_axes=in_axes))


def adapted(
    method: Method, variables: Variables, supports: Sequence[Batch], *, steps: int
) -> Iterator[tuple[Variables, np.ndarray]]:
    """The variables adapted to each support, all from the same ones, several in one call.

    Where steps go one by one (`steps_by_program`), so do supports: convolutions side by side, whose
    kernels differ from the second step on, are several times slower on CPUs.

    Args:
      method, variables: what is adapted.
      supports: batches of equally many windows.
      steps: gradient steps.

    Yields:
      For each support the variables, on the host, and the losses before each step `[steps]`.

    Raises:
      TrainingError: the steps lead to parameters that are not finite.
    """
    first, *further = steps_by_program(steps)
    size = 1 if further else min(TOGETHER, len(supports))
    for begin in range(0, len(supports), size):
        some = supports[begin : begin + size]
        filled = [*some, *[some[0]] * (size - len(some))]  # one shape, one program
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *filled)
        moved, losses = _adapt(method, first)(variables, stacked)
        each = [losses]
        for number in further:
            moved, losses = _adapt(method, number, shared=False)(moved, stacked)
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
    method: Method, variables: Variables, support: Batch, *, steps: int
) -> np.ndarray | None:
    """How each window of a support fares after adaptation to the others.

    Returns:
      `[K]`, its loss as a multiple of the median of the other windows' such losses; None for fewer
      than three windows, which cannot outvote one.
    """
    number = len(support["mask"])
    if number < 3:
        return None
    others = ~np.eye(number, dtype=bool)
    judge = _adapt(method, 1)  # the loss before its step
    without = [{**support, "mask": support["mask"] & row} for row in others]
    losses = []
    for i, (moved, _) in enumerate(adapted(method, variables, without, steps=steps)):
        alone = {**support, "mask": support["mask"] & ~others[i]}
        judged = jax.tree.map(lambda leaf: np.asarray(leaf)[None], alone)
        losses.append(float(judge(moved, judged)[1][0, 0]))
    losses = np.array(losses)
    return np.array([losses[i] / np.median(losses[row]) for i, row in enumerate(others)])


def rule(detector: Detector) -> str:
    """How the detector adapts, in words."""
    if "step_size" in detector.variables["state"]:
        return "by learned step sizes"
    return f"at the rate {detector.config.adapt.learning_rate:g} (adapt.learning_rate)"


def with_rate(detector: Detector, learning_rate: float) -> Detector:
    """The detector as plain fine-tuning at a rate adapts it, learned step sizes left out.

    Raises:
      ConfigError: a rate that is none.
    """
    if not 0 < learning_rate < math.inf:
        raise ConfigError(f"--learning_rate={learning_rate}: must be finite and greater than 0.")
    config = detector.config.copy_and_resolve_references()
    config.adapt.learning_rate = learning_rate
    state = {k: v for k, v in detector.variables["state"].items() if k != "step_size"}
    variables = {**detector.variables, "state": state}
    return replace(detector, method=create(config), config=config, variables=variables)
