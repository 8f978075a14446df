"""Adaptation by gradient steps that can themselves be differentiated. Public as `vad_jax.meta`.

Knows nothing of video: any pure `loss(params, batch) -> scalar` over any pytree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def adapt(
    loss: Callable[[Any, Any], jax.Array],
    params: Any,
    step_size: Any,
    support: Any,
    *,
    steps: int = 1,
) -> tuple[Any, jax.Array]:
    """Takes plain gradient steps on a support set.

    `params <- params - step_size * gradient`; the gradient of the result with respect to `params`
    and `step_size` goes through the steps (second order).

    Args:
      loss: pure, `(params, support) -> scalar`.
      params: any pytree of floating arrays.
      step_size: one number for all, or a pytree like `params` of numbers or arrays.
      support: whatever `loss` takes.
      steps: number of steps; 0 returns `params` as they came.

    Returns:
      The adapted parameters, and the losses before each step, `[steps]`.

    Example:
      >>> import jax.numpy as jnp
      >>> params, losses = adapt(lambda p, x: (p - x) ** 2, jnp.array(0.0), 0.5, 3.0, steps=2)
      >>> float(params), losses.tolist()
      (3.0, [9.0, 0.0])

    Source: MAML (Finn et al. 2017); with a step size for each parameter Meta-SGD (Li et al. 2017).
    """
    if jax.tree.structure(step_size) != jax.tree.structure(params):
        step_size = jax.tree.map(lambda _: step_size, params)

    def step(params, _):
        value, gradient = jax.value_and_grad(loss)(params, support)
        moved = jax.tree.map(lambda p, a, g: p - a * g, params, step_size, gradient)
        moved = jax.tree.map(lambda new, old: new.astype(old.dtype), moved, params)
        return moved, value

    return jax.lax.scan(step, params, length=steps)
