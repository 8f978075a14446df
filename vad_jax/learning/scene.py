"""What normal clips of a new scene score once a method is adapted to it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.learning.adaptation import adapted
from vad_jax.learning.statistics import summary
from vad_jax.learning.step_search import Plan, halves
from vad_jax.scoring import compiled
from vad_jax.types import Batch, Method, Variables

LEAST = 10  # clips from which a spread can be told


def scene_statistics(
    method: Method, variables: Variables, support: Batch, plan: Plan
) -> tuple[dict[str, dict[str, float]], float]:
    """Statistics of the score parts on a support, each half scored after adaptation to the other.

    What was adapted on scores too low, so that no clip is judged by what has seen it.

    Args:
      method, variables: before adaptation.
      support: at least two windows.
      plan: how the method is adapted.

    Returns:
      Part → `summary`; and the 99th percentile of error maps, NaN where none are drawn.
    """
    parts: dict[str, list[np.ndarray]] = {}
    highest: list[float] = []
    how = {"steps": plan.steps, "learning_rate": plan.learning_rate}
    for one, other in halves(support):
        ((moved, _),) = adapted(method, variables, [one], **how)
        judged = other["mask"]
        scores = _scored(method, moved, {name: leaf[judged] for name, leaf in support.items()})
        for name, part in scores.parts.items():
            parts.setdefault(name, []).append(np.asarray(part))
        if scores.maps is not None:
            highest += [float(np.quantile(clip, 0.99)) for clip in scores.maps]
    statistics = {name: summary(values) for name, values in parts.items()}
    return statistics, float(np.mean(highest)) if highest else float("nan")


def _scored(method: Method, variables: Variables, batch: Batch) -> Any:
    """The scores of windows, each as the first of a stream of its own."""
    carried = method.carry_over != "none"
    score, start = compiled(method, maps=True, streams=carried), method.start(variables)
    if not carried:
        return jax.device_get(score(variables, start, batch)[1])
    number = len(batch["mask"])
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), start)
    alone = jax.tree.map(lambda leaf: leaf[:, None], batch)
    scores = jax.device_get(score(variables, starts, alone)[1])
    return jax.tree.map(lambda leaf: leaf[:, 0], scores)
