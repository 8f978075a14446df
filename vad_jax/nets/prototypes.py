"""Dynamic prototypes: patterns of one image, made from its own feature map, and their losses.

Everything is for one image; `vmap` over a batch. Products of features and prototypes are matrix
products: written by broadcasting each would hold `[N, M, C]` numbers. They run at full precision,
as a softmax over cosines is sensitive.

Letters: N pixels of the map, M prototypes, C channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vad_jax.nets.memory import EPSILON, length, root

_FULL = jax.lax.Precision.HIGHEST
_SMALLEST = 1e-6  # of a sum of similarities that is divided by


def attention(features: jax.Array, weights: jax.Array, *, temperature: float = 1.0) -> jax.Array:
    """How much each pixel gives to each prototype.

    Args:
      features: `[N, C]`, unit length along C.
      weights: `[C, M]` of the linear layer, no bias.
      temperature: that the activations are divided by.

    Returns:
      `[N, M]`; each column sums to one.

    Source: MPN eq. (1), the weights being exponentials: a bare linear layer's sum may vanish.
    """
    return jax.nn.softmax(jnp.matmul(features, weights, precision=_FULL) / temperature, axis=0)


def ensemble(features: jax.Array, weight: jax.Array) -> jax.Array:
    """Prototypes `[M, C]`: means of the features `[N, C]` under the attention `[N, M]`.

    Source: MPN section 3.2.
    """
    return jnp.matmul(weight.T, features, precision=_FULL)


def similarity(features: jax.Array, prototypes: jax.Array) -> jax.Array:
    """Products `[N, M]` of features `[N, C]` and prototypes `[M, C]`."""
    return jnp.matmul(features, prototypes.T, precision=_FULL)


def softmax_matching(similarity: jax.Array, *, temperature: float = 1.0) -> jax.Array:
    """Matching probabilities `[N, M]` of similarities; rows sum to one. Source: published code."""
    return jax.nn.softmax(similarity / temperature, axis=-1)


def ratio_matching(similarity: jax.Array) -> jax.Array:
    """Each similarity as a share of its row's sum, `[N, M]`.

    Sums nearer to zero than 1e-6 are divided as if they were that far, with their sign: behind a
    ReLU all similarities are positive, but an encoder's output has signs.

    Source: MPN eq. (2).
    """
    total = jnp.sum(similarity, axis=-1, keepdims=True)
    guarded = jnp.where(total < 0, jnp.minimum(total, -_SMALLEST), jnp.maximum(total, _SMALLEST))
    return similarity / guarded


def retrieve(match: jax.Array, prototypes: jax.Array) -> jax.Array:
    """Every pixel rebuilt `[N, C]` from prototypes `[M, C]` as its matching `[N, M]` says."""
    return jnp.matmul(match, prototypes, precision=_FULL)


def retrieve_unit(match: jax.Array, prototypes: jax.Array) -> jax.Array:
    """Every pixel rebuilt as `retrieve` does, of length one.

    The lengths come from the products of prototypes with each other: `[N, M]` numbers are divided,
    and the `[N, C]` that the product makes are not read again.

    Source: MPN's published code.
    """
    products = jnp.matmul(prototypes, prototypes.T, precision=_FULL)
    square = jnp.sum(jnp.matmul(match, products, precision=_FULL) * match, axis=-1)
    return retrieve(match / jnp.maximum(root(square), EPSILON)[:, None], prototypes)


def squared_distances(
    features: jax.Array, prototypes: jax.Array, similarity: jax.Array, match: jax.Array
) -> jax.Array:
    """Squared distance `[N]` of each feature to the prototype that matches it best.

    `|x|² + |p|² - 2 x·p`, with the products that are there already: the differences would be
    another `[N, C]` numbers. Ties go to the lower index; the choice has no gradient.

    Args:
      features: `[N, C]`.
      prototypes: `[M, C]`.
      similarity, match: `[N, M]`, of the same two.
    """
    best = jnp.argmax(match, axis=-1)
    chosen = best[:, None] == jnp.arange(match.shape[-1])[None]
    square = jnp.sum(jnp.square(prototypes), axis=-1)[None]
    rest = jnp.sum(jnp.where(chosen, square - 2 * similarity, 0), axis=-1)
    return jnp.maximum(jnp.sum(jnp.square(features), axis=-1) + rest, 0)


def squared_diversity(prototypes: jax.Array) -> jax.Array:
    """Mean over pairs of `max(0, 1 - |p - p'|²)`; 0 for a single prototype.

    Source: MPN's published code.
    """
    square = jnp.sum(jnp.square(_differences(prototypes)), axis=-1)
    return _over_pairs(jax.nn.relu(1 - square))


def diversity(prototypes: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Twice the mean over pairs of `max(0, margin - |p - p'|)`; 0 for a single prototype.

    The printed sum runs over ordered pairs; its diagonal is a constant and left out.

    Source: MPN eq. (8).
    """
    return 2 * _over_pairs(jax.nn.relu(margin - length(_differences(prototypes))))


def pair_distances(prototypes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and smallest distance of the pairs among `[M, C]`, M at least 2."""
    distance = length(_differences(prototypes))
    number = distance.shape[0]
    apart = jnp.where(jnp.eye(number, dtype=bool), jnp.inf, distance)
    return _over_pairs(distance), jnp.min(apart)


def _differences(prototypes):
    return prototypes[:, None] - prototypes[None, :]


def _over_pairs(values):
    """Mean of `[M, M]`, symmetric, over the pairs of different indices; 0 without a pair."""
    number = values.shape[0]
    if number < 2:
        return jnp.zeros((), values.dtype)
    upper = jnp.triu(jnp.ones_like(values), k=1)
    return jnp.sum(values * upper) * 2 / (number * (number - 1))
