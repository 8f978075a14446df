"""Meta-learning: episodes, devices that share them, a state, aux, mistakes; in float64."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from support.meta import (
    E,
    K,
    at,
    close,
    close_trees,
    learned,
    loss,
    network,
    steps_of,
    value_and_gradient,
)

from vad_jax import meta
from vad_jax.nets.conv import conv

pytestmark = pytest.mark.usefixtures("x64")


# Episodes


@settings(deadline=None, max_examples=10)
@given(rows=st.permutations(range(E)))
def test_the_order_of_episodes_does_not_matter(params, episodes, rows):
    value, gradient, seen = value_and_gradient(learned(params), episodes, before=True)
    turned, turned_gradient, turned_seen = value_and_gradient(
        learned(params), at(episodes, rows), before=True
    )
    close_trees((turned, turned_gradient), (value, gradient))
    close_trees(turned_seen, at(seen, rows))


def test_jitted_is_eager(params, episodes):
    given, how = learned(params), {"steps": 2, "before": True}
    eager = jax.value_and_grad(functools.partial(meta.meta_loss, loss, **how), has_aux=True)
    (value, seen), gradient = eager(given, episodes)
    close_trees(value_and_gradient(given, episodes, **how), (value, gradient, seen))


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_chunks_of_episodes_are_episodes_side_by_side(params, episodes, chunk):
    how = {"steps": 2, "before": True}
    close_trees(
        value_and_gradient(learned(params), episodes, chunk=chunk, **how),
        value_and_gradient(learned(params), episodes, **how),
    )


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("further", [{}, {"remat": True}, {"chunk": 2}])
def test_written_out_is_the_loop(params, episodes, steps, further):
    how = {"steps": steps, "before": True, **further}
    episodes = at(episodes, [0, 1, 2])  # a whole chunk and a rest; each is compiled apart
    close_trees(
        value_and_gradient(learned(params), episodes, unroll=True, **how),
        value_and_gradient(learned(params), episodes, **how),
    )


def test_one_episode_is_the_mean_of_two_copies(params, episodes):
    given, one = learned(params), jax.tree.map(lambda x: x[:1], episodes)
    two = jax.tree.map(lambda x: jnp.concatenate([x, x]), one)
    for steps in (1, 2):
        value, gradient, seen = value_and_gradient(given, one, steps=steps, before=True)
        same, its_gradient, its = value_and_gradient(given, two, steps=steps, before=True)
        close(value, same)
        close_trees(gradient, its_gradient)
        close_trees(seen, jax.tree.map(lambda x: x[:1], its))


@pytest.mark.parametrize("order", [1, 2])
def test_computing_steps_again_changes_no_number(params, episodes, order):
    how = {"steps": 3, "order": order}
    close_trees(
        value_and_gradient(learned(params), episodes, remat=True, **how),
        value_and_gradient(learned(params), episodes, **how),
    )


@settings(deadline=None, max_examples=10)
@given(counts=st.lists(st.booleans(), min_size=E, max_size=E), junk=st.floats(-1e3, 1e3))
def test_a_masked_episode_changes_nothing(params, episodes, counts, junk):
    counts = np.array(counts)

    def spoilt(x):
        where = counts.reshape((E,) + (1,) * (x.ndim - 1))
        return x if x.dtype == bool else jnp.where(where, x, junk)

    masked = {**jax.tree.map(spoilt, episodes), "mask": jnp.array(counts)}
    value, gradient, _ = value_and_gradient(learned(params), masked)
    if not counts.any():
        assert value == 0
        return
    expected = value_and_gradient(learned(params), at(episodes, np.flatnonzero(counts)))
    close_trees((value, gradient), expected[:2])


def test_a_mask_may_be_weights(params, episodes):
    weights = jnp.array([2.0, 1.0, 0.0, 0.0, 1.0])
    value, gradient, _ = value_and_gradient(learned(params), {**episodes, "mask": weights})
    expected = value_and_gradient(learned(params), at(episodes, [0, 0, 1, 4]))
    close_trees((value, gradient), expected[:2])


@settings(deadline=None, max_examples=10)
@given(junk=st.floats(-1e3, 1e3), shots=st.integers(1, K - 1))
def test_a_masked_clip_changes_nothing(params, support, junk, shots):
    counts = np.arange(K) < shots
    few = {name: x[:shots] for name, x in support.items()}
    padded = {
        "x": jnp.where(counts[:, None], support["x"], junk),
        "y": jnp.where(counts, support["y"], junk),
        "mask": jnp.array(counts),
    }
    adapt = steps_of(loss, steps=2)
    close_trees(adapt(params, 0.1, padded), adapt(params, 0.1, few))


def shared_by_devices(given, episodes, loss, how):
    """Results with the episodes spread over four devices, and what crosses between those."""
    mesh = Mesh(jax.devices(), ("episodes",))
    assert mesh.size == 4
    spread = jax.device_put(episodes, NamedSharding(mesh, PartitionSpec("episodes")))
    shared = jax.device_put(given, NamedSharding(mesh, PartitionSpec()))
    objective = functools.partial(meta.meta_loss, loss, mesh=mesh, **how)
    program = jax.jit(jax.value_and_grad(objective, has_aux=True)).lower(shared, spread).compile()
    (value, seen), gradient = program(shared, spread)
    assert seen.inner.sharding.spec == PartitionSpec("episodes")
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    crossing = set(re.findall(rf"({kinds})(?:-start)?\(", program.as_text()))
    return (value, gradient, seen), crossing


@pytest.mark.parametrize("chunk", [None, 1])
def test_devices_share_the_episodes(params, episodes, chunk):
    given, episodes = learned(params), at(episodes, [0, 1, 2, 3, 4, 0, 1, 2])
    episodes = {**episodes, "mask": jnp.arange(8) != 5}  # one device has less to count
    how = {"steps": 2, "before": True, "chunk": chunk}
    found, crossing = shared_by_devices(given, episodes, loss, how)
    close_trees(found, value_and_gradient(given, episodes, **how))
    assert crossing == {"all-reduce"}


def test_devices_share_episodes_of_convolutions(x64):
    normal = np.random.default_rng(3).standard_normal
    params = [jnp.array(normal((3, 3, 1, 2))), jnp.array(normal((3, 3, 2, 1)))]
    images = {name: jnp.array(normal((4, 2, 6, 6, 1))) for name in ("support", "query")}

    def loss(params, x):
        return jnp.mean((conv(jnp.tanh(conv(x, params[0])), params[1]) - x) ** 2)

    given = learned(params, 0.01)
    found, crossing = shared_by_devices(given, images, loss, {})
    close_trees(found, value_and_gradient(given, images, loss))
    assert crossing == {"all-reduce"}


# State, aux, and what is not finite


def moving(params, state, batch):
    """A running mean of the targets that the prediction is compared with."""
    mean = 0.9 * state + 0.1 * jnp.mean(batch["y"])
    error = network(params, batch["x"]) - batch["y"] + mean
    return jnp.mean(error**2), (mean, {"mean": mean})


def test_a_state_is_frozen_by_default(params, support, episodes):
    state = jnp.array(2.0)
    how = {"state": state, "steps": 3, "has_aux": True}
    _, (_, aux) = meta.adapt(moving, params, 0.01, support, **how)
    first = 0.9 * state + 0.1 * jnp.mean(support["y"])
    close(aux["mean"], jnp.full(3, first))
    _, seen = meta.meta_loss(moving, learned(params, 0.01), episodes, **how)
    close(seen.aux["mean"], 0.9 * state + 0.1 * jnp.mean(episodes["query"]["y"], axis=1))


def test_a_carried_state_goes_from_step_to_step_and_into_the_query(params, support, episodes):
    how = {"state": jnp.array(2.0), "steps": 3, "has_aux": True, "carry_state": True}
    adapted, (losses, aux) = meta.adapt(moving, params, 0.01, support, **how)
    moved, state = params, jnp.array(2.0)
    for value, mean in zip(losses, aux["mean"], strict=True):
        (expected, (state, _)), g = jax.value_and_grad(moving, has_aux=True)(moved, state, support)
        moved = jax.tree.map(lambda p, g: p - 0.01 * g, moved, g)
        close(value, expected)
        close(mean, state)
    close_trees(adapted, moved)
    _, seen = meta.meta_loss(moving, {"init": params, "step_size": 0.01}, episodes, **how)
    query = jax.tree.map(lambda x: x[0], episodes["query"])
    close(seen.after[0], moving(moved, state, query)[0])


def test_a_frozen_state_is_a_loss_that_closes_over_it(params, support):
    def without_aux(params, state, batch):
        value, (state, _) = moving(params, state, batch)
        return value, state

    state = jnp.array(2.0)
    close_trees(
        meta.adapt(without_aux, params, 0.01, support, state=state, steps=2),
        meta.adapt(lambda p, b: moving(p, state, b)[0], params, 0.01, support, steps=2),
    )


def test_aux_passes_through(params, support, episodes):
    def with_aux(params, batch):
        return loss(params, batch), {"prediction": network(params, batch["x"])}

    adapted, (losses, aux) = meta.adapt(with_aux, params, 0.1, support, steps=2, has_aux=True)
    close_trees((adapted, losses), meta.adapt(loss, params, 0.1, support, steps=2))
    assert aux["prediction"].shape == (2, K)
    close(aux["prediction"][0], network(params, support["x"]))
    _, seen = meta.meta_loss(
        with_aux, {"init": params, "step_size": 0.1}, episodes, steps=2, has_aux=True
    )
    query = jax.tree.map(lambda x: x[0], episodes["query"])
    close(seen.aux["prediction"][0], network(adapted, query["x"]))


def test_the_meta_loss_says_what_it_saw(params, episodes):
    value, _, seen = value_and_gradient(learned(params), episodes, steps=3, before=True)
    assert seen.inner.shape == (E, 3)
    assert seen.before.shape == seen.after.shape == (E,)
    assert seen.aux is None
    close(value, jnp.mean(seen.after))
    close(seen.before, jax.vmap(loss, (None, 0))(params, episodes["query"]))
    close(seen.inner[:, 0], jax.vmap(loss, (None, 0))(params, episodes["support"]))
    assert value_and_gradient(learned(params), episodes)[2].before is None


def test_a_step_that_is_not_finite_stays_visible(params, support, episodes):
    _, losses = meta.adapt(loss, params, 1e200, support, steps=3)
    assert np.isfinite(losses).tolist() == [True, False, False]
    broken = {**episodes, "support": {**episodes["support"]}}
    broken["support"]["y"] = episodes["support"]["y"].at[2, 0].set(jnp.nan)
    value, seen = meta.meta_loss(loss, learned(params), broken)
    assert jnp.isnan(value)
    assert np.flatnonzero(np.isnan(seen.after)).tolist() == [2]


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 3}, "order is 1 or 2, not 3"),
        ({"chunk": 0}, "chunk is None or at least 1, not 0"),
        ({"carry_state": True}, "pass state"),
        ({"episodes": {"suport": 1}}, r"\['query', 'suport', 'support'\]; expected"),
        ({"episodes": {"mask": np.ones(3)}}, r"shape \(3,\), there are 5 episodes"),
        ({"steps": -1}, "steps is a whole number, 0 or more, not -1"),
        ({"steps": 1.5}, r"steps is a whole number, 0 or more, not 1\.5"),
        ({"steps": True}, "steps is a whole number, 0 or more, not True"),
        ({"episodes": {"query": {"x": 1.0}}}, r"axis E in front.*query/x \[\].*x\[None\]"),
        ({"episodes": {"query": np.ones((4, 3))}}, r"same number in all.*query \[4, 3\]"),
        ({"meta": {"rate": 0.1}}, r"meta has the keys \['init', 'rate', 'step_size'\]"),
    ],
)
def test_a_mistake_is_a_clear_error(params, episodes, changes, message):
    episodes = {**episodes, **changes.pop("episodes", {})}
    given = {**learned(params), **changes.pop("meta", {})}
    with pytest.raises(ValueError, match=message):
        meta.meta_loss(loss, given, episodes, **changes)
