"""BatchNorm against NumPy, in float64: which variance goes where, and which rows count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.nets.norm import BatchNorm, normalise

pytestmark = pytest.mark.usefixtures("x64")

NORM = BatchNorm()
SCALE, BIAS = np.array([0.5, 2.0, -1.0]), np.array([0.1, 0.0, -3.0])
MEAN, VAR = np.array([0.3, -1.0, 2.0]), np.array([1.5, 0.2, 4.0])


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.normal(3.0, 2.0, size=(4, 3, 5, 3)) * np.array([1.0, 10.0, 0.1])


def variables():
    return {
        "params": {"scale": jnp.asarray(SCALE), "bias": jnp.asarray(BIAS)},
        "batch_stats": {"mean": jnp.asarray(MEAN), "var": jnp.asarray(VAR)},
    }


def trained(x, mask):
    """The normalised images and the moved statistics."""
    mask = jnp.asarray(mask)
    output, moved = NORM.apply(variables(), x, mask, train=True, mutable=["batch_stats"])
    return output, moved["batch_stats"]


def equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)  # means of 60 numbers


def test_training_normalises_by_the_biased_and_keeps_the_unbiased_variance(images):
    output, stats = trained(images, np.ones(4, bool))
    mean, biased = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    equal(output, (images - mean) / np.sqrt(biased + 1e-5) * SCALE + BIAS)
    equal(stats["mean"], 0.9 * MEAN + 0.1 * mean)
    equal(stats["var"], 0.9 * VAR + 0.1 * images.var(axis=(0, 1, 2), ddof=1))


def test_rows_that_do_not_count_enter_no_statistic(images):
    mask = np.array([True, False, True, False])
    spoilt = np.where(mask[:, None, None, None], images, 1e6)
    output, stats = trained(spoilt, mask)
    alone, expected = trained(images[mask], np.ones(2, bool))
    equal(output[mask], alone)
    jax.tree.map(equal, stats, expected)


def test_nan_in_a_row_that_does_not_count_stays_there(images):
    mask = np.array([True, True, True, False])
    spoilt = np.where(mask[:, None, None, None], images, np.nan)
    output, stats = trained(spoilt, mask)
    assert np.isfinite(output[mask]).all()
    assert all(np.isfinite(leaf).all() for leaf in stats.values())


def test_a_batch_of_no_row_leaves_the_statistics(images):
    _, stats = trained(images, np.zeros(4, bool))
    np.testing.assert_array_equal(stats["mean"], MEAN)
    np.testing.assert_array_equal(stats["var"], VAR)


def test_evaluation_uses_the_running_statistics_and_each_row_alone(images):
    output = NORM.apply(variables(), images, jnp.zeros(4, bool), train=False)
    equal(output, (images - MEAN) / np.sqrt(VAR + 1e-5) * SCALE + BIAS)
    equal(NORM.apply(variables(), images[:1], jnp.ones(1, bool), train=False), output[:1])


def test_one_pixel_has_no_unbiased_variance_and_gives_no_nan():
    output, stats = trained(np.full((1, 1, 1, 3), 2.0), np.ones(1, bool))
    equal(output[0, 0, 0], BIAS)
    equal(stats["var"], 0.9 * VAR)


def test_bfloat16_comes_back_while_statistics_stay_wide(images):
    narrow = jnp.asarray(images, jnp.bfloat16)
    output, stats = trained(narrow, np.ones(4, bool))
    assert output.dtype == jnp.bfloat16
    assert stats["mean"].dtype == jnp.float64
    equal(stats["mean"], 0.9 * MEAN + 0.1 * np.asarray(narrow, np.float64).mean(axis=(0, 1, 2)))


# Images, clips and plain vectors, from the same numbers.
SHAPES = {"images": (4, 3, 5, 3), "clips": (4, 5, 1, 3, 3), "vectors": (60, 3)}


@pytest.fixture(params=SHAPES)
def rows(request, images):
    return images.reshape(SHAPES[request.param])


def half_of(rows):
    return np.arange(len(rows)) % 2 == 0


@pytest.mark.parametrize("train", [True, False])
def test_what_lies_between_rows_and_channels_does_not_matter(rows, images, train):
    """The places of a row are samples of its channels, however many axes they lie along."""
    mask = np.arange(4) != 1
    every = np.repeat(mask, len(rows) // 4)
    options = {"train": train, "mutable": ["batch_stats"]}
    output, moved = NORM.apply(variables(), jnp.asarray(rows), jnp.asarray(every), **options)
    expected, stats = NORM.apply(variables(), jnp.asarray(images), jnp.asarray(mask), **options)
    equal(output, expected.reshape(rows.shape))
    jax.tree.map(equal, moved, stats)


def test_a_row_that_does_not_count_is_left_out_along_any_axes(rows):
    mask = half_of(rows)
    spoilt = rows.copy()
    spoilt[~mask] = 1e6
    output, stats = trained(spoilt, mask)
    alone, expected = trained(rows[mask], np.ones(mask.sum(), bool))
    equal(output[mask], alone)
    jax.tree.map(equal, stats, expected)


def plain(x, mask, scale, bias):
    """What `normalise` writes out, left to automatic differentiation."""
    but_last = tuple(range(x.ndim - 1))
    counts = jnp.expand_dims(mask, but_last[1:] + (-1,)).astype(x.dtype)
    n = jnp.sum(mask) * (x[0].size // x.shape[-1])
    mean = jnp.sum(x * counts, axis=but_last, keepdims=True) / n
    var = jnp.sum(counts * (x - mean) ** 2, axis=but_last, keepdims=True) / n
    scale, bias = (jnp.expand_dims(vector, but_last) for vector in (scale, bias))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias


@pytest.mark.parametrize("whole", [True, False])
def test_derivatives_are_those_of_the_formula_also_the_second(rows, whole):
    """A row that does not count has a gradient of its own, and moves nothing but itself."""
    mask = jnp.asarray(np.ones(len(rows), bool) if whole else half_of(rows))
    weight = jnp.asarray(np.random.default_rng(1).normal(size=rows.shape))

    def derivatives(function):
        def value(x, scale, bias):
            return jnp.sum(weight * jnp.sin(function(x, mask, scale, bias)))

        first = jax.grad(value, argnums=(0, 1, 2))

        def length(*args):
            return sum(jnp.sum(g**2) for g in first(*args))

        return jax.jit(lambda *args: (first(*args), jax.grad(length, argnums=(0, 1, 2))(*args)))

    args = jnp.asarray(rows), jnp.asarray(SCALE), jnp.asarray(BIAS)
    found = derivatives(lambda *a: normalise(*a, 1e-5)[0])(*args)
    expected = derivatives(plain)(*args)

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * float(jnp.abs(b).max()))

    jax.tree.map(close, found, expected)


@pytest.mark.parametrize("train", [True, False])
def test_a_shift_stands_for_a_bias_before(images, train):
    mask, shift = jnp.ones(4, bool), jnp.array([0.5, -2.0, 3.0])
    options = {"train": train, "mutable": ["batch_stats"]}
    found = NORM.apply(variables(), jnp.asarray(images), mask, shift=shift, **options)
    shifted = jnp.asarray(images) + shift[None, None, None]
    jax.tree.map(equal, found, NORM.apply(variables(), shifted, mask, **options))


def test_float32_keeps_a_small_spread_around_a_large_mean():
    """A mean of 30 deviations: 1e-7 · 900 of the variance is lost, half of that of the result."""
    x = 3 + 0.1 * np.random.default_rng(0).normal(size=(4, 8, 8, 2))
    one, zero = jnp.ones(2, jnp.float32), jnp.zeros(2, jnp.float32)
    found, *_ = normalise(jnp.asarray(x, jnp.float32), jnp.ones(4, bool), one, zero, 1e-5)
    exact = (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(found, exact, atol=5e-4)
