"""How the convolutions are computed on a CPU, and the table that chooses by shape.

XLA's CPU backend computes a plain forward convolution well; its filter gradients are 2 to 100
times slower than they need be. What stands here are sums of products of slices that stay in the
processor's cache: loops over blocks of rows with the whole batch inside, so that a batch that is
split over devices stays where it is.

Letters: B batch, H W image, I channels in, O channels out, P = 6 points of the transform.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from vad_jax.nets import doubling, winograd


class Geometry(NamedTuple):
    """How a kernel lies over an image; static.

    Attributes:
      size: of the image that the kernel slides over, per spatial axis.
      kernel: its size.
      strides: steps between its places.
      padding: zeros before and after the image, per axis.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def places(self) -> tuple[int, ...]:
        """How many places the kernel has along each axis: the size of the result."""
        axes = zip(self.size, self.kernel, self.strides, self.padding, strict=True)
        return tuple((n + lo + hi - k) // s + 1 for n, k, s, (lo, hi) in axes)


def xla_value(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Correlation `[B, *size, I], [*kernel, I, O] → [B, *places, O]`, XLA's own."""
    spatial = "DHW"[-len(geometry.size) :]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return lax.conv_general_dilated(
        x, kernel, geometry.strides, geometry.padding, dimension_numbers=numbers
    )


def xla_spread(geometry: Geometry, y: jax.Array, kernel: jax.Array) -> jax.Array:
    """The adjoint in the image: `[B, *places, O], [*kernel, I, O] → [B, *size, I]`."""
    shape = jax.ShapeDtypeStruct((y.shape[0], *geometry.size, kernel.shape[-2]), y.dtype)
    return jax.linear_transpose(lambda x: xla_value(geometry, x, kernel), shape)(y)[0]


def xla_taps(geometry: Geometry, x: jax.Array, y: jax.Array) -> jax.Array:
    """The adjoint in the kernel: `[B, *size, I], [B, *places, O] → [*kernel, I, O]`."""
    shape = jax.ShapeDtypeStruct((*geometry.kernel, x.shape[-1], y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda kernel: xla_value(geometry, x, kernel), shape)(y)[0]


# The table: which form for which shape, and why. Times of the operation alone in ms, XLA's | ours |
# PyTorch's best; float32, batch 4, two cores of a server CPU with AVX-512, jax 0.10.2, 2026-11.
# `python -m vad_jax.benchmarks.conv` measures them again. Ours: value and spread by lines (spread
# of 512 channels in blocks), taps in blocks.
#
#              value              spread             taps
# 256², 64 → 64      72 | 117 | 69      72 |     | 65     695 | 113 | 97
# 256², 128 → 64    150 | 132 | 133    157 |     | 137   1558 | 205 | 181
# 128², 128 → 128    80 |  58 | 68      77 |  62 | 68     433 |  72 | 83
# 128², 256 → 128   160 |  98
# 64², 256 → 256     72 |  44 | 66      74 |  44 | 65     405 |  68 | 81
# 32², 512 → 512     79 |  47 | 65      82 |  49 | 70     311 |  54 | 87
# 64², 16 → 16      0.9 |     | 0.4                       2.8 | 1.7 | 0.6
# 32², 32 → 32      0.7 |     | 0.3                       1.1 | 1.4 | 0.5
# 8², 256 → 128                                           1.6 | 2.5
# 3x3x3 on 16x64², 64 → 64, all three: – | 182 | 144; single frames: not measured, left to XLA
# 3x3x3 at strides 1,2,2 on 16x32², 32 → 96: 158 | 118 |, 4256 | 60 |, 400 | 86 |; at 2,2,2 on
# 16x8², 128 → 48: 6.1 | 7.1 |, 140 | 4.4 |, 48 | 11 | (2026-11-30, tap by tap, as all strided 3D)
# doubling 3x3, of 128², 128 → 64, taps: thousands | 230 | 180
#
# Value and spread under 256 channels stay with XLA: at 128 the forms took 2 % off MNAD's step at
# 256² and added 0.2 GB to its peak. For a single image, whose memory is small, the value does not:
# 128², 64 → 128: 7.1 | 5.4 | 5.0; 128 → 128: 12.0 | 6.3 | 9.7; 64², 128 → 256: 7.0 | 5.3 | 4.9
# (2026-11-29, bias and ReLU included).


def value_on_cpu(
    geometry: Geometry, inputs: int, outputs: int, dtype: Any, *, batch: int | None = None
) -> Callable | None:
    """The form of `xla_value` that is faster on a CPU, or None.

    `batch` is that of the image where it is known.
    """
    if _too_coarse(dtype):
        return None
    wide = _is_wide(inputs, outputs) or _is_live(geometry, inputs, outputs, batch)
    if _is_plain(geometry, (3, 3)) and wide:
        return lambda x, kernel: _value_by_lines(geometry, x, kernel)
    if _is_video(geometry):
        return lambda x, kernel: _value_in_time(geometry, x, kernel)
    if _is_strided_video(geometry):
        return lambda x, kernel: _value_by_taps(geometry, x, kernel)
    return None


def spread_on_cpu(geometry: Geometry, inputs: int, outputs: int, dtype: Any) -> Callable | None:
    """The form of `xla_spread` that is faster on a CPU, or None."""
    if _is_doubling(geometry):
        return doubling.spread
    if _too_coarse(dtype):
        return None
    if _is_plain(geometry, (3, 3)) and _is_wide(inputs, outputs):
        if inputs * outputs >= 2**18:
            return lambda y, kernel: winograd.spread(y, kernel, geometry.padding)
        return lambda y, kernel: _value_by_lines(_turned(geometry), y, _turned_kernel(kernel))
    if _is_video(geometry):
        return lambda y, kernel: _value_in_time(_turned(geometry), y, _turned_kernel(kernel))
    if _is_strided_video(geometry):
        return lambda y, kernel: _spread_by_taps(geometry, y, kernel)
    return None


def taps_on_cpu(geometry: Geometry, inputs: int, outputs: int, dtype: Any) -> Callable | None:
    """The form of `xla_taps` that is faster on a CPU, or None."""
    if _is_doubling(geometry):
        return doubling.taps
    if _too_coarse(dtype):
        return None
    pixels = math.prod(geometry.size)
    if _is_plain(geometry, (3, 3)) and (pixels >= 2**12 or pixels * inputs * outputs >= 2**22):
        return lambda x, y: winograd.taps(x, y, geometry.padding)
    if _is_video(geometry):
        return lambda x, y: _taps_in_time(geometry, x, y)
    if _is_strided_video(geometry):
        return lambda x, y: _taps_by_taps(geometry, x, y)
    return None


def _is_wide(inputs, outputs):
    return min(inputs, outputs) >= 256


def _is_live(geometry, inputs, outputs, batch):
    """One image a call, as a camera gives them, of 64² to 128² and 64 channels at least.

    Under `vmap` the call is one row's, so that rows side by side take this form, too.
    """
    return (
        isinstance(batch, int)  # an exported function may have any
        and batch == 1
        and min(inputs, outputs) >= 64
        and 2**12 <= math.prod(geometry.size) <= 2**14
    )


def _too_coarse(dtype) -> bool:
    """The transforms lose two bits: not for half precision, which is no speed path on a CPU."""
    return jnp.finfo(dtype).bits < 32


def _is_plain(geometry, kernel):
    edges = sum(geometry.padding, ())
    return (
        geometry.kernel == kernel
        and set(geometry.strides) == {1}
        and 0 <= min(edges) <= max(edges) <= 2
    )


def _is_video(geometry):
    """A 3x3x3 over at least a tile of frames."""
    return _is_plain(geometry, (3, 3, 3)) and geometry.places[0] >= winograd.TILE


def _is_strided_video(geometry):
    edges = sum(geometry.padding, ())
    return len(geometry.size) == 3 and set(geometry.strides) != {1} and min(edges) >= 0


def _is_doubling(geometry):
    """A spread that doubles height and width, as the U-Nets' transposed convolutions do."""
    doubles = all(2 * n == size for n, size in zip(geometry.places, geometry.size, strict=True))
    return (
        geometry.kernel == (3, 3)
        and geometry.strides == (2, 2)
        and geometry.padding == ((1, 1), (1, 1))
        and doubles
    )


def value(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`xla_value` as the table has it for this platform."""
    ours = value_on_cpu(geometry, *kernel.shape[-2:], x.dtype, batch=x.shape[0])
    return _by_platform(ours, xla_value, geometry, x, kernel)


def spread(geometry: Geometry, y: jax.Array, kernel: jax.Array) -> jax.Array:
    """`xla_spread` as the table has it for this platform."""
    ours = spread_on_cpu(geometry, *kernel.shape[-2:], y.dtype)
    return _by_platform(ours, xla_spread, geometry, y, kernel)


def taps(geometry: Geometry, x: jax.Array, y: jax.Array) -> jax.Array:
    """`xla_taps` as the table has it for this platform."""
    ours = taps_on_cpu(geometry, x.shape[-1], y.shape[-1], x.dtype)
    return _by_platform(ours, xla_taps, geometry, x, y)


def _by_platform(ours, xla, geometry, *args):
    """Chosen inside the program, so that an exported function holds both."""
    plain = functools.partial(xla, geometry)
    batch = args[0].shape[0]
    if ours is None or not isinstance(batch, int) or not batch:  # exported for any batch, or none
        return plain(*args)
    return lax.platform_dependent(*args, cpu=ours, default=plain)


def _turned(geometry):
    """At unit strides a spread is the value of this geometry, with the kernel turned around."""
    axes = zip(geometry.kernel, geometry.padding, strict=True)
    padding = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in axes)
    return geometry._replace(size=geometry.places, padding=padding)


def _turned_kernel(kernel):
    return jnp.flip(kernel, tuple(range(kernel.ndim - 2))).swapaxes(-1, -2)


def _value_by_lines(geometry, x, kernel):
    line = geometry._replace(kernel=(1, 3), padding=((0, 0), geometry.padding[1]))

    def along_lines(lines, kernel):
        return xla_value(line, lines, kernel[None])

    return winograd.value(x, kernel, geometry.padding, along_lines)


def _plane(geometry):
    """The geometry of the single frames of a video."""
    return Geometry(*(field[1:] for field in geometry))


def _of_frames(on_cpu, xla, geometry, *about):
    """The table's operation on the frames of videos: `[B, T, …]` arguments as `[B·T, …]`."""
    plane = _plane(geometry)
    return on_cpu(plane, *about) or functools.partial(xla, plane)


def _flat(video):
    return video.reshape(-1, *video.shape[2:])


def _value_in_time(geometry, x, kernel):
    of_frames = _of_frames(value_on_cpu, xla_value, geometry, *kernel.shape[-2:], x.dtype)

    def of_tiles(frames, kernel):
        made = of_frames(_flat(frames), kernel)
        return made.reshape(*frames.shape[:2], *made.shape[1:])

    return winograd.value(x, kernel, geometry.padding, of_tiles)


def _taps_in_time(geometry, x, y):
    of_frames = _of_frames(taps_on_cpu, xla_taps, geometry, x.shape[-1], y.shape[-1], x.dtype)
    return winograd.taps_in_time(x, y, geometry.padding, of_frames)


# A strided convolution of videos, tap by tap of the kernel in time: each is one of single frames,
# which has a form of its own where it doubles. XLA's own takes up to 50 times as long.


def _met(geometry, x, tap):
    """The frames that a tap meets, as images `[B·places, H, W, I]`; zeros outside of the video."""
    (before, after), step = geometry.padding[0], geometry.strides[0]
    x = jnp.pad(x, ((0, 0), (before, after), *[(0, 0)] * 3))
    last = tap + (geometry.places[0] - 1) * step
    return _flat(x[:, tap : last + 1 : step])


def _value_by_taps(geometry, x, kernel):
    of_frames = _of_frames(value_on_cpu, xla_value, geometry, *kernel.shape[-2:], x.dtype)
    made = sum(of_frames(_met(geometry, x, tap), k) for tap, k in enumerate(kernel))
    return made.reshape(x.shape[0], geometry.places[0], *made.shape[1:])


def _spread_by_taps(geometry, y, kernel):
    of_frames = _of_frames(spread_on_cpu, xla_spread, geometry, *kernel.shape[-2:], y.dtype)
    step, width = geometry.strides[0], (geometry.places[0] - 1) * geometry.strides[0] + 1

    def placed(tap, k):
        made = of_frames(_flat(y), k)
        made = made.reshape(*y.shape[:2], *made.shape[1:])
        first = tap - geometry.padding[0][0]
        in_time = (first, geometry.size[0] - first - width, step - 1)  # negative: cut off
        return lax.pad(made, jnp.zeros((), y.dtype), ((0, 0, 0), in_time, *[(0, 0, 0)] * 3))

    return sum(placed(tap, k) for tap, k in enumerate(kernel))


def _taps_by_taps(geometry, x, y):
    of_frames = _of_frames(taps_on_cpu, xla_taps, geometry, x.shape[-1], y.shape[-1], x.dtype)
    places = range(geometry.kernel[0])
    return jnp.stack([of_frames(_met(geometry, x, tap), _flat(y)) for tap in places])
