"""Properties of dynamic prototypes: what they are made of, and what their losses measure."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.nets import prototypes

pytestmark = pytest.mark.usefixtures("x64")

N, M, C = 12, 4, 6
seeds = given(seed=st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def features_and_weights(seed=0):
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(N, C))), 2 * rng.normal(size=(C, M))


def some_prototypes(seed=0, number=M):
    return np.random.default_rng(seed).normal(size=(number, C)) / 2


def close(found, expected, tolerance=1e-12):
    """Tolerance: sums of at most 24 products of numbers of size one."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@jax.jit
def made(features, weights):
    attention = prototypes.attention(features, weights)
    return attention, prototypes.ensemble(features, attention)


@jax.jit
def matched(features, items):
    """Both matchings, and the squared distance to the best of each."""
    similarity = prototypes.similarity(features, items)
    matchings = prototypes.softmax_matching(similarity), prototypes.ratio_matching(similarity)
    square = [prototypes.squared_distances(features, items, similarity, m) for m in matchings]
    return similarity, matchings, square


losses = jax.jit(lambda p: (prototypes.squared_diversity(p), prototypes.diversity(p)))


@few
@seeds
def test_attention_of_a_prototype_sums_to_one(seed):
    attention, items = made(*features_and_weights(seed))
    close(attention.sum(axis=0), 1)
    assert float(attention.min()) > 0
    assert float(jnp.linalg.norm(items, axis=1).max()) <= 1 + 1e-12  # means of unit vectors


@few
@seeds
def test_order_of_pixels_does_not_matter(seed):
    features, weights = features_and_weights(seed)
    order = np.random.default_rng(seed).permutation(N)
    attention, items = made(features, weights)
    turned, same = made(features[order], weights)
    close(turned, attention[order])
    close(same, items)


@few
@seeds
def test_order_of_prototypes_does_not_matter(seed):
    features, weights = features_and_weights(seed)
    order = np.random.default_rng(seed).permutation(M)
    attention, items = made(features, weights)
    turned, other = made(features, weights[:, order])
    close(turned, attention[:, order])
    close(other, items[order])
    similarity, matchings, square = matched(features, items)
    _, again, same = matched(features, items[order])
    close(again[0], matchings[0][:, order])
    close(same[0], square[0])
    rebuilt = [prototypes.retrieve(m, p) for m, p in ((matchings[0], items), (again[0], other))]
    close(*rebuilt)
    for found, expected in zip(losses(items[order]), losses(items), strict=True):
        close(found, expected)
    assert similarity.shape == (N, M)


def test_temperature_sharpens_and_flattens():
    features, weights = features_and_weights()
    peaks = [
        float(prototypes.attention(features, weights, temperature=t).max()) for t in (0.2, 1.0, 5.0)
    ]
    assert peaks == sorted(peaks, reverse=True)
    close(
        prototypes.attention(features, weights, temperature=0.5),
        prototypes.attention(features, 2 * weights),
    )
    similarity = prototypes.similarity(features, some_prototypes())
    close(
        prototypes.softmax_matching(similarity, temperature=0.5),
        prototypes.softmax_matching(2 * similarity),
    )


@few
@seeds
def test_matchings_of_a_pixel_sum_to_one(seed):
    features, _ = features_and_weights(seed)
    _, (softmax, _), _ = matched(features, some_prototypes(seed))
    close(softmax.sum(axis=1), 1)
    _, (_, ratio), _ = matched(np.abs(features), np.abs(some_prototypes(seed)))
    close(ratio.sum(axis=1), 1)
    assert float(ratio.min()) >= 0


def test_a_sum_near_zero_is_divided_as_if_it_were_that_far_with_its_sign():
    rows = jnp.array([[3e-7, 0.0], [-3e-7, 0.0], [1.0, -1.0], [-3.0, 1.0], [2.0, 2.0]])
    expected = [[0.3, 0.0], [0.3, 0.0], [1e6, -1e6], [1.5, -0.5], [0.5, 0.5]]
    np.testing.assert_allclose(prototypes.ratio_matching(rows), expected, rtol=1e-12)
    gradient = jax.grad(lambda x: jnp.sum(prototypes.ratio_matching(x) ** 2))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()


@few
@seeds
def test_squared_distances_are_those_of_the_differences(seed):
    features, items = features_and_weights(seed)[0], some_prototypes(seed)
    _, matchings, square = matched(features, items)
    for match, found in zip(matchings, square, strict=True):
        best = items[np.argmax(match, axis=1)]
        close(found, np.sum((features - best) ** 2, axis=1))


def test_a_pixel_on_its_prototype_has_distance_zero_and_never_less():
    items = unit(some_prototypes())
    close(matched(items, items)[2][0], 0)
    assert float(matched(items, items)[2][0].min()) >= 0


def test_ties_go_to_the_lower_index():
    first, second = np.eye(C)[0], -np.eye(C)[1]
    features = unit(np.ones((1, C)))
    items = np.stack([first, second, first + np.eye(C)[2]])
    tie = np.array([[0.4, 0.4, 0.2]])
    found = prototypes.squared_distances(features, items, features @ items.T, tie)
    close(found, np.sum((features - first) ** 2))


def test_the_choice_of_the_best_has_no_gradient():
    features, items = features_and_weights()[0], some_prototypes()

    def total(match):
        return jnp.sum(prototypes.squared_distances(features, items, features @ items.T, match))

    gradient = jax.grad(total)(jax.nn.softmax(jnp.asarray(features @ items.T)))
    np.testing.assert_array_equal(gradient, 0)


def test_gradient_of_the_distance_is_that_of_the_differences():
    features, items = (jnp.asarray(x) for x in (features_and_weights()[0], some_prototypes()))

    def short(features, items):
        return jnp.sum(jnp.sin(matched(features, items)[2][0]))

    def long(features, items):
        best = jnp.argmax(features @ items.T, axis=1)
        return jnp.sum(jnp.sin(jnp.sum((features - items[best]) ** 2, axis=1)))

    for found, expected in zip(
        jax.grad(short, argnums=(0, 1))(features, items),
        jax.grad(long, argnums=(0, 1))(features, items),
        strict=True,
    ):
        close(found, expected)


@few
@seeds
def test_losses_are_their_formulas(seed):
    items = some_prototypes(seed)
    pairs = list(itertools.combinations(items, 2))
    squares = [max(0, 1 - np.sum((p - q) ** 2)) for p, q in pairs]
    hinges = [max(0, 1 - np.linalg.norm(p - q)) for p, q in pairs]
    squared, plain = losses(items)
    close(squared, np.mean(squares))
    close(plain, 2 * np.mean(hinges))
    # A wider margin is a hinge that opens earlier.
    wide = [max(0, 3 - np.linalg.norm(p - q)) for p, q in pairs]
    close(prototypes.diversity(items, margin=3.0), 2 * np.mean(wide))


@few
@seeds
def test_pair_statistics_are_those_of_the_pairs(seed):
    items = some_prototypes(seed)
    distance = [np.linalg.norm(p - q) for p, q in itertools.combinations(items, 2)]
    close(prototypes.pair_distances(items), (np.mean(distance), np.min(distance)))


def test_a_single_prototype_is_as_diverse_as_it_can_be():
    one = jnp.asarray(some_prototypes(number=1))
    close(losses(one), 0)
    for loss in (prototypes.squared_diversity, prototypes.diversity):
        np.testing.assert_array_equal(jax.grad(loss)(one), 0)


def test_diversity_is_greatest_where_all_are_one_and_zero_where_all_are_apart():
    close(losses(np.ones((M, C))), (1, 2))
    close(losses(np.eye(M, C)), 0)


@pytest.mark.parametrize("loss", [prototypes.squared_diversity, prototypes.diversity])
def test_prototypes_that_coincide_have_a_gradient_and_a_second_one(loss):
    items = some_prototypes()
    items[2] = items[0]
    gradient = jax.grad(loss)(jnp.asarray(items))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0  # of the pairs that do not coincide
    assert np.isfinite(jax.hessian(loss)(jnp.asarray(items))).all()
    mean = jax.grad(lambda p: prototypes.pair_distances(p)[0])(jnp.ones((M, C)))
    np.testing.assert_array_equal(mean, 0)
