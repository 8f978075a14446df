"""A 3x3 convolution at stride 2 that doubles height and width in its spread, by phases.

The spread is `x[2i + k - 1] += y[i] · kernel[k]` on both axes, as the transposed convolutions of
the U-Nets have it. The pixel (2i + a, 2j + b) depends on y[i .. i+a, j .. j+b] alone, by 1, 2, 2 or
4 of the nine taps.

Letters: B batch, H W image that is doubled, I channels in, O channels out.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from vad_jax.nets import winograd
from vad_jax.nets.winograd import rows


def spread(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """The transposed convolution `[B, H, W, O], [3, 3, I, O] → [B, 2H, 2W, I]`."""
    batch, height, width, _ = y.shape
    padded = jnp.pad(y, ((0, 0), (0, 1), (0, 1), (0, 0)))
    right, below, across = padded[:, :-1, 1:], padded[:, 1:, :-1], padded[:, 1:, 1:]

    def tap(shifted, row, column):
        return jnp.einsum("bhwo,io->bhwi", shifted, kernel[row, column])

    even_even = tap(y, 1, 1)
    even_odd = tap(y, 1, 2) + tap(right, 1, 0)
    odd_even = tap(y, 2, 1) + tap(below, 0, 1)
    odd_odd = tap(y, 2, 2) + tap(right, 2, 0) + tap(below, 0, 2) + tap(across, 0, 0)
    even_rows = jnp.stack([even_even, even_odd], axis=3)  # [B, H, W, 2, I]
    odd_rows = jnp.stack([odd_even, odd_odd], axis=3)
    return jnp.stack([even_rows, odd_rows], axis=2).reshape(batch, 2 * height, 2 * width, -1)


def taps(x: jax.Array, y: jax.Array) -> jax.Array:
    """The adjoint in the kernel: `[B, 2H, 2W, I], [B, H, W, O] → [3, 3, I, O]`."""
    batch, height, width, outputs = y.shape
    inputs = x.shape[-1]
    x = x.reshape(batch, height, 2, width, 2, inputs)
    number = min(height, max(1, round(1024 / (batch * width))))

    def block(sums, index):
        first = index * number
        phases = rows(x, first, number)
        here = rows(y, first, number + 1)
        shift = {
            (a, b): _shifted(here, number, a, b).reshape(-1, outputs)
            for a in (0, 1)
            for b in (0, 1)
        }
        phase = {(a, b): phases[:, :, a, :, b].reshape(-1, inputs) for a in (0, 1) for b in (0, 1)}
        products = {
            s: _summed(jnp.concatenate([phase[p] for p in met], axis=1), shift[s])
            for s, met in _MET.items()
        }
        return {s: sums[s] + products[s] for s in _MET}, None

    empty = {s: jnp.zeros((len(met) * inputs, outputs), x.dtype) for s, met in _MET.items()}
    sums, _ = lax.scan(block, empty, jnp.arange(-(-height // number)))
    nine = {}
    for (a, b), met in _MET.items():
        parts = sums[a, b].reshape(len(met), inputs, outputs)
        nine |= {
            (p - 2 * a + 1, q - 2 * b + 1): part for (p, q), part in zip(met, parts, strict=True)
        }
    return jnp.stack([jnp.stack([nine[i, j] for j in range(3)]) for i in range(3)])


# Shift of y by (a, b) → the phases of x that it meets.
_MET = {
    (0, 0): ((0, 0), (0, 1), (1, 0), (1, 1)),
    (0, 1): ((0, 1), (1, 1)),
    (1, 0): ((1, 0), (1, 1)),
    (1, 1): ((1, 1),),
}


def _summed(a, b):
    """`[N, m], [N, n] → [m, n]`; the smaller of m and n first is up to twice as fast."""
    if a.shape[1] > b.shape[1]:
        return _summed(b, a).T
    return winograd.summed_products(a[None], b[None])[0]


def _shifted(here, number, a, b):
    """Rows a … of a block, moved left by b; zeros come in."""
    block = here[:, a : a + number]
    return jnp.pad(block, ((0, 0), (0, 0), (0, b), (0, 0)))[:, :, b:]
