"""Schedules: what the learning rate is at each step."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vad_jax.learning import optim

STEPS, AN_EPOCH = 12, 4


def rates(schedule):
    adam = optim.adam(0.5, schedule, steps_per_epoch=AN_EPOCH, steps=STEPS)
    params = jnp.zeros(2)
    state, found = adam.init(params), []
    for _ in range(STEPS):
        updates, state = adam.update(jnp.ones(2), state, params)
        params = optax.apply_updates(params, updates)
        found.append(float(optim.learning_rate(state)))
    return found


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("constant", lambda step: 0.0),
        ("cosine", lambda step: (step // AN_EPOCH) / (STEPS // AN_EPOCH)),
        ("cosine_by_step", lambda step: step / STEPS),
    ],
)
def test_rates_follow_the_schedule(schedule, share):
    expected = [0.5 * (1 + np.cos(np.pi * share(step))) / 2 for step in range(STEPS)]
    np.testing.assert_allclose(rates(schedule), expected, rtol=1e-5)
