"""The convolutions and the pooling that every network uses, 2D and 3D, channels last.

One numerics everywhere; on a CPU in faster forms (`nets/lowering.py`), on other platforms XLA's
own. Reverse mode of any order, under `vmap`, `scan` and sharding over the batch; no forward mode
(`jax.jvp`). Initial values are PyTorch's, as the published code has.

Letters: B batch, D H W space, I channels in, O channels out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vad_jax.nets import lowering
from vad_jax.nets.lowering import Geometry


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Sequence[tuple[int, int]] | None = None,
) -> jax.Array:
    """Convolves; correlation, as everywhere in deep learning.

    Args:
      x: `[B, H, W, I]` or `[B, D, H, W, I]`.
      kernel: `[*k, I, O]`, one size for each axis.
      strides: one for all axes or one for each.
      padding: zeros before and after, for each axis; by default `k // 2` on both sides.

    Returns:
      `[B, *places, O]`, with `places = (size + before + after - k) // stride + 1`.
    """
    return _value(_geometry(x.shape[1:-1], kernel, strides, padding), x, kernel)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int],
    padding: Sequence[tuple[int, int]] | None = None,
    size: Sequence[int] | None = None,
) -> jax.Array:
    """Transposed convolution: `y[stride · i + k - before] += x[i] · kernel[k]` on every axis.

    Args:
      x: `[B, H, W, I]` or `[B, D, H, W, I]`.
      kernel: `[*k, I, O]`.
      strides, padding: of the convolution whose transpose this is.
      size: of the result; by default stride times that of `x`, which for a 3x3 kernel at stride 2
        is PyTorch's `ConvTranspose2d(3, stride=2, padding=1, output_padding=1)`.

    Returns:
      `[B, *size, O]`.
    """
    steps = each(strides, x.ndim - 2)
    if size is None:
        size = tuple(step * n for step, n in zip(steps, x.shape[1:-1], strict=True))
    geometry = _geometry(size, kernel, strides, padding)
    if geometry.places != x.shape[1:-1]:
        raise ValueError(
            f"A result of size {tuple(size)} has {geometry.places} places for the kernel, but x "
            f"has {x.shape[1:-1]}."
        )
    return _spread(geometry, x, kernel.swapaxes(-1, -2))


def _geometry(size, kernel, strides, padding) -> Geometry:
    places = tuple(kernel.shape[:-2])
    if padding is None:
        padding = [(k // 2, k // 2) for k in places]
    padding = tuple((int(before), int(after)) for before, after in padding)
    return Geometry(tuple(size), places, each(strides, len(places)), padding)


def each(strides: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One stride for each of so many axes."""
    return (strides,) * axes if isinstance(strides, int) else tuple(strides)


# A convolution is bilinear: the derivatives of each of these three are the other two, so that
# reverse mode of any order stays among them. value(x, w) → y, spread(y, w) → x, taps(x, y) → w.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _value(geometry, x, kernel):
    return lowering.value(geometry, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _spread(geometry, y, kernel):
    return lowering.spread(geometry, y, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _taps(geometry, x, y):
    return lowering.taps(geometry, x, y)


def _keeping(function):
    return lambda geometry, a, b: (function(geometry, a, b), (a, b))


def _value_back(geometry, kept, y):
    x, kernel = kept
    return _spread(geometry, y, kernel), _taps(geometry, x, y)


def _spread_back(geometry, kept, x):
    y, kernel = kept
    return _value(geometry, x, kernel), _taps(geometry, x, y)


def _taps_back(geometry, kept, kernel):
    x, y = kept
    return _spread(geometry, y, kernel), _value(geometry, x, kernel)


_value.defvjp(_keeping(_value), _value_back)
_spread.defvjp(_keeping(_spread), _spread_back)
_taps.defvjp(_keeping(_taps), _taps_back)


def max_pool(x: jax.Array) -> jax.Array:
    """Halves height and width of `[B, H, W, C]` by the maximum of each 2x2 square.

    Ties share the gradient; behind a ReLU that makes no difference (its own gradient is 0 there).
    """
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    rows = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def torch_uniform(fan_in: int) -> Callable[..., jax.Array]:
    """PyTorch's default initial values of a convolution: uniform in ±1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=float):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """3x3 convolution with bias; `dtype` of the computation, None follows the parameters."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return with_bias(*convolved(self, conv, x))


class ConvApart(nn.Module):
    """`Conv` for a BatchNorm behind it: the result without the bias, and the bias `[C]`."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return convolved(self, conv, x)


class UpsampleConvApart(nn.Module):
    """Twice the height and width by a transposed 3x3 convolution; the bias apart."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        doubling = functools.partial(conv_transpose, strides=2)
        return convolved(self, doubling, x, transposed=True)


def convolved(
    layer: nn.Module,
    function: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    *,
    kernel_size: Sequence[int] = (3, 3),
    transposed: bool = False,
    bias: bool = True,
) -> tuple[jax.Array, jax.Array | None]:
    """The one body of all layers: draws kernel and bias, and convolves in the layer's dtype.

    Args:
      layer: inside its compact call; has `features`, O, and `dtype`.
      function: `(x, kernel [*kernel_size, I, O]) → y`.
      x: `[B, *size, I]`.
      transposed: whether the function is a transposed convolution: PyTorch, whose initial values
        these are, takes the second axis of a weight for fan_in, and a transposed one's are turned.
      bias: whether the layer has one.

    Returns:
      The result without the bias, and the bias `[O]` or None.
    """
    inputs, outputs = x.shape[-1], layer.features
    init = torch_uniform(math.prod(kernel_size) * (outputs if transposed else inputs))
    kernel = layer.param("kernel", init, (*kernel_size, inputs, outputs))
    shift = layer.param("bias", init, (outputs,)) if bias else None
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=layer.dtype)
    return function(x, kernel), shift


def with_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """`y` `[B, *places, O]` and the bias `[O]`, if there is one, in the dtype of `y`."""
    if bias is None:
        return y
    return y + jnp.expand_dims(bias.astype(y.dtype), tuple(range(y.ndim - 1)))
