"""Meta-learning: steps, their derivatives against finite differences, subsets; in float64."""

import dataclasses
import doctest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.meta import (
    ADAM,
    E,
    close,
    close_trees,
    exactly,
    learned,
    loss,
    steps_of,
    value_and_gradient,
)

from vad_jax import meta
from vad_jax.learning import subsets
from vad_jax.nets.conv import conv

pytestmark = pytest.mark.usefixtures("x64")


def by_hand(given, episodes, steps, first_order=False):
    """MAML as its paper's box has it: loops, no scan, no vmap."""
    total = 0.0
    for e in range(E):
        support, query = (
            jax.tree.map(lambda x, e=e: x[e], episodes[s]) for s in ("support", "query")
        )
        moved = given["init"]
        for _ in range(steps):
            gradient = jax.grad(loss)(moved, support)
            if first_order:
                gradient = jax.lax.stop_gradient(gradient)
            moved = jax.tree.map(lambda p, a, g: p - a * g, moved, given["step_size"], gradient)
        total += loss(moved, query)
    return total / E


# Derivatives


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_it_is_maml_written_out(params, episodes, steps, order):
    given = learned(params)
    expected = jax.value_and_grad(by_hand)(given, episodes, steps, first_order=order == 1)
    value, gradient, _ = value_and_gradient(given, episodes, steps=steps, order=order)
    close_trees((value, gradient), expected)


def slopes(objective, at, gradient, *, step, seed=0):
    """(by finite differences, by the gradient) along a random direction in each leaf."""
    leaves, tree = jax.tree.flatten(at)
    rng = np.random.default_rng(seed)
    for i, leaf in enumerate(leaves):
        direction = rng.standard_normal(leaf.shape)

        def moved(h, i=i, direction=direction):
            there = list(leaves)
            there[i] = there[i] + h * direction
            return objective(jax.tree.unflatten(tree, there))

        found = (moved(step) - moved(-step)) / (2 * step)
        yield float(found), float(jnp.vdot(jax.tree.leaves(gradient)[i], direction))


HOWS = {
    "three steps": {"steps": 3},
    "a subset": {"steps": 2, "subset": "head/.*"},
    "a step size a tensor": {"steps": 2, "shape": "tensor"},
    "one for all": {"steps": 2, "shape": "shared"},
    "Adam inside": {"steps": 3, "optimizer": ADAM, "value": 1.0},
    "momentum inside, remat": {"steps": 3, "optimizer": optax.sgd(1.0, 0.9), "remat": True},
    "in chunks": {"steps": 2, "chunk": 2},
}


@pytest.mark.parametrize("name", HOWS)
def test_the_gradient_is_that_of_finite_differences(params, episodes, name):
    how = dict(HOWS[name])
    made = {key: how.pop(key) for key in ("shape", "value") if key in how}
    given = learned(params, subset=how.get("subset"), **made)
    _, gradient, _ = value_and_gradient(given, episodes, **how)

    def objective(given):
        return value_and_gradient(given, episodes, **how)[0]

    # Central differences: an error of h² = 1e-10 times third derivatives, rounding 1e-16 / h.
    for found, expected in slopes(objective, given, gradient, step=1e-5):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_what_stays_put_has_its_whole_derivative(params, episodes):
    _, gradient, _ = value_and_gradient(
        learned(params, subset="head/.*"), episodes, subset="head/.*"
    )
    _, first, _ = value_and_gradient(
        learned(params, subset="head/.*"), episodes, subset="head/.*", order=1
    )
    assert jnp.linalg.norm(gradient["init"]["body"]["w"]) > 0.1
    gap = gradient["init"]["body"]["w"] - first["init"]["body"]["w"]
    assert jnp.linalg.norm(gap) > 0.01  # the part that goes through the steps


def test_the_objective_of_a_relu_net_jumps():
    # The inner gradient is 1 above w = 1 and 0 below: so is the step. A difference that is taken
    # across the jump has nothing to do with the derivative, however smooth both sides are.
    def hinge(w, x):
        return jax.nn.relu(w - x)

    def objective(w):
        return meta.adapt(hinge, w, 0.5, 1.0)[0] ** 2

    w = jnp.array(1 + 1e-7)
    exact = jax.grad(objective)(w)
    close(exact, 2 * (w - 0.5))

    def difference(h):
        return (objective(w + h) - objective(w - h)) / (2 * h)

    np.testing.assert_allclose(difference(1e-8), exact, rtol=1e-6)
    assert abs(difference(1e-6)) > 1e5


@pytest.mark.parametrize("subset", [None, "body/.*"])
def test_second_order_goes_through_the_houses_convolutions(subset):
    rng = np.random.default_rng(2)
    params = {
        "body": {"kernel": jnp.array(rng.standard_normal((3, 3, 2, 3)))},
        "head": {"kernel": jnp.array(rng.standard_normal((3, 3, 3, 1)))},
    }
    images = {
        name: jnp.array(rng.standard_normal((2, 2, 6, 6, 2))) for name in ("support", "query")
    }

    def loss(params, x):
        y = conv(jnp.tanh(conv(x, params["body"]["kernel"])), params["head"]["kernel"])
        return jnp.mean((y[..., 0] - x[..., 0]) ** 2)

    given = learned(params, 0.01, subset=subset)
    how = {"steps": 2, "subset": subset}
    _, gradient, _ = value_and_gradient(given, images, loss, **how)
    close_trees(value_and_gradient(given, images, loss, remat=True, **how)[1], gradient)

    def objective(given):
        return value_and_gradient(given, images, loss, **how)[0]

    for found, expected in slopes(objective, given, gradient, step=1e-5):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


# Steps that change nothing, and orders that agree


def test_no_step_returns_what_came_in(params, support, episodes):
    adapted, losses = meta.adapt(loss, params, 0.1, support, steps=0)
    close_trees(adapted, params, exactly)
    assert losses.shape == (0,)
    value, gradient, seen = value_and_gradient(learned(params), episodes, steps=0, before=True)
    close(seen.before, seen.after)
    assert not any(map(jnp.any, jax.tree.leaves(gradient["step_size"])))
    close(value, jnp.mean(jax.vmap(loss, (None, 0))(params, episodes["query"])))


def test_steps_of_size_zero_return_what_came_in(params, support):
    adapted, losses = meta.adapt(loss, params, 0.0, support, steps=3)
    close_trees(adapted, params, exactly)
    exactly(losses, jnp.full(3, losses[0]))


def test_losses_are_those_before_each_step(params, support):
    _, losses = meta.adapt(loss, params, 0.05, support, steps=3)
    expected = [
        loss(meta.adapt(loss, params, 0.05, support, steps=n)[0], support) for n in range(3)
    ]
    close(losses, jnp.stack(expected))
    assert losses[0] > losses[1] > losses[2]


def test_both_orders_agree_where_the_loss_is_linear(params, episodes):
    def linear(params, batch):
        return jnp.mean(batch["x"] @ params["body"]["w"][:, 0] - batch["y"]) * 0.3

    orders = [value_and_gradient(learned(params), episodes, linear, order=o)[:2] for o in (1, 2)]
    close_trees(*orders)


def test_with_one_step_the_step_sizes_have_one_gradient_in_both_orders(params, episodes):
    first, second = (
        value_and_gradient(learned(params), episodes, steps=1, order=order)[1] for order in (1, 2)
    )
    close_trees(first["step_size"], second["step_size"])
    assert all(jnp.all(a != 0) for a in jax.tree.leaves(first["step_size"]))
    gap = first["init"]["head"]["w"] - second["init"]["head"]["w"]
    assert jnp.linalg.norm(gap) > 0.1 * jnp.linalg.norm(second["init"]["head"]["w"])


@settings(deadline=None, max_examples=10)
@given(value=st.floats(-0.1, 0.1), steps=st.integers(0, 3))
def test_equal_step_sizes_of_any_shape_are_one(params, support, value, steps):
    sizes = [meta.init_step_size(params, value, shape=s) for s in ("shared", "tensor", "parameter")]
    found = [steps_of(loss, steps=steps)(params, size, support) for size in (value, *sizes)]
    for other in found[1:]:
        close_trees(other, found[0])


def test_a_step_size_may_be_spread_over_an_axis(params, support):
    a_column = {**meta.init_step_size(params, 0.1), "body": {"w": jnp.full((1, 6), 0.1), "b": 0.1}}
    close_trees(meta.adapt(loss, params, a_column, support), meta.adapt(loss, params, 0.1, support))


def test_optax_descent_is_plain_descent(params, support):
    plain = meta.adapt(loss, params, 0.1, support, steps=3)
    close_trees(meta.adapt(loss, params, 1.0, support, steps=3, optimizer=optax.sgd(0.1)), plain)


def test_an_optimizer_starts_anew_and_remembers_within_an_episode(params, support):
    def slots_by_hand(steps):
        moved, slots = params, ADAM.init(params)
        for _ in range(steps):
            updates, slots = ADAM.update(jax.grad(loss)(moved, support), slots, moved)
            moved = optax.apply_updates(moved, updates)
        return moved

    for _ in range(2):  # nothing is left from the first call
        adapted, _ = meta.adapt(loss, params, 1.0, support, steps=3, optimizer=ADAM)
        close_trees(adapted, slots_by_hand(3))


def test_adam_needs_a_root_that_is_never_taken_at_zero(params, episodes):
    params = {**params, "head": {**params["head"], "w": jnp.zeros(6)}}  # the body's gradient is 0

    def gradient(optimizer):
        given = learned(params, 1.0)
        return value_and_gradient(given, episodes, optimizer=optimizer)[1]["init"]["body"]["w"]

    assert jnp.all(jnp.isfinite(gradient(ADAM)))
    assert not jnp.any(jnp.isfinite(gradient(optax.adam(0.02))))


# Subsets


@pytest.mark.parametrize("subset", ["head/.*", lambda path: path.startswith("head")])
def test_what_is_left_out_comes_back_bit_for_bit(params, support, subset):
    params = {**params, "counts": jnp.arange(3)}  # no gradient is asked of it
    adapted, _ = meta.adapt(loss, params, 0.1, support, steps=2, subset=subset)
    close_trees(
        {k: adapted[k] for k in ("body", "counts")},
        {k: params[k] for k in ("body", "counts")},
        exactly,
    )
    assert jnp.all(adapted["head"]["w"] != params["head"]["w"])


def test_what_is_left_out_takes_no_memory_in_the_steps(params, support):
    def steps(params):
        return meta.adapt(loss, params, 0.1, support, steps=7, subset="head/.*")

    (scan,) = (e for e in jax.make_jaxpr(steps)(params).eqns if e.primitive.name == "scan")
    head_and_losses = sorted([(), (6,), (7,)])
    assert sorted(out.aval.shape for out in scan.outvars) == head_and_losses


def test_a_pattern_that_matches_nothing_names_what_is_near(params, support):
    with pytest.raises(ValueError, match=r"'head/weight'.*whole path.*Near paths: head/w, "):
        meta.adapt(loss, params, 0.1, support, subset="head/weight")
    with pytest.raises(ValueError, match=r"chooses no parameter.*Some paths: body/b"):
        meta.init_step_size(params, 0.1, subset=lambda path: False)
    with pytest.raises(ValueError, match="chooses no parameter"):  # the beginning is not enough
        meta.init_step_size(params, 0.1, subset="head")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head": {"w": 0.1}}, r"Lacking: \['head/b'\]; not among those that move: none \(of 2"),
        ({"head": {"w": 0.1, "b": 0.1}, "body": {"b": 0.1}}, r"Lacking: none.*\['body/b'\]"),
        ({"head": {"w": np.ones(5), "b": 0.1}}, r"head/w has shape \(5,\), the parameter \(6,\)"),
        (None, r"Lacking: \['head/b', 'head/w'\]"),
        (np.ones(6), r"not among those that move: \[''\]"),
    ],
)
def test_step_sizes_at_other_paths_are_named(params, support, wrong, message):
    with pytest.raises(ValueError, match=message):
        meta.adapt(loss, params, wrong, support, subset="head/.*")


class Layer(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Net:
    layers: list[Layer]
    scale: Any


def test_any_pytree_will_do(support):
    ones = jnp.ones
    net = Net([Layer(ones((3, 2)) / 2, ones(2)), Layer(ones(2) / 3, jnp.zeros(()))], ones(()))
    plain = {
        "layers": {"0": {"w": ones((3, 2)) / 2, "b": ones(2)}, "1": {"w": ones(2) / 3, "b": 0.0}},
        "scale": 1.0,
    }

    def of_net(net, batch):
        first, last = net.layers
        hidden = jnp.tanh(batch["x"] @ first.w + first.b[None])
        return jnp.mean((net.scale * hidden @ last.w + last.b - batch["y"]) ** 2)

    def of_dict(params, batch):
        first, last = (Layer(**params["layers"][i]) for i in "01")
        return of_net(Net([first, last], params["scale"]), batch)

    subset = r"layers/\d/w|scale"
    sizes = meta.init_step_size(net, 0.1, subset=subset)
    assert sizes.layers[0].b is None
    adapted, losses = meta.adapt(of_net, net, sizes, support, steps=2, subset=subset)
    assert isinstance(adapted, Net)
    twin, twin_losses = meta.adapt(of_dict, plain, 0.1, support, steps=2, subset=subset)
    close(losses, twin_losses)
    close_trees(dict(subsets.named(adapted)), dict(subsets.named(twin)))
    exactly(adapted.layers[0].b, net.layers[0].b)


def test_one_array_is_a_pytree():
    def distance(p, x):
        return jnp.sum((p - x) ** 2)

    there, _ = meta.adapt(distance, jnp.zeros(2), jnp.array([0.5, 0.25]), jnp.array([2.0, 4.0]))
    exactly(there, [2.0, 2.0])


def test_two_parameters_with_one_path_are_refused(support):
    with pytest.raises(ValueError, match="Two parameters have one path"):
        meta.adapt(loss, {"a": {"b": 1.0}, "a/b": 1.0}, 0.1, support, subset="a/b")


def test_parameters_keep_their_dtype(support):
    half = {"w": jnp.zeros(3, jnp.bfloat16)}

    def loss(params, batch):
        return jnp.mean((batch["x"] @ params["w"].astype(float) - batch["y"]) ** 2)

    adapted, losses = meta.adapt(loss, half, jnp.array(0.1), support, steps=2)
    assert adapted["w"].dtype == jnp.bfloat16
    assert losses[1] < losses[0]
    assert meta.init_step_size(half, 0.1)["w"].dtype == jnp.bfloat16


def test_an_unknown_shape_of_step_sizes_is_an_error(params):
    with pytest.raises(ValueError, match="'parameter', 'tensor' or 'shared', not 'layer'"):
        meta.init_step_size(params, 0.1, shape="layer")


@pytest.mark.parametrize(("module", "least"), [(meta, 13), (subsets, 1)])
def test_the_examples_are_true(module, least):
    jax.config.update("jax_enable_x64", False)  # as a reader runs them
    try:
        found = doctest.testmod(module)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert found.attempted >= least
    assert found.failed == 0


@pytest.mark.parametrize("steps", [-1, 1.5, None, "2"])
def test_steps_that_are_no_number_of_steps_are_refused(params, support, steps):
    with pytest.raises(ValueError, match=f"steps is a whole number, 0 or more, not {steps!r}"):
        meta.adapt(loss, params, 0.1, support, steps=steps)
