"""Damaged checkpoints are named and passed over, and training can go on behind them."""

import doctest
import shutil

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vad_jax.learning import meta
from vad_jax.learning.checkpoint import Checkpoints, read_variables
from vad_jax.types import CheckpointError

VARIABLES = {"params": {"w": jnp.arange(6.0).reshape(2, 3)}, "state": {"m": jnp.ones(3)}}
SLOTS = optax.adam(0.1).init(VARIABLES["params"])


def position(step):
    return {"step": step, "epoch": 0, "digest": "d"}


def saved(folder, *steps):
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(VARIABLES, SLOTS, position(step))
    return folder


def damage(folder, step):
    shutil.rmtree(folder / str(step) / "variables")


def test_the_newest_comes_back(tmp_path):
    with Checkpoints(saved(tmp_path / "c", 20, 40)) as checkpoints:
        variables, slots, found = checkpoints.latest(VARIABLES, SLOTS)
    assert found == position(40)
    np.testing.assert_array_equal(variables["params"]["w"], VARIABLES["params"]["w"])
    assert type(slots) is type(SLOTS)


def test_a_damaged_one_is_passed_over_and_can_be_saved_anew(tmp_path, caplog):
    folder = saved(tmp_path / "c", 20, 40)
    damage(folder, 40)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest(VARIABLES, SLOTS)[2] == position(20)
        assert "step 40 cannot be read" in caplog.text
        checkpoints.save(VARIABLES, SLOTS, position(40))
    assert read_variables(folder, VARIABLES)[1] == position(40)


def test_none_that_can_be_read_is_an_error_that_names_the_folder(tmp_path):
    folder = saved(tmp_path / "c", 20)
    damage(folder, 20)
    with (
        Checkpoints(folder) as checkpoints,
        pytest.raises(CheckpointError, match="no checkpoint can be read"),
    ):
        checkpoints.latest(VARIABLES, SLOTS)


def test_another_shape_is_not_restored(tmp_path):
    folder = saved(tmp_path / "c", 20)
    other = {**VARIABLES, "params": {"w": jnp.zeros((2, 4))}}
    with pytest.raises(CheckpointError):
        read_variables(folder, other)


def test_an_optimiser_without_state_has_no_slots(tmp_path):
    slots = optax.sgd(0.1).init(VARIABLES["params"])
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(VARIABLES, slots, position(1))
        assert checkpoints.newest() == 1
        assert checkpoints.latest(VARIABLES, slots)[1] == slots


def test_no_checkpoint_is_none(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.latest(VARIABLES, SLOTS) is None
        assert checkpoints.newest() is None


def test_the_example_of_adapt_is_true():
    assert doctest.testmod(meta).attempted == 3
    assert doctest.testmod(meta).failed == 0
