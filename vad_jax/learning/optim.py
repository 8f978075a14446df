"""Optimisers and schedules, all of them Optax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from vad_jax.learning.subsets import named


def cosine_by_epoch(learning_rate: float, *, steps_per_epoch: int, steps: int) -> optax.Schedule:
    """Half a cosine from the rate to zero that moves once an epoch.

    In epoch e of E: `rate (1 + cos(pi e / E)) / 2`, as PyTorch's CosineAnnealingLR stepped once an
    epoch with `T_max` = E.
    """
    epochs = jnp.maximum(1, -(-steps // steps_per_epoch))

    def rate(step):
        return _half_cosine(learning_rate, step // steps_per_epoch, epochs)

    return rate


def cosine_by_step(learning_rate: float, *, steps_per_epoch: int, steps: int) -> optax.Schedule:
    """Half a cosine from the rate to zero over all steps, however many epochs they make."""
    del steps_per_epoch
    return lambda step: _half_cosine(learning_rate, step, steps)


def _half_cosine(learning_rate, at, length):
    # Grouped as XLA groups it where the length is a constant: with a length that is data the rates
    # are the same to the bit.
    length = jnp.asarray(length)  # a Python number would be divided in float64
    angle = jnp.minimum(at, length) * (jnp.pi * (1.0 / length))
    return learning_rate * (1 + jnp.cos(angle)) / 2


_MOVING = {"cosine": cosine_by_epoch, "cosine_by_step": cosine_by_step}
SCHEDULES = ("constant", *_MOVING)


def adam(
    learning_rate: float,
    schedule: Literal["cosine", "cosine_by_step", "constant"],
    *,
    steps_per_epoch: int,
    steps: int,
) -> optax.GradientTransformation:
    """Adam (0.9, 0.999, epsilon 1e-8, no decay) whose state names the present learning rate.

    The schedule `cosine` moves once an epoch: over a single epoch it is constant. The lengths may
    be traced: a program that gets them as data is one for all numbers of epochs.
    """
    rate = learning_rate
    if schedule != "constant":
        rate = _MOVING[schedule](learning_rate, steps_per_epoch=steps_per_epoch, steps=steps)
    return optax.inject_hyperparams(optax.adam)(learning_rate=rate)


def only(
    transform: optax.GradientTransformation, trainable: Callable[[str], bool], params: Any
) -> optax.GradientTransformation:
    """Restricts a transformation to the trainable paths; the others stay and have no slot."""
    chosen = [bool(trainable(path)) for path, _ in named(params)]
    if all(chosen):
        return transform
    labels = jax.tree.unflatten(
        jax.tree.structure(params), ["moves" if c else "stays" for c in chosen]
    )
    return optax.multi_transform({"moves": transform, "stays": optax.set_to_zero()}, labels)


def learning_rate(state: Any) -> jax.Array | None:
    """The rate that an optimiser state names, or None."""
    rates = [rate for _, rate in optax.tree_utils.tree_get_all_with_path(state, "learning_rate")]
    return rates[0] if rates else None
