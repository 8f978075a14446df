"""Winograd's F(4, 3) along one axis: four outputs of a kernel of three from six inputs, by six
products in place of twelve.

Along H alone: a block of rows stays in the processor's cache, and in float32 the largest error is
3e-6 of the largest value. Along H and W it would be 1e-5, and slower. A 3x3x3 kernel is transformed
along T, and along H too where the table in `lowering.py` has that for its frames.

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


def value(
    x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]], plane: Callable
) -> jax.Array:
    """Correlation at stride 1 of a kernel of 3, 3x3 or 3x3x3, as six of one axis less.

    Args:
      x: `[B, H, W, I]` or `[B, T, H, W, I]`.
      kernel: `[3, …, I, O]`.
      padding: of every axis.
      plane: correlates `[B, tiles, …, I]` with `[…, I, O]` along the axes behind the tiles.
    """
    before, after = padding[0]
    places = x.shape[1] + before + after - 2
    tiles = -(-places // TILE)
    inside = _combined(_B, _lines(x, -before, tiles))
    # Not `_points`: one product of all six and their slices took three times as long.
    kernels = _combined(_G, list(kernel))
    made = [plane(part, k) for part, k in zip(inside, kernels, strict=True)]
    tile = jnp.stack(_combined(_A, made), axis=2)
    return tile.reshape(x.shape[0], tiles * TILE, *made[0].shape[2:])[:, :places]


def spread(y: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """The adjoint of `value` in the image: `[B, H', W', O], [3, 3, I, O] → [B, H, W, I]`.

    That is a correlation with the kernel turned around. Here nothing of the kernel is transposed
    in memory, which takes longer than the products do where it is large.
    """
    batch, inputs = y.shape[0], kernel.shape[-2]
    (above, below), edges = [(2 - before, 2 - after) for before, after in padding]
    height, width = y.shape[1] + above + below - 2, y.shape[2] + sum(edges) - 2
    tiles, blocks = _blocks(batch, height, width)
    kernels = [_points(kernel[::-1, 2 - k]) for k in range(TAPS)]  # each [P, I, O]

    def block(result, index):
        first = index * tiles * TILE
        shifts = _shifts(_inputs(y, first - above, tiles, edges), width)
        pairs = zip(shifts, kernels, strict=True)
        made = sum(lax.dot_general(_flat(a), b, (((2,), (2,)), ((0,), (0,)))) for a, b in pairs)
        tile = jnp.stack(_combined(_A, made.reshape(POINTS, batch, tiles, width, inputs)), axis=2)
        tile = tile.reshape(batch, tiles * TILE, width, inputs)
        return lax.dynamic_update_slice_in_dim(result, tile, first, axis=1), None

    empty = jnp.zeros((batch, blocks * tiles * TILE, width, inputs), y.dtype)
    return lax.scan(block, empty, jnp.arange(blocks))[0][:, :height]


def taps(x: jax.Array, y: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """The adjoint of `value` in the kernel: `[B, H, W, I], [B, H', W', O] → [3, 3, I, O]`."""
    batch, height, width, outputs = y.shape
    inputs = x.shape[-1]
    (above, _), edges = padding
    tiles, blocks = _blocks(batch, height, width)

    def block(sums, index):
        first = index * tiles * TILE
        shifts = _shifts(_inputs(x, first - above, tiles, edges), width)
        four = rows(y, first, tiles * TILE).reshape(batch, tiles, TILE, width, outputs)
        back = jnp.stack(_combined(_A.T, [four[:, :, k] for k in range(TILE)]))
        return sums + summed_products(_flat(back), _flat(jnp.concatenate(shifts, axis=-1))), None

    # The outputs come first: a product whose first side is the smaller is up to twice as fast.
    empty = jnp.zeros((POINTS, outputs, TAPS * inputs), x.dtype)
    sums, _ = lax.scan(block, empty, jnp.arange(blocks))
    return _from_points(sums).reshape(TAPS, outputs, TAPS, inputs).transpose(0, 2, 3, 1)


def taps_in_time(
    x: jax.Array, y: jax.Array, padding: Sequence[tuple[int, int]], plane: Callable
) -> jax.Array:
    """The adjoint of `value` in a 3x3x3 kernel; `plane` gives the `[3, 3, I, O]` of frames."""
    tiles = -(-y.shape[1] // TILE)
    inside = _combined(_B, _lines(x, -padding[0][0], tiles))
    four = rows(y, 0, tiles * TILE).reshape(y.shape[0], tiles, TILE, *y.shape[2:])
    spread = _combined(_A.T, [four[:, :, k] for k in range(TILE)])
    each = [
        plane(inside[p].reshape(-1, *x.shape[2:]), spread[p].reshape(-1, *y.shape[2:]))
        for p in range(POINTS)
    ]
    return _from_points(jnp.stack(each))


def rows(x: jax.Array, first: jax.Array | int, number: int) -> jax.Array:
    """Slices `number` rows from `first` on along axis 1; what lies outside of `x` is zero.

    Inside a loop no padded copy of `x` is made: only a block of it is padded.
    """
    axis, present = 1, x.shape[1]
    padding = [(0, 0)] * x.ndim
    if isinstance(first, int):  # all rows at once
        padding[axis] = (max(-first, 0), max(first + number - present, 0))
        return jnp.pad(x, padding)[:, max(first, 0) :][:, :number]
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


def _inputs(x, first, tiles, edges):
    """Bᵀ along H: `[P, B, tiles, W, C]`, with zeros at the edges of W."""
    lines = _lines(x, first, tiles, lambda block: jnp.pad(block, ((0, 0), (0, 0), edges, (0, 0))))
    return jnp.stack(_combined(_B, lines))


def _lines(x, first, tiles, padded=lambda block: block):
    """The six inputs of each tile along axis 1: each `[B, tiles, …]`."""
    block = padded(rows(x, first, tiles * TILE + TAPS - 1))
    last = (tiles - 1) * TILE + 1
    return [block[:, k : k + last : TILE] for k in range(POINTS)]


def _shifts(inside, width):
    """The kernel's three places along W: each `[P, B, tiles, W', C]`."""
    return [inside[..., k : k + width, :] for k in range(TAPS)]


def _flat(parts):
    """`[P, …, C] → [P, N, C]`."""
    return parts.reshape(POINTS, -1, parts.shape[-1])


def summed_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """`[P, N, m], [P, N, n] → [P, m, n]`."""
    return lax.dot_general(a, b, (((1,), (1,)), ((0,), (0,))))


def _points(kernel):
    """G along the kernel's first axis: `[3, …] → [P, …]`."""
    return jnp.tensordot(jnp.asarray(_G, kernel.dtype), kernel, 1, precision="highest")


def _from_points(sums):
    """Gᵀ: `[P, …] → [3, …]`."""
    return jnp.tensordot(jnp.asarray(_G.T, sums.dtype), sums, 1, precision="highest")


def _combined(matrix, parts) -> list[jax.Array]:
    """Each row's sum of parts, written out: additions and constant factors that fuse."""
    return [
        sum(part * float(weight) for weight, part in zip(row, parts, strict=True) if weight)
        for row in matrix
    ]
