"""Whether a frame's prototypes have become one, as published trainings show, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vad_jax.nets import prototypes
from vad_jax.nets.memory import unit

_ALIKE = 0.99  # mean cosine of the prototypes above which they are one for all that matters


def likeness(seen: Mapping[str, Any]) -> dict[str, jax.Array]:
    """How much one image's prototypes, attentions and rebuilt pixels are alike.

    Args:
      seen: `prototypes` `[M, C]`, `attention` and `match` `[N, M]`, `rebuilt` `[N, C]`.

    Returns:
      Scalars by name; those of pairs where M is at least 2.
    """
    attention, match = seen["attention"], seen["match"]
    (pixels, number), made = attention.shape, unit(seen["prototypes"])
    best = jnp.argmax(match, axis=-1)
    won = jnp.mean(best[:, None] == jnp.arange(number)[None], axis=0)
    spread = jnp.sum(jnp.var(seen["rebuilt"], axis=0))
    found = {
        "attention_peak": pixels * jnp.max(attention),
        "attention_entropy": jnp.mean(jnp.sum(_entropy(attention), axis=0)),
        "match_entropy": jnp.mean(jnp.sum(_entropy(match), axis=-1)),
        "popular": jnp.max(won),
        "rebuilt_spread": jnp.sqrt(spread),
    }
    if number > 1:
        mean, least = prototypes.pair_distances(made)
        # Of unit vectors: cos = 1 - d² / 2, in the mean over pairs.
        square = 2 - 2 * jnp.matmul(made, made.T, precision=jax.lax.Precision.HIGHEST)
        pairs = number * (number - 1)
        found["pair_distance"], found["pair_distance_least"] = mean, least
        found["pair_cosine"] = 1 - jnp.sum(square) / (2 * pairs)
    return found


def remark(parts: Mapping[str, float], *, signed_ratio: bool) -> str | None:
    """Says that the prototypes have become one, and that a matching is guarded.

    Args:
      parts: of the loss, with `likeness`.
      signed_ratio: whether the paper's matching divides by similarities of either sign.
    """
    said = []
    if (cosine := parts.get("pair_cosine", 0.0)) > _ALIKE:
        said.append(
            f"the prototypes are nearly one (mean cosine {cosine:.5f}). So they are published; "
            "attention_scale, temperature.attention, temperature.match or a larger "
            "weights.diverse move them apart."
        )
    if signed_ratio:
        said.append(
            "variant=paper divides by sums of similarities, which at plug=1/8 may vanish: "
            "those nearer to 0 than 1e-6 count as 1e-6, with their sign."
        )
    return " ".join(said) or None


def _entropy(shares):
    """`-p log p` of each share; 0 where there is none."""
    positive = shares > 0
    return -jnp.where(positive, shares * jnp.log(jnp.where(positive, shares, 1)), 0)
