"""The convolutions and the pooling against XLA's own, in float64.

Tolerance 1e-12: both are sums of at most 9·5 products of numbers near 1, in another order.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from vad_jax.nets.conv import Conv, UpsampleConv, conv, max_pool, upsample_conv

pytestmark = pytest.mark.usefixtures("x64")

SHAPES = [(1, 1, 1, 1, 1), (2, 3, 5, 1, 4), (3, 4, 2, 5, 2), (1, 7, 6, 3, 5)]  # B H W I O


def reference_conv(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def reference_upsample(x, kernel):
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=((1, 2), (1, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


PAIRS = [(conv, reference_conv), (upsample_conv, reference_upsample)]


def drawn(shape, seed=0):
    b, h, w, i, o = shape
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(b, h, w, i))), jnp.asarray(rng.normal(size=(3, 3, i, o)))


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12), a, b)


def of_a_curve(function):
    """A scalar whose first and second derivatives depend on the function's values."""
    return lambda x, kernel: jnp.sum(jnp.sin(function(x, kernel)))


def first_derivatives(function):
    return jax.jit(jax.grad(of_a_curve(function), argnums=(0, 1)))


def second_derivatives(function):
    """The gradient of the squared length of the gradient."""

    def length(x, kernel):
        return sum(jnp.sum(g**2) for g in first_derivatives(function)(x, kernel))

    return jax.jit(jax.grad(length, argnums=(0, 1)))


@pytest.mark.parametrize(("ours", "reference"), PAIRS)
@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 3),
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(1, 5),
        st.integers(1, 5),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_are_those_of_the_general_convolution(ours, reference, shape, seed):
    x, kernel = drawn(shape, seed)
    same(ours(x, kernel), reference(x, kernel))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ours", "reference"), PAIRS)
def test_gradients_to_image_and_kernel(ours, reference, shape):
    same(
        first_derivatives(ours)(*drawn(shape)),
        first_derivatives(reference)(*drawn(shape)),
    )


@pytest.mark.parametrize("shape", SHAPES[1:3])
@pytest.mark.parametrize(("ours", "reference"), PAIRS)
def test_the_gradient_of_a_gradient(ours, reference, shape):
    found = second_derivatives(ours)(*drawn(shape))
    expected = second_derivatives(reference)(*drawn(shape))
    scale = max(float(jnp.abs(leaf).max()) for leaf in expected)  # up to some hundreds here
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12 * scale), found, expected)


@pytest.mark.parametrize("function", [conv, upsample_conv])
def test_vmap_over_kernels_is_a_loop(function):
    pairs = [drawn(SHAPES[1], seed) for seed in range(3)]
    x, kernel = (jnp.stack(values) for values in zip(*pairs, strict=True))
    same(jax.vmap(function)(x, kernel), jnp.stack([function(*pair) for pair in pairs]))
    alone = jnp.stack([function(x[0], k) for k in kernel])
    same(jax.vmap(function, in_axes=(None, 0))(x[0], kernel), alone)


def test_a_kernel_of_one_pixel_mixes_channels_only():
    x, _ = drawn(SHAPES[2])
    kernel = jnp.asarray(np.random.default_rng(1).normal(size=(1, 1, 5, 2)))
    same(conv(x, kernel), jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0]))


def test_one_pixel_becomes_the_kernel_around_its_double_place():
    kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(1)
    y = np.asarray(upsample_conv(x, kernel))[0, ..., 0]
    assert y.shape == (8, 8)
    np.testing.assert_array_equal(y[1:4, 3:6], kernel[..., 0, 0])
    assert np.count_nonzero(y) == 9


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("ours", "reference"), PAIRS)
def test_what_is_not_finite_reaches_its_neighbours_and_no_others(ours, reference, value):
    x, kernel = drawn((1, 5, 5, 2, 3))
    x = x.at[0, 2, 3, 1].set(value)
    found = np.isfinite(ours(x, kernel))
    scale = 2 if ours is upsample_conv else 1
    rows, columns = np.nonzero(~found.all(axis=(0, 3)))
    assert (rows.min(), rows.max()) == (2 * scale - 1, 2 * scale + 1)
    assert (columns.min(), columns.max()) == (3 * scale - 1, 3 * scale + 1)
    assert not found[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].any()


@settings(max_examples=10, deadline=None)
@given(shape=st.tuples(*(st.integers(1, n) for n in (3, 4, 4, 5))), seed=st.integers(0, 2**32 - 1))
def test_pooling_takes_the_largest_of_each_square(shape, seed):
    b, h, w, c = shape
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(b, 2 * h, 2 * w, c)))
    expected = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    np.testing.assert_array_equal(max_pool(x), expected)


def test_pooling_lets_nan_and_infinity_through():
    x = np.zeros((1, 4, 4, 1))
    x[0, 0, 1], x[0, 2, 2], x[0, 3, 0] = np.nan, np.inf, -np.inf
    found = np.asarray(max_pool(jnp.asarray(x)))[0, ..., 0]
    np.testing.assert_array_equal(found, [[np.nan, 0], [0, np.inf]])


def test_the_gradient_of_pooling_goes_to_the_largest_alone():
    x = jnp.asarray(np.random.default_rng(0).permutation(32).reshape(1, 4, 8, 1) / 32.0)
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x)))(x)
    largest = jnp.repeat(jnp.repeat(max_pool(x), 2, axis=1), 2, axis=2) == x
    np.testing.assert_array_equal(gradient, largest)


@pytest.mark.parametrize(("layer", "bound"), [(Conv(8), 1 / 6), (UpsampleConv(8), 72**-0.5)])
def test_initial_values_are_uniform_within_the_root_of_the_fan_in(layer, bound):
    variables = layer.init(jax.random.key(0), jnp.zeros((1, 2, 2, 4)))
    kernel = np.asarray(variables["params"]["kernel"])
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)  # 288 values
    assert np.abs(variables["params"]["bias"]).max() <= bound
