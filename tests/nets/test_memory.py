"""Properties of the memory: what it reads, how it moves, and what leaves it alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.nets import memory

pytestmark = pytest.mark.usefixtures("x64")

N, M, C = 24, 5, 6
EVERY = np.ones(N, bool)
seeds = given(seed=st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)


def directions(rng, *shape, dtype=np.float64):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)


def queries_and_items(seed=0):
    rng = np.random.default_rng(seed)
    return directions(rng, N, C), directions(rng, M, C)


def close(found, expected, tolerance=1e-12):
    """Tolerance: sums of at most 24 products of numbers up to 1."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


update = jax.jit(memory.update, static_argnames="peak")


@pytest.fixture(params=["all", "own"])
def peak(request):
    return request.param


def updated_by_the_equations(queries, items, counts, peak):
    """MNAD eqs. (3) to (5) with the softmax over queries, one item after the other."""
    queries = queries[counts]
    cosine = queries @ items.T
    probability = np.exp(cosine) / np.exp(cosine).sum(axis=0)
    nearest = cosine.argmax(axis=1)
    moved = items.copy()
    for m in range(len(items)):
        own = nearest == m
        if own.any():
            v = probability[:, m]
            weight = v / (v[own] if peak == "own" else v).max()
            total = items[m] + (weight[own, None] * queries[own]).sum(axis=0)
            moved[m] = total / np.linalg.norm(total)
    return moved


@few
@seeds
def test_matching_probabilities_of_a_query_sum_to_one(seed):
    answers, match = memory.read(*queries_and_items(seed))
    close(match.sum(axis=1), 1)
    assert float(match.min()) > 0
    assert float(memory.length(answers).max()) <= 1 + 1e-12  # a mixture of unit vectors


@few
@seeds
def test_order_of_items_does_not_matter(seed):
    queries, items = queries_and_items(seed)
    order = np.random.default_rng(seed).permutation(M)
    answers, match = memory.read(queries, items)
    turned, turned_match = memory.read(queries, items[order])
    close(turned, answers)
    close(turned_match, match[:, order])
    moved = update(queries, items, EVERY)
    close(update(queries, items[order], EVERY), moved[order])


def test_the_update_is_the_papers_equations(peak):
    for seed in range(5):
        queries, items = queries_and_items(seed)
        counts = np.random.default_rng(seed).random(N) < 0.7
        expected = updated_by_the_equations(queries, items, counts, peak)
        close(update(queries, items, counts, peak=peak), expected)


def test_items_keep_unit_length(peak):
    close(memory.length(update(*queries_and_items(), EVERY, peak=peak)), 1)


def test_an_item_without_queries_stays(peak):
    queries, items = queries_and_items()
    items[3] = -queries.mean(axis=0) / np.linalg.norm(queries.mean(axis=0))
    queries = queries[np.argmax(queries @ items.T, axis=1) != 3]
    moved = update(queries, items, np.ones(len(queries), bool), peak=peak)
    close(moved[3], items[3])
    assert np.abs(moved - items).max(axis=1)[:3].min() > 0.01


def test_queries_that_do_not_count_change_nothing(peak):
    queries, items = queries_and_items()
    counts = np.arange(N) % 3 > 0
    alone = update(queries[counts], items, np.ones(counts.sum(), bool), peak=peak)
    close(update(queries, items, counts, peak=peak), alone)
    none = update(queries, items, np.zeros(N, bool), peak=peak)
    np.testing.assert_array_equal(none, items)


@few
@seeds
def test_order_of_queries_does_not_matter(seed):
    queries, items = queries_and_items(seed)
    order = np.random.default_rng(seed).permutation(N)
    for peak in ("all", "own"):
        moved = update(queries, items, EVERY, peak=peak)
        close(update(queries[order], items, EVERY, peak=peak), moved)


def test_a_query_of_another_item_lowers_weights_only_where_all_compete():
    items = np.array([[1.0, 0, 0], [0.8, 0.6, 0]])
    own, other = np.array([0.6, 0, 0.8]), np.array([0.9, 0.435889894354067, 0])
    pair = np.stack([own, other])  # the other belongs to item 1 and is nearer to item 0 than `own`
    assert np.argmax(pair @ items.T, axis=1).tolist() == [0, 1]
    among_own = np.asarray(memory.update(pair, items, EVERY[:2], peak="own"))[0]
    among_all = np.asarray(memory.update(pair, items, EVERY[:2], peak="all"))[0]
    close(among_own, memory.unit(items[0] + own))
    close(among_all, memory.unit(items[0] + np.exp(0.6 - 0.9) * own))


def test_streams_side_by_side_are_streams_one_by_one(peak):
    sets = [queries_and_items(seed) for seed in range(3)]
    queries, items = (np.stack(values) for values in zip(*sets, strict=True))
    counts = np.random.default_rng(0).random((3, N)) < 0.8

    def moved(queries, items, counts):
        return memory.update(queries, items, counts, peak=peak)

    together = jax.vmap(moved)(queries, items, counts)
    alone = [moved(*one) for one in zip(queries, items, counts, strict=True)]
    close(together, np.stack(alone))


def test_ties_go_to_the_lower_index():
    queries, items = queries_and_items()
    twice = np.stack([items[0], items[1], items[1], items[0]])
    nearest, second = memory.two_nearest(memory.matching(queries, twice))
    assert set(np.unique(nearest)) == {0, 1}
    np.testing.assert_array_equal(second, 3 - nearest)
    moved = update(queries, twice, EVERY)
    close(moved[2:], twice[2:])


def test_the_second_nearest_is_the_nearest_of_the_rest():
    queries, items = queries_and_items()
    nearest, second = memory.two_nearest(memory.matching(queries, items))
    order = np.argsort(-(queries @ items.T), axis=1)
    np.testing.assert_array_equal(np.stack([nearest, second], axis=1), order[:, :2])


def test_no_gradient_goes_through_an_update():
    def moved(queries, items):
        return jnp.sum(memory.update(queries, items, EVERY) ** 3)

    for gradient in jax.grad(moved, argnums=(0, 1))(*map(jnp.asarray, queries_and_items())):
        np.testing.assert_array_equal(gradient, 0)


def test_float32_is_close_to_float64(peak):
    queries, items = queries_and_items()
    narrow = queries.astype(np.float32), items.astype(np.float32)
    for found, expected in zip(memory.read(*narrow), memory.read(queries, items), strict=True):
        assert found.dtype == jnp.float32
        close(found, expected, 1e-6)  # some ulp of 1.2e-7
    close(update(*narrow, EVERY, peak=peak), update(queries, items, EVERY, peak=peak), 2e-6)


def test_length_has_gradient_zero_where_it_is_zero():
    np.testing.assert_array_equal(jax.grad(memory.length)(jnp.zeros(3)), 0)
    close(jax.grad(memory.length)(jnp.array([3.0, 0, 4.0])), [0.6, 0, 0.8])
    assert np.isfinite(jax.hessian(memory.length)(jnp.zeros(3))).all()


def test_unit_leaves_a_vector_of_zeros():
    np.testing.assert_array_equal(memory.unit(jnp.zeros((2, 3))), 0)


def test_initial_items_are_unit_vectors_of_the_positive_orthant():
    items = memory.initial_items(jax.random.key(0), 10, 64)
    close(memory.length(items), 1)
    assert float(items.min()) >= 0
    assert float(items @ items.T @ jnp.ones(10) @ jnp.ones(10)) / 100 == pytest.approx(
        0.775, abs=0.05
    )


def test_losses_are_their_formulas():
    queries, items = queries_and_items()
    nearest, second = memory.two_nearest(memory.matching(queries, items))
    to_near, to_far = queries - items[nearest], queries - items[second]
    close(memory.compactness(queries, items, nearest), np.mean(to_near**2))
    near, far = (np.linalg.norm(d + 1e-6, axis=1) for d in (to_near, to_far))
    hinge = np.maximum(near - far + 1.0, 0).mean()
    close(memory.separateness(queries, items, nearest, second, 1.0), hinge)
    close(memory.distances(queries, items, nearest), np.linalg.norm(to_near, axis=1))


def test_a_query_on_its_item_gives_no_nan():
    _, items = queries_and_items()
    queries, index = jnp.asarray(items), np.arange(M)
    gradient = jax.grad(lambda q: jnp.sum(memory.distances(q, items, index)))(queries)
    np.testing.assert_array_equal(gradient, 0)
