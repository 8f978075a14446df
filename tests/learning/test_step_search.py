"""Steps and rate that nobody said: found on held-out halves of the support, or none that helps."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import toy

from vad_jax import config as configs
from vad_jax.learning import meta
from vad_jax.learning.adaptation import adapted, compiled_steps, loss_on
from vad_jax.learning.step_search import GAIN, MOST_STEPS, RATES, check_rate, check_steps, plan
from vad_jax.types import ConfigError

CURVATURE = 20.0  # of the loss: plain descent diverges from a rate of 0.1 on


def method_of(loss):
    """A toy of which `level` is one number, adapted by a loss of it and of each window."""

    def adapt(variables, support, *, steps, learning_rate=None):
        def mean(level, support):
            each = loss(level, support["frames"])
            return jnp.sum(each * support["mask"]) / jnp.sum(support["mask"])

        rate = 1e-4 if learning_rate is None else learning_rate
        params, losses = meta.adapt(mean, variables["params"], rate, support, steps=steps)
        return {**variables, "params": params}, losses

    return dataclasses.replace(toy(), adapt=adapt)


def valley(level, place):
    return 0.5 * CURVATURE * jnp.square(level - place) + 1.0


VARIABLES = {"params": jnp.zeros(()), "state": {}}


def support(*places):
    places = np.array(places, np.float32)
    return {"frames": places, "mask": np.ones(len(places), bool)}


@pytest.fixture
def config():
    return configs.defaults("mnad")


def test_a_scene_that_is_elsewhere_is_reached(config):
    method, given = method_of(valley), support(3.0, 3.1, 2.9, 3.0)
    found = plan(method, VARIABLES, given, config)
    assert found.helps
    assert found.learning_rate in RATES
    assert found.learning_rate < 2 / CURVATURE, "beyond this descent goes up"
    assert found.after < 0.2 * found.before
    how = {"steps": found.steps, "learning_rate": found.learning_rate}
    ((moved, _),) = adapted(method, VARIABLES, [given], **how)
    assert loss_on(method, moved, given) < 0.2 * loss_on(method, VARIABLES, given)


def test_what_is_reported_is_the_loss_of_windows_that_were_not_stepped_on(config):
    method, given = method_of(valley), support(3.0, 3.1, 2.9, 3.0)
    found = plan(method, VARIABLES, given, config)
    halves = [given["mask"] & (np.arange(4) < 2), given["mask"] & (np.arange(4) >= 2)]
    how = {"steps": found.steps, "learning_rate": found.learning_rate}
    losses = []
    for on, held_out in (halves, halves[::-1]):
        ((moved, _),) = adapted(method, VARIABLES, [{**given, "mask": on}], **how)
        losses.append(loss_on(method, moved, {**given, "mask": held_out}))
    assert found.after == pytest.approx(np.mean(losses))
    assert found.before == pytest.approx(loss_on(method, VARIABLES, given))


def test_windows_that_agree_on_nothing_are_not_followed(config):
    """What helps one half harms the other: no step is taken, and this is said."""
    found = plan(method_of(valley), VARIABLES, support(3.0, 3.0, -3.0, -3.0), config)
    assert (found.steps, found.learning_rate, found.after) == (0, None, found.before)
    assert not found.helps
    assert "no step that was tried lowers the loss of held-out windows" in found.says


def test_a_loss_that_leaves_what_is_finite_is_passed_over(config):
    def cliff(level, place):
        return jnp.where(jnp.abs(level) > 1, jnp.nan, valley(level, place))

    found = plan(method_of(cliff), VARIABLES, support(0.5, 0.5), config)
    assert found.helps
    assert found.after < (1 - GAIN) * found.before


def test_equal_supports_give_equal_plans(config):
    method, given = method_of(valley), support(3.0, 3.1, 2.9)
    assert plan(method, VARIABLES, given, config) == plan(method, VARIABLES, given, config)


def test_a_small_rate_takes_more_steps(config):
    """Where only the least rates are stable, steps are doubled while they help."""

    def steep(level, place):
        return 1e3 * jnp.square(level - place)

    found = plan(method_of(steep), VARIABLES, support(1.0, 1.0), config)
    assert 1 < found.steps <= MOST_STEPS


def test_what_someone_said_is_not_searched_for(config):
    method, given = method_of(valley), support(3.0, 3.0)
    assert plan(method, VARIABLES, given, config, learning_rate=0.5)[:3] == (1, 0.5, None)
    assert plan(method, VARIABLES, given, config, steps=0)[:3] == (0, None, None)
    assert plan(method, VARIABLES, given, config, steps=3).steps == 3
    config.adapt.learning_rate = 1e-2
    assert plan(method, VARIABLES, given, config)[:3] == (1, None, None)
    config.adapt.steps = 5
    assert plan(method, VARIABLES, given, config)[:3] == (5, None, None)


def test_learned_step_sizes_are_the_rule(config):
    learned = {**VARIABLES, "state": {"step_size": jnp.zeros(())}}
    found = plan(method_of(valley), learned, support(3.0, 3.0), config)
    assert found[:4] == (1, None, None, None)


def test_one_window_holds_none_out(config):
    found = plan(method_of(valley), VARIABLES, support(3.0), config)
    assert (found.steps, found.before) == (1, None)
    assert "one window holds none out" in found.says


def test_another_rate_compiles_nothing(config):
    method, given = method_of(valley), support(3.0, 3.0)
    next(adapted(method, VARIABLES, [given], steps=1, learning_rate=0.01))
    program = compiled_steps(method, 1, rated=True)
    size = program._cache_size()
    next(adapted(method, VARIABLES, [given], steps=1, learning_rate=0.02))
    assert program._cache_size() == size == 1


@pytest.mark.parametrize("steps", [-1, 1.5, True, "3"])
def test_steps_are_a_whole_number(steps):
    with pytest.raises(ConfigError, match=r"--steps=.*a whole number, 0 or more"):
        check_steps(steps)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_above_zero(rate):
    with pytest.raises(ConfigError, match=r"--learning_rate=.*finite and greater than 0"):
        check_rate(rate)
