"""Meta-learning: what holds for every loss, in float64; derivatives against finite differences."""

import dataclasses
import doctest
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vad_jax import meta
from vad_jax.learning import subsets
from vad_jax.nets.conv import conv

pytestmark = pytest.mark.usefixtures("x64")

E, K = 5, 4  # episodes, and examples in each support and query set
ADAM = optax.adam(0.02, eps_root=1e-8)
exactly = functools.partial(np.testing.assert_allclose, rtol=0, atol=0)
# Float64 sums of a few dozen terms of size one, in another order.
close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)


def close_trees(found, expected, same=close):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(same, found, expected)


def network(params, x):
    """`[K, 3]` to `[K]`, smooth."""
    hidden = jnp.tanh(x @ params["body"]["w"] + params["body"]["b"][None])
    return hidden @ params["head"]["w"] + params["head"]["b"]


def loss(params, batch):
    """Mean of squares over the examples that count."""
    error = (network(params, batch["x"]) - batch["y"]) ** 2
    return jnp.sum(jnp.where(batch["mask"], error, 0)) / jnp.sum(batch["mask"])


@pytest.fixture(scope="module")
def params(x64):
    normal = np.random.default_rng(0).standard_normal
    return {
        "body": {"w": jnp.array(normal((3, 6))), "b": jnp.array(normal(6))},
        "head": {"w": jnp.array(normal(6)), "b": jnp.array(normal())},
    }


@pytest.fixture(scope="module")
def episodes(x64):
    rng = np.random.default_rng(1)

    def examples():
        return {
            "x": jnp.array(rng.standard_normal((E, K, 3))),
            "y": jnp.array(rng.standard_normal((E, K))),
            "mask": jnp.ones((E, K), bool),
        }

    return {"support": examples(), "query": examples()}


@pytest.fixture(scope="module")
def support(episodes):
    return jax.tree.map(lambda x: x[0], episodes["support"])


def learned(params, value=0.1, **how):
    """What is meta-learned: initial parameters, and step sizes that all differ."""
    sizes = meta.init_step_size(params, value, **how)
    leaves, tree = jax.tree.flatten(sizes)
    leaves = [a * (1 + 0.1 * jnp.arange(a.size).reshape(a.shape) + i) for i, a in enumerate(leaves)]
    return {"init": params, "step_size": jax.tree.unflatten(tree, leaves)}


def value_and_gradient(given, episodes, loss=loss, **how):
    """The meta-loss, its gradient with respect to all that is learned, and what it saw."""
    objective = functools.partial(meta.meta_loss, loss, **how)
    (value, seen), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(given, episodes)
    return value, gradient, seen


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

    @jax.jit
    def objective(given):
        return meta.meta_loss(loss, given, episodes, **how)[0]

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

    @jax.jit
    def objective(given):
        return meta.meta_loss(loss, given, images, **how)[0]

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
    found = [
        meta.adapt(loss, params, size, support, steps=steps)
        for size in (
            value,
            *(
                meta.init_step_size(params, value, shape=s)
                for s in ("shared", "tensor", "parameter")
            ),
        )
    ]
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


# Episodes


def at(episodes, rows):
    return jax.tree.map(lambda x: x[jnp.array(rows)], episodes)


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
    close_trees(
        meta.adapt(loss, params, 0.1, padded, steps=2),
        meta.adapt(loss, params, 0.1, few, steps=2),
    )


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
        ({"meta": {"rate": 0.1}}, r"meta has the keys \['init', 'rate', 'step_size'\]"),
    ],
)
def test_a_mistake_is_a_clear_error(params, episodes, changes, message):
    episodes = {**episodes, **changes.pop("episodes", {})}
    given = {**learned(params), **changes.pop("meta", {})}
    with pytest.raises(ValueError, match=message):
        meta.meta_loss(loss, given, episodes, **changes)


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
