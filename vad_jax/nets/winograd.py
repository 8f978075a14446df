"""Winograd's F(4, 3) along one axis: four outputs of a kernel of three from six inputs, by six
products in place of twelve.

Only along H (or T): a block of rows stays in the processor's cache, and in float32 the largest
error is 3e-6 of the largest value; along two axes it would be 1e-5, and slower.

Letters: B batch, T H W video or image, I channels in, O channels out, P = 6 points.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016; the points are
0, ±1, ±2, ∞, and `y = Aᵀ((G g) · (Bᵀ d))`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

TILE, TAPS, POINTS = 4, 3, 6
_BLOCK = 512  # pixels of a block at least: enough for a product, and it stays in the cache

_B = np.array(  # Bᵀ
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def value(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Correlation of `[B, H, W, I]` with `[3, 3, I, O]` at stride 1."""
    batch, height, width, inputs = x.shape
    outputs = kernel.shape[-1]
    (above, below), edges = padding
    height, width = height + above + below - 2, width + sum(edges) - 2
    tiles, blocks = _blocks(batch, height, width)
    kernels = _points(_G, kernel).reshape(POINTS, TAPS * inputs, outputs)

    def block(result, index):
        first = index * tiles * TILE
        inside = _inputs(x, first - above, tiles)  # P of [B, tiles, W, I]
        shifted = _shifts(inside, edges, width).reshape(POINTS, -1, TAPS * inputs)
        products = jnp.matmul(shifted, kernels).reshape(POINTS, batch, tiles, width, outputs)
        tile = jnp.stack(_combined(_A, products), axis=2)
        tile = tile.reshape(batch, tiles * TILE, width, outputs)
        return lax.dynamic_update_slice_in_dim(result, tile, first, axis=1), None

    empty = jnp.zeros((batch, blocks * tiles * TILE, width, outputs), x.dtype)
    return lax.scan(block, empty, jnp.arange(blocks))[0][:, :height]


def taps(x: jax.Array, y: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """The adjoint of `value` in the kernel: `[B, H, W, I], [B, H', W', O] → [3, 3, I, O]`."""
    batch, height, width, outputs = y.shape
    inputs = x.shape[-1]
    (above, _), edges = padding
    tiles, blocks = _blocks(batch, height, width)

    def block(sums, index):
        first = index * tiles * TILE
        inside = _inputs(x, first - above, tiles)
        shifted = _shifts(inside, edges, width).reshape(POINTS, -1, TAPS * inputs)
        four = rows(y, first, tiles * TILE).reshape(batch, tiles, TILE, width, outputs)
        spread = jnp.stack(_combined(_A.T, [four[:, :, k] for k in range(TILE)]))
        spread = spread.reshape(POINTS, -1, outputs)
        return sums + summed_products(spread, shifted), None

    empty = jnp.zeros((POINTS, outputs, TAPS * inputs), x.dtype)
    sums, _ = lax.scan(block, empty, jnp.arange(blocks))
    return _from_points(sums).reshape(TAPS, outputs, TAPS, inputs).transpose(0, 2, 3, 1)


def value_in_time(
    x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]], plane: Callable
) -> jax.Array:
    """Correlation of `[B, T, H, W, I]` with `[3, 3, 3, I, O]` at stride 1: six of single frames.

    `plane` correlates `[N, H, W, I]` with `[3, 3, I, O]`.
    """
    batch, before = x.shape[0], padding[0][0]
    frames = x.shape[1] + sum(padding[0]) - 2
    tiles = -(-frames // TILE)
    inside = _inputs(x, -before, tiles)
    kernels = _points(_G, kernel)
    made = [
        plane(inside[p].reshape(-1, *x.shape[2:]), kernels[p]).reshape(batch, tiles, -1)
        for p in range(POINTS)
    ]
    return jnp.stack(_combined(_A, made), axis=2).reshape(batch, tiles * TILE, -1)[:, :frames]


def taps_in_time(
    x: jax.Array, y: jax.Array, padding: Sequence[tuple[int, int]], plane: Callable
) -> jax.Array:
    """The adjoint of `value_in_time` in the kernel; `plane` gives `[3, 3, I, O]` of frames."""
    tiles = -(-y.shape[1] // TILE)
    inside = _inputs(x, -padding[0][0], tiles)
    four = rows(y, 0, tiles * TILE).reshape(y.shape[0], tiles, TILE, *y.shape[2:])
    spread = _combined(_A.T, [four[:, :, k] for k in range(TILE)])
    each = [
        plane(inside[p].reshape(-1, *x.shape[2:]), spread[p].reshape(-1, *y.shape[2:]))
        for p in range(POINTS)
    ]
    return _from_points(jnp.stack(each))


def rows(x: jax.Array, first: jax.Array | int, number: int) -> jax.Array:
    """Slices `number` rows from `first` on along axis 1; what lies outside of `x` is zero.

    No padded copy of `x` is made: only a block of it is padded.
    """
    axis, present = 1, x.shape[1]
    if isinstance(first, int) and first == 0 and number == present:
        return x
    padding = [(0, 0)] * x.ndim
    if present < number:
        padding[axis] = (0, number - present)
        x, present = jnp.pad(x, padding), number
    start = jnp.clip(first, 0, present - number)
    block = lax.dynamic_slice_in_dim(x, start, number, axis)
    padding[axis] = (number, number)
    return lax.dynamic_slice_in_dim(jnp.pad(block, padding), first - start + number, number, axis)


def _blocks(batch: int, height: int, width: int) -> tuple[int, int]:
    """Tiles of rows in a block, and the number of blocks."""
    every = -(-height // TILE)
    tiles = min(every, max(1, round(_BLOCK / (batch * width))))
    return tiles, -(-every // tiles)


def _inputs(x, first, tiles):
    """Bᵀ along axis 1: P arrays `[B, tiles, …]` of the tiles' six inputs each."""
    block = rows(x, first, tiles * TILE + TAPS - 1)
    last = (tiles - 1) * TILE + 1
    return jnp.stack(_combined(_B, [block[:, k : k + last : TILE] for k in range(POINTS)]))


def _shifts(inside, edges, width):
    """The three places of a kernel along W, on the channels: `[P, B, tiles, W', 3·I]`."""
    padded = jnp.pad(inside, ((0, 0), (0, 0), (0, 0), edges, (0, 0)))
    return jnp.concatenate([padded[..., k : k + width, :] for k in range(TAPS)], axis=-1)


def summed_products(a, b):
    """`[P, N, m], [P, N, n] → [P, m, n]`; the smaller of m and n first is up to twice as fast."""
    if a.shape[-1] > b.shape[-1]:
        return summed_products(b, a).swapaxes(1, 2)
    return lax.dot_general(a, b, (((1,), (1,)), ((0,), (0,))))


def _points(matrix, kernel):
    """G along the kernel's first axis: `[3, …] → [P, …]`."""
    return jnp.stack(_combined(matrix, kernel))


def _from_points(sums):
    """Gᵀ: `[P, …] → [3, …]`."""
    return jnp.stack(_combined(_G.T, sums))


def _combined(matrix, parts) -> list[jax.Array]:
    """Each row's sum of parts, written out: additions and constant factors that fuse."""
    return [
        sum(part * float(weight) for weight, part in zip(row, parts, strict=True) if weight)
        for row in matrix
    ]
