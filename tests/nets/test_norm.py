"""BatchNorm against NumPy, in float64: which variance goes where, and which rows count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.nets.norm import BatchNorm

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
