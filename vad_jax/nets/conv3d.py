"""The layers of networks that see clips: 3D convolutions, 2D ones of every frame, their transposes.

A kernel of one frame at time stride 1 (1x3x3) sees each frame by itself: frames are folded into the
batch and a 2D convolution does the rest, the same to rounding and much faster on a CPU. Kernels
have three sizes either way, so that a network's 2D and 3D twins have the same parameter paths.

Letters: B batch, T frames, H W image, I channels in, O channels out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from vad_jax.nets.conv import conv, conv_transpose, convolved, each, with_bias

Sizes = tuple[int, int, int]  # time, height, width


def each_frame(function: Callable[[jax.Array], jax.Array], clips: jax.Array) -> jax.Array:
    """What a function of images `[N, H, W, C]` makes of all frames of clips `[B, T, H, W, C]`.

    Returns:
      `[B, T, …]`.
    """
    batch, frames = clips.shape[:2]
    made = function(clips.reshape(batch * frames, *clips.shape[2:]))
    return made.reshape(batch, frames, *made.shape[1:])


def conv3d(x: jax.Array, kernel: jax.Array, *, strides: int | Sequence[int] = 1) -> jax.Array:
    """Convolves clips with `k // 2` zeros before and after on every axis.

    Args:
      x: `[B, T, H, W, I]`.
      kernel: `[kt, kh, kw, I, O]`.
      strides: one for all axes or one for each.

    Returns:
      `[B, T', H', W', O]`; for odd kernels each size is that of `x` by its stride, rounded up.
    """
    over_time, *over_frames = each(strides, 3)
    if (kernel.shape[0], over_time) != (1, 1):
        return conv(x, kernel, strides=(over_time, *over_frames))
    of_frames = functools.partial(conv, strides=over_frames)
    return each_frame(lambda frames: of_frames(frames, kernel[0]), x)


def conv3d_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int],
    size: Sequence[int] | None = None,
) -> jax.Array:
    """The transpose of a `conv3d` in its clips.

    Args:
      x: `[B, T, H, W, I]`.
      kernel: `[kt, kh, kw, I, O]`.
      strides: of the convolution whose transpose this is.
      size: (T, H, W) of the result: any that the convolution brings to the size of `x`, which are
        as many on an axis as its stride. By default stride times the size of `x`, for a kernel of 3
        the largest. PyTorch's `output_padding` is how much it is above the smallest.

    Returns:
      `[B, *size, O]`.

    Raises:
      ValueError: a size that the convolution brings to another than that of `x`; names them.
    """
    over_time, *over_frames = each(strides, 3)
    keeps_time = size is None or size[0] == x.shape[1]
    if (kernel.shape[0], over_time) != (1, 1) or not keeps_time:  # a wrong time is refused there
        return conv_transpose(x, kernel, strides=(over_time, *over_frames), size=size)
    size = None if size is None else size[1:]
    of_frames = functools.partial(conv_transpose, strides=over_frames, size=size)
    return each_frame(lambda frames: of_frames(frames, kernel[0]), x)


class Conv3D(nn.Module):
    """`conv3d` with a kernel and, with `use_bias`, a bias of its own.

    Attributes:
      features: channels of the result.
      kernel_size, strides: in time, height, width.
      use_bias: a BatchNorm behind it needs none: it takes the mean away.
      dtype: of the computation; None follows the parameters.
    """

    features: int
    kernel_size: Sizes = (3, 3, 3)
    strides: Sizes = (1, 1, 1)
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return with_bias(*_convolved(self, x, use_bias=self.use_bias))


class Conv3DApart(nn.Module):
    """`Conv3D` for a BatchNorm behind it: the result without the bias, and the bias `[O]`."""

    features: int
    kernel_size: Sizes = (3, 3, 3)
    strides: Sizes = (1, 1, 1)
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return _convolved(self, x)


class ConvTranspose3D(nn.Module):
    """`conv3d_transpose` with kernel and bias of its own, to `size` if a call says one.

    The attributes are those of `Conv3D`.
    """

    features: int
    kernel_size: Sizes = (3, 3, 3)
    strides: Sizes = (1, 1, 1)
    dtype: Any = None

    @nn.compact
    def __call__(self, x, *, size: Sizes | None = None):
        return with_bias(*_spread(self, x, size))


class ConvTranspose3DApart(nn.Module):
    """`ConvTranspose3D` for a BatchNorm behind it: result without bias, and the bias `[O]`."""

    features: int
    kernel_size: Sizes = (3, 3, 3)
    strides: Sizes = (1, 1, 1)
    dtype: Any = None

    @nn.compact
    def __call__(self, x, *, size: Sizes | None = None):
        return _spread(self, x, size)


def _convolved(layer, x, *, use_bias=True):
    function = functools.partial(conv3d, strides=layer.strides)
    return convolved(layer, function, x, kernel_size=layer.kernel_size, bias=use_bias)


def _spread(layer, x, size):
    function = functools.partial(conv3d_transpose, strides=layer.strides, size=size)
    return convolved(layer, function, x, kernel_size=layer.kernel_size, transposed=True)
