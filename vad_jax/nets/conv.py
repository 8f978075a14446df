"""The convolutions and the pooling that every network uses, NHWC and HWIO.

All are sums of products of slices, so derivatives of any order exist, forward and reverse, under
`vmap`, `scan` and sharding over the batch. Initial values are PyTorch's, as the published code has.

Letters: B H W C image, I channels in, O channels out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves at stride 1 with zeros around the image, so that its size stays.

    Args:
      x: `[B, H, W, I]`.
      kernel: `[k, k, I, O]`, k odd; correlation, as everywhere in deep learning.

    Returns:
      `[B, H, W, O]`.
    """
    edge = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((edge, edge), (edge, edge)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Doubles height and width by a transposed 3x3 convolution.

    PyTorch's `ConvTranspose2d(kernel_size=3, stride=2, padding=1, output_padding=1)`:
    `y[2i + k - 1] += x[i] * kernel[k]` on both axes.

    Each of the four phases of the output is a sum of dots with one to four shifts of the input:
    XLA's own filter gradient of the dilated form is 10 (64x64) to 100 (256x256) times slower on a
    CPU (2026-11).

    Args:
      x: `[B, H, W, I]`.
      kernel: `[3, 3, I, O]`.

    Returns:
      `[B, 2H, 2W, O]`.
    """
    b, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    right, below, across = padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]

    def tap(shifted, row, column):
        return jnp.einsum("bhwi,io->bhwo", shifted, kernel[row, column])

    even_even = tap(x, 1, 1)
    even_odd = tap(x, 1, 2) + tap(right, 1, 0)
    odd_even = tap(x, 2, 1) + tap(below, 0, 1)
    odd_odd = tap(x, 2, 2) + tap(right, 2, 0) + tap(below, 0, 2) + tap(across, 0, 0)
    even_rows = jnp.stack([even_even, even_odd], axis=3)  # [B, H, W, 2, O]
    odd_rows = jnp.stack([odd_even, odd_odd], axis=3)
    return jnp.stack([even_rows, odd_rows], axis=2).reshape(b, 2 * h, 2 * w, -1)


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
        fan_in = 9 * x.shape[-1]
        kernel = self.param("kernel", torch_uniform(fan_in), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", torch_uniform(fan_in), (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv(x, kernel) + bias[None, None, None]


class UpsampleConv(nn.Module):
    """`upsample_conv` with bias."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        fan_in = 9 * self.features  # PyTorch takes the second axis of [in, out, 3, 3] for fan_in
        kernel = self.param("kernel", torch_uniform(fan_in), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", torch_uniform(fan_in), (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return upsample_conv(x, kernel) + bias[None, None, None]
