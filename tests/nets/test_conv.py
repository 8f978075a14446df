"""The convolutions and the pooling against XLA's own, in float64.

Tolerance 1e-12 of the largest value: both are sums of some hundred products in another order; the
transforms of the fast forms cost a digit.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vad_jax.nets import lowering, winograd
from vad_jax.nets.conv import (
    Conv,
    ConvApart,
    UpsampleConvApart,
    conv,
    conv_transpose,
    max_pool,
    with_bias,
)
from vad_jax.nets.lowering import Geometry

pytestmark = pytest.mark.usefixtures("x64")


def plain(x, kernel, strides=1, padding=None):
    """XLA's convolution, differentiated by JAX's own rules."""
    axes = x.ndim - 2
    spatial = "DHW"[-axes:]
    return lax.conv_general_dilated(
        x,
        kernel,
        (strides,) * axes,
        padding or [(k // 2, k // 2) for k in kernel.shape[:axes]],
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )


def plain_doubling(x, kernel):
    """PyTorch's `ConvTranspose2d(3, stride=2, padding=1, output_padding=1)`, as dilation."""
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=((1, 2), (1, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


doubling = functools.partial(conv_transpose, strides=2)


def drawn(size, kernel, channels, *, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *size, channels[0]))
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(*kernel, *channels)))


def later(*args, **options):
    """Drawn when a test runs, in float64."""
    return functools.partial(drawn, *args, **options)


# Each reaches another form of the table, forward or back; odd sizes and single rows too.
CASES = {
    "narrow": (conv, plain, later((5, 6), (3, 3), (3, 5))),
    "one pixel": (conv, plain, later((1, 1), (3, 3), (1, 2), batch=1)),
    "large image": (conv, plain, later((64, 66), (3, 3), (2, 3))),
    "large, odd": (conv, plain, later((67, 63), (3, 3), (3, 2), batch=1)),
    "live": (conv, plain, later((64, 64), (3, 3), (64, 64), batch=1)),
    "wide": (conv, plain, later((6, 5), (3, 3), (256, 256), batch=1)),
    "one row, wide": (conv, plain, later((1, 3), (3, 3), (256, 256), batch=1)),
    "widest": (conv, plain, later((9, 13), (3, 3), (512, 512), batch=1)),
    "1x1": (conv, plain, later((4, 3), (1, 1), (5, 2))),
    "5x5": (conv, plain, later((6, 7), (5, 5), (2, 3))),
    "3x3x3": (conv, plain, later((5, 4, 6), (3, 3, 3), (2, 3))),
    "3x3x3, one frame": (conv, plain, later((1, 4, 3), (3, 3, 3), (2, 1))),
    "1x3x3": (conv, plain, later((3, 4, 5), (1, 3, 3), (2, 3))),
    "strided": (functools.partial(conv, strides=2), functools.partial(plain, strides=2),
                later((7, 8), (3, 3), (3, 4))),
    "strided 3d": (functools.partial(conv, strides=2), functools.partial(plain, strides=2),
                   later((5, 7, 8), (3, 3, 3), (2, 3))),
    "valid": (functools.partial(conv, padding=((0, 0), (0, 0))),
              functools.partial(plain, padding=((0, 0), (0, 0))), later((66, 64), (3, 3), (2, 3))),
    "lopsided": (functools.partial(conv, padding=((2, 0), (0, 1))),
                 functools.partial(plain, padding=((2, 0), (0, 1))),
                 later((64, 65), (3, 3), (2, 3))),
    "strided 3d, even": (functools.partial(conv, strides=2), functools.partial(plain, strides=2),
                         later((4, 6, 8), (3, 3, 3), (2, 3))),
    "doubling": (doubling, plain_doubling, later((5, 7), (3, 3), (4, 3))),
    "doubling, large": (doubling, plain_doubling, later((33, 20), (3, 3), (3, 2))),
}  # fmt: skip


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return taken(request.param)


def taken(name):
    ours, reference, draw = CASES[name]
    return ours, reference, draw()


def within(found, expected, error, least=0.0):
    """Equal but for `error` of the largest value, or of `least` where that is larger."""

    def close(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=error * max(least, np.abs(b).max()))

    jax.tree.map(close, found, expected)


def same(found, expected):
    within(found, expected, 1e-12, least=1.0)


def together(*functions):
    """The functions of the same arguments as one program: one by one their parts compile longer."""
    return jax.jit(lambda *args: [function(*args) for function in functions])


def of_a_curve(function):
    """A scalar whose first and second derivatives depend on the function's values."""
    return lambda x, kernel: jnp.sum(jnp.sin(function(x, kernel) / kernel[..., 0].size))


def first_derivatives(function):
    return jax.grad(of_a_curve(function), argnums=(0, 1))


def second_derivatives(function):
    """The gradient of the squared length of the gradient."""

    def length(x, kernel):
        return sum(jnp.sum(g**2) for g in first_derivatives(function)(x, kernel))

    return jax.grad(length, argnums=(0, 1))


def everything(function):
    def all_three(x, kernel):
        args = x, kernel
        first, second = first_derivatives(function), second_derivatives(function)
        return function(*args), first(*args), second(*args)

    return jax.jit(all_three)


def test_values_gradients_and_gradients_of_gradients_are_xlas(case):
    ours, reference, args = case
    same(everything(ours)(*args), everything(reference)(*args))


@settings(max_examples=10, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.integers(1, 3),
    edges=st.tuples(*(st.integers(0, 3),) * 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_geometry_is_xlas(size, kernel, channels, strides, edges, seed):
    padding = (edges[:2], edges[2:])
    if any(n + sum(p) < k for n, p, k in zip(size, padding, kernel, strict=True)):
        return
    options = {"strides": strides, "padding": padding}
    both = together(functools.partial(conv, **options), functools.partial(plain, **options))
    same(*both(*drawn(size, kernel, channels, seed=seed)))


@settings(max_examples=10, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    edges=st.tuples(*(st.integers(0, 2),) * 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_form_of_the_table_is_xlas(size, channels, edges, seed):
    """Taken by name, so that small and narrow shapes reach forms that the table has for others."""
    geometry = Geometry(size, (3, 3), (1, 1), (edges[:2], edges[2:]))
    if min(geometry.places) < 1:
        return

    def forms(x, kernel, y):
        return (
            lowering._value_by_lines(geometry, x, kernel),
            winograd.taps(x, y, geometry.padding),
            winograd.spread(y, kernel, geometry.padding),
        )

    def xlas(x, kernel, y):
        value = lowering.xla_value(geometry, x, kernel)
        return value, lowering.xla_taps(geometry, x, y), lowering.xla_spread(geometry, y, kernel)

    x, kernel = drawn(size, (3, 3), channels, seed=seed)
    y = np.random.default_rng(seed).normal(size=(len(x), *geometry.places, channels[1]))
    same(*together(forms, xlas)(x, kernel, y))


# Which operations have a form of their own: value, spread, taps.
@pytest.mark.parametrize(
    ("geometry", "channels", "forms"),
    [
        (Geometry((64, 64), (3, 3), (1, 1), ((1, 1), (1, 1))), (16, 16), (False, False, True)),
        (Geometry((32, 32), (3, 3), (1, 1), ((1, 1), (1, 1))), (32, 32), (False, False, False)),
        (Geometry((32, 32), (3, 3), (1, 1), ((1, 1), (1, 1))), (512, 512), (True, True, True)),
        (Geometry((64, 64), (3, 3), (2, 2), ((1, 1), (1, 1))), (8, 8), (False, True, True)),
        (Geometry((63, 64), (3, 3), (2, 2), ((1, 1), (1, 1))), (8, 8), (False, False, False)),
        (Geometry((16, 8, 8), (3, 3, 3), (1,) * 3, ((1, 1),) * 3), (8, 8), (True, True, True)),
        (Geometry((1, 8, 8), (3, 3, 3), (1,) * 3, ((1, 1),) * 3), (8, 8), (False, False, False)),
        (Geometry((8, 6, 6), (3, 3, 3), (1, 2, 2), ((1, 1),) * 3), (8, 8), (True, True, True)),
        (Geometry((64, 64), (5, 5), (1, 1), ((2, 2), (2, 2))), (512, 512), (False, False, False)),
    ],
)
def test_the_table_has_forms_for(geometry, channels, forms):
    asked = (lowering.value_on_cpu, lowering.spread_on_cpu, lowering.taps_on_cpu)
    assert tuple(ask(geometry, *channels, jnp.float32) is not None for ask in asked) == forms
    doubling = geometry.strides == (2, 2) and forms[1]
    half = tuple(ask(geometry, *channels, jnp.bfloat16) is not None for ask in asked)
    assert half == (forms if doubling else (False,) * 3)


@pytest.mark.parametrize(
    ("size", "channels", "batch", "has"),
    [
        (128, (128, 64), 1, True),
        (64, (64, 128), 1, True),
        (128, (128, 64), 2, False),
        (128, (128, 64), None, False),
        (256, (64, 64), 1, False),
        (32, (128, 128), 1, False),
        (64, (32, 64), 1, False),
    ],
)
def test_a_single_image_has_a_form_of_its_own(size, channels, batch, has):
    geometry = Geometry((size, size), (3, 3), (1, 1), ((1, 1), (1, 1)))
    form = lowering.value_on_cpu(geometry, *channels, jnp.float32, batch=batch)
    assert (form is not None) == has
    if batch:
        x, kernel = jnp.ones((batch, size, size, channels[0])), jnp.ones((3, 3, *channels))
        assert ("platform_index" in str(jax.make_jaxpr(conv)(x, kernel))) == has


def test_the_transpose_is_the_adjoint(case):
    ours, _, (x, kernel) = case
    if ours is not conv:
        return

    @jax.jit
    def products(x, kernel):
        forth = conv(x, kernel)
        y = jnp.cos(forth)
        padding = [(k // 2, k // 2) for k in kernel.shape[:-2]]
        turned = kernel.swapaxes(-1, -2)
        back = conv_transpose(y, turned, strides=1, padding=padding, size=x.shape[1:-1])
        return jnp.sum(back * x), jnp.sum(y * forth)

    np.testing.assert_allclose(*products(x, kernel), rtol=1e-12)


@pytest.mark.parametrize("function", [conv, doubling])
@pytest.mark.parametrize("size", [(3, 5), (64, 64)])
def test_vmap_over_kernels_is_a_loop(function, size):
    pairs = [drawn(size, (3, 3), (1, 2), seed=seed) for seed in range(3)]
    x, kernel = (np.stack(values) for values in zip(*pairs, strict=True))
    gradient = first_derivatives(function)

    def mapped(x, kernel):
        return jax.vmap(gradient)(x, kernel), jax.vmap(function, in_axes=(None, 0))(x[0], kernel)

    def looped(x, kernel):
        return jax.lax.map(lambda pair: gradient(*pair), (x, kernel)), jax.lax.map(
            lambda k: function(x[0], k), kernel
        )

    same(*together(mapped, looped)(x, kernel))


def test_inside_a_scan_with_the_kernel_as_carry():
    x, kernel = drawn((64, 64), (3, 3), (2, 2), batch=1)

    def descended(conv):
        def step(kernel, _):
            value, gradient = jax.value_and_grad(of_a_curve(conv), argnums=1)(x, kernel)
            return kernel - 0.01 * gradient, value

        return jax.jit(lambda kernel: jax.lax.scan(step, kernel, length=3))

    same(descended(conv)(kernel), descended(plain)(kernel))


def test_forward_mode_is_refused():
    x, kernel = drawn((3, 3), (3, 3), (1, 1))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(conv, (x, kernel), (x, kernel))


@pytest.mark.parametrize(
    "case_name", ["large image", "wide", "doubling, large", "3x3x3", "strided 3d, even"]
)
def test_a_batch_split_over_devices_stays_where_it_is(case_name):
    """The gradient of the kernel is summed over the devices; nothing else is sent."""
    ours, _, (x, kernel) = taken(case_name)
    x = np.concatenate([x] * (4 // x.shape[0]))
    mesh = Mesh(np.array(jax.devices()[:4]), ("batch",))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    whole = NamedSharding(mesh, PartitionSpec())
    placed = {"in_shardings": (split, whole), "out_shardings": (split, whole)}
    step = jax.jit(first_derivatives(ours), **placed).lower(x, kernel).compile()
    program = step.as_text()
    sent = ("all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    assert not [name for name in sent if f" {name}(" in program or f" {name}-start(" in program]
    assert "all-reduce" in program
    found = step(jax.device_put(x, split), jax.device_put(kernel, whole))
    same(found, jax.jit(first_derivatives(ours))(x, kernel))


def test_an_exported_program_holds_the_form_of_every_platform():
    x, kernel = (a.astype(jnp.float32) for a in drawn((64, 64), (3, 3), (2, 2)))
    step = jax.jit(first_derivatives(conv))
    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(x, kernel)
    for_one = {
        platform: jax.export.export(step, platforms=(platform,))(x, kernel).mlir_module()
        for platform in ("cpu", "cuda")
    }
    assert "stablehlo.while" in for_one["cpu"]
    assert "stablehlo.while" not in for_one["cuda"]
    within(exported.call(x, kernel), jax.jit(first_derivatives(plain))(x, kernel), 1e-5)


def test_an_export_for_any_batch_falls_back_to_xla():
    shapes = jax.export.symbolic_shape("b, 64, 64, 2")
    x = jax.ShapeDtypeStruct(shapes, jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 2, 2), jnp.float32)
    exported = jax.export.export(jax.jit(first_derivatives(conv)))(x, kernel)
    x, kernel = (a.astype(jnp.float32) for a in drawn((64, 64), (3, 3), (2, 2)))
    within(exported.call(x, kernel), jax.jit(first_derivatives(plain))(x, kernel), 1e-5)
    empty = jax.jit(first_derivatives(conv))(x[:0], kernel)
    assert empty[0].shape == (0, 64, 64, 2)
    assert not empty[1].any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [(4, 5), (64, 64)])
def test_the_dtype_stays(size, dtype):
    args = [np.asarray(a).astype(dtype) for a in drawn(size, (3, 3), (2, 3))]
    value, gradients = together(conv, first_derivatives(conv))(*args)
    assert value.dtype == dtype
    assert {g.dtype for g in gradients} == {jnp.dtype(dtype)}
    exact = jax.jit(first_derivatives(plain))(*(a.astype(np.float64) for a in args))
    error = {jnp.float32: 1e-5, jnp.bfloat16: 0.1}[dtype]  # 64·64 sums of bfloat16 products
    within(gradients, exact, error)


def test_a_size_that_does_not_fit_is_named():
    x, kernel = drawn((4, 4), (3, 3), (1, 1))
    with pytest.raises(ValueError, match=r"\(11, 11\).*\(6, 6\).*\(4, 4\)"):
        conv_transpose(x, kernel, strides=2, size=(11, 11))


def test_a_kernel_of_one_pixel_mixes_channels_only():
    x, kernel = drawn((4, 2), (1, 1), (5, 2))
    same(conv(x, kernel), jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0]))


def test_one_pixel_becomes_the_kernel_around_its_double_place():
    kernel = jnp.arange(1.0, 10).reshape(3, 3, 1, 1)
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(1)
    y = np.asarray(doubling(x, kernel))[0, ..., 0]
    assert y.shape == (8, 8)
    np.testing.assert_array_equal(y[1:4, 3:6], kernel[..., 0, 0])
    assert np.count_nonzero(y) == 9


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("case_name", ["large image", "wide", "3x3x3", "doubling"])
def test_what_is_not_finite_reaches_its_neighbours(case_name, value):
    """And in the transformed forms the rest of its tile: it is never lost, and never far."""
    ours, reference, (x, kernel) = taken(case_name)
    place = (0, *(n // 2 for n in x.shape[1:-1]), 0)
    x = np.array(x)
    x[place] = value
    found, expected = (~np.isfinite(y) for y in together(ours, reference)(x, kernel))
    assert found[expected].all()
    rows = np.nonzero(found.any(axis=tuple(i for i in range(found.ndim) if i != 1)))[0]
    needed = np.nonzero(expected.any(axis=tuple(i for i in range(found.ndim) if i != 1)))[0]
    assert rows.min() > needed.min() - 4
    assert rows.max() < needed.max() + 4


@settings(max_examples=10, deadline=None)
@given(shape=st.tuples(*(st.integers(1, n) for n in (3, 4, 4, 5))), seed=st.integers(0, 2**32 - 1))
def test_pooling_takes_the_largest_of_each_square(shape, seed):
    b, h, w, c = shape
    x = np.random.default_rng(seed).normal(size=(b, 2 * h, 2 * w, c))
    expected = x.reshape(b, h, 2, w, 2, c).max(axis=(2, 4))
    np.testing.assert_array_equal(jax.jit(max_pool)(x), expected)


def test_pooling_lets_nan_and_infinity_through():
    x = np.zeros((1, 4, 4, 1))
    x[0, 0, 1], x[0, 2, 2], x[0, 3, 0] = np.nan, np.inf, -np.inf
    found = np.asarray(max_pool(jnp.asarray(x)))[0, ..., 0]
    np.testing.assert_array_equal(found, [[np.nan, 0], [0, np.inf]])


def test_the_gradient_of_pooling_goes_to_the_largest_alone():
    x = np.random.default_rng(0).permutation(32).reshape(1, 4, 8, 1) / 32.0
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x))))(x)
    largest = x.reshape(1, 2, 2, 4, 2, 1).max(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(gradient, largest == x)


@pytest.mark.parametrize(("layer", "bound"), [(Conv(8), 1 / 6), (UpsampleConvApart(8), 72**-0.5)])
def test_initial_values_are_uniform_within_the_root_of_the_fan_in(layer, bound):
    variables = layer.init(jax.random.key(0), jnp.zeros((1, 2, 2, 4)))
    kernel = np.asarray(variables["params"]["kernel"])
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)  # 288 values
    assert np.abs(variables["params"]["bias"]).max() <= bound


def test_a_layer_is_its_convolution_and_its_bias():
    x = drawn((4, 5), (3, 3), (3, 6))[0]
    variables = Conv(6).init(jax.random.key(0), x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    same(Conv(6).apply(variables, x), conv(x, kernel) + bias[None, None, None])
    same(ConvApart(6).apply(variables, x), (conv(x, kernel), bias))
    up = UpsampleConvApart(6).apply(variables, x)
    same(up, (conv_transpose(x, kernel, strides=2), bias))


@pytest.mark.parametrize("axes", [1, 3, 4, 5])
def test_a_bias_is_added_to_every_place_in_the_dtype_of_the_result(axes):
    y, bias = jnp.ones((2,) * axes, jnp.bfloat16), jnp.array([1.0, 2.0])
    shifted = with_bias(y, bias)
    assert shifted.dtype == jnp.bfloat16
    assert np.unique(shifted[..., 0]) == 2
    assert np.unique(shifted[..., 1]) == 3
    assert with_bias(y, None) is y
