"""A memory of normal patterns: read, updated, and the two losses that shape the queries.

Everything is for one set of queries; `vmap` over images or over streams that run side by side.
Products run at full precision: the tensors are tiny and a softmax over cosines is sensitive.

Letters: N queries, M items, C channels.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

_FULL = jax.lax.Precision.HIGHEST
EPSILON = 1e-12  # smallest length that is divided by, as PyTorch's `normalize`


def length(x: jax.Array) -> jax.Array:
    """The length along the last axis, with gradient 0 where it is 0."""
    return root(jnp.sum(jnp.square(x), axis=-1))


def root(square: jax.Array) -> jax.Array:
    """The square root, with gradient 0 where it is 0."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def unit(x: jax.Array) -> jax.Array:
    """Vectors of length one along the last axis; lengths under 1e-12 are divided by 1e-12."""
    return x / jnp.maximum(length(x), EPSILON)[..., None]


def initial_items(key: jax.Array, items: int, channels: int) -> jax.Array:
    """Items `[M, C]` of unit length in the positive orthant, as the published code starts."""
    return unit(jax.random.uniform(key, (items, channels)))


def matching(queries: jax.Array, items: jax.Array) -> jax.Array:
    """Matching probabilities `[N, M]` of queries `[N, C]` with items `[M, C]`; rows sum to one.

    Source: MNAD eq. (1), without temperature.
    """
    return jax.nn.softmax(jnp.matmul(queries, items.T, precision=_FULL), axis=-1)


def read(queries: jax.Array, items: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Answers every query with the mixture of items that matches it.

    Args:
      queries: `[N, C]`, unit length along C.
      items: `[M, C]`, unit length along C.

    Returns:
      Answers `[N, C]`, and the matching probabilities `[N, M]`.

    Source: MNAD eqs. (1), (2). One image: `vmap` with `in_axes=(0, None)` for a batch.
    """
    match = matching(queries, items)
    return jnp.matmul(match, items, precision=_FULL), match


def update(
    queries: jax.Array,
    items: jax.Array,
    counts: jax.Array,
    *,
    peak: Literal["all", "own"] = "all",
) -> jax.Array:
    """Moves each item towards the queries that are nearest to it.

    Args:
      queries: `[N, C]`, unit length.
      items: `[M, C]`, unit length.
      counts: bool `[N]`; a query that does not count changes nothing.
      peak: an item's weights are relative to its best query among `all` (published code) or among
        its `own` (paper).

    Returns:
      Items `[M, C]` of unit length, without gradient; unchanged if no query counts.

    Source: MNAD eqs. (3) to (5). Softmax over the queries cancels in the ratio, what is left is
    `exp(s - max s)`, with s the cosine.
    """
    queries, items = jax.lax.stop_gradient((queries, items))
    cosine = jnp.matmul(queries, items.T, precision=_FULL)  # [N, M]
    number = items.shape[0]
    nearest = jnp.argmax(cosine, axis=-1)
    own = (nearest[:, None] == jnp.arange(number)[None]) & counts[:, None]
    competing = own if peak == "own" else jnp.broadcast_to(counts[:, None], own.shape)
    best = jnp.max(cosine, axis=0, initial=-1.0, where=competing)  # no cosine is below -1
    weight = jnp.where(own, jnp.exp(cosine - best[None]), 0)
    moved = unit(items + jnp.matmul(weight.T, queries, precision=_FULL))
    return jnp.where(jnp.any(counts), moved, items)


def two_nearest(match: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Indices `[N]` of the best and of the second best item of each query; ties to the lower."""
    _, index = jax.lax.top_k(match, 2)
    return index[:, 0], index[:, 1]


def compactness(queries: jax.Array, items: jax.Array, nearest: jax.Array) -> jax.Array:
    """Mean squared difference of queries `[N, C]` to their nearest items, over all N·C values.

    Source: MNAD's published code; it is also the code's feature distance D.
    """
    return jnp.mean(jnp.square(queries - items[nearest]))


def separateness(
    queries: jax.Array, items: jax.Array, nearest: jax.Array, second: jax.Array, margin: float
) -> jax.Array:
    """Mean hinge that wants the second item farther than the nearest by the margin.

    1e-6 is added to every component before the length is taken, as PyTorch's triplet loss does.

    Source: MNAD's published code.
    """
    near = length(queries - items[nearest] + 1e-6)
    far = length(queries - items[second] + 1e-6)
    return jnp.mean(jax.nn.relu(near - far + margin))


def distances(queries: jax.Array, items: jax.Array, index: jax.Array) -> jax.Array:
    """Distance `[N]` of each query to the item with its index, as the paper's equations use it."""
    return length(queries - items[index])
