"""How long a run is, and its seed, are data of its programs: others compile nothing anew."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import toys
from support.training import noise, settings, train

from vad_jax import runtime
from vad_jax.learning import optim

VIDEOS = noise(1, length=41)


def trained(method, folder, *, epochs, seed=0):
    """The parameters after some epochs, and how many of its programs were not in the cache."""
    config = settings(method, epochs=epochs)
    config.seed = seed
    before = runtime._programs().copy()
    variables = train(method, config, VIDEOS, noise(2), folder)
    new = runtime._programs() - before
    return variables["params"], new["wanted"] - new["found"]


def with_optimizer(optimizer):
    method = toys.toy(toys.spec(frames=2, sees=(0, 1), scored=(1,), step=1))
    return dataclasses.replace(
        method, stages=(dataclasses.replace(method.stages[0], optimizer=optimizer),)
    )


def scheduled(schedule):
    return with_optimizer(lambda **length: optim.adam(1e-2, schedule, **length))


@pytest.mark.parametrize("schedule", optim.SCHEDULES)
def test_another_number_of_epochs_or_another_seed_compiles_nothing(schedule, tmp_path):
    method = scheduled(schedule)
    first, _ = trained(method, tmp_path / "first", epochs=2)
    longer, compiled = trained(method, tmp_path / "longer", epochs=3)
    assert compiled == 0
    assert not np.array_equal(longer["level"], first["level"])
    _, compiled = trained(method, tmp_path / "seed", epochs=3, seed=1)
    assert compiled == 0


def by_epoch(step, steps_per_epoch, steps):
    epochs = -(-steps // steps_per_epoch)
    return 1e-3 * (1 + jnp.cos(jnp.pi * (step // steps_per_epoch) / epochs)) / 2


def by_step(step, steps_per_epoch, steps):
    return 1e-3 * (1 + jnp.cos(jnp.pi * step / steps)) / 2


@pytest.mark.parametrize(
    ("make", "formula"), [(optim.cosine_by_epoch, by_epoch), (optim.cosine_by_step, by_step)]
)
def test_rates_are_to_the_bit_those_of_a_length_that_is_constant(make, formula, fully_optimised):
    """So runs of versions that compiled their length go on with the rates they had."""

    @jax.jit
    def as_data(length, step):
        return make(1e-3, **length)(step)

    for steps_per_epoch, steps in ((1, 7), (23, 23 * 10), (5, 13), (4, 4)):
        length = {"steps_per_epoch": steps_per_epoch, "steps": steps}
        data = {name: np.int32(number) for name, number in length.items()}
        compiled = jax.jit(functools.partial(formula, **length))
        given = jax.jit(make(1e-3, **length))
        for step in map(np.int32, range(0, steps + 1, max(1, steps // 20))):
            assert as_data(data, step) == given(step) == compiled(step)


def test_an_optimizer_that_decides_by_the_length_is_made_for_one(tmp_path):
    """As `optax.cosine_decay_schedule` does, which checks its length."""

    def optimizer(*, steps_per_epoch, steps):
        return optax.sgd(optax.cosine_decay_schedule(0.1, steps))

    moved, _ = trained(with_optimizer(optimizer), tmp_path / "run", epochs=2)
    assert np.ptp(moved["level"]) > 0
