"""Bytes to numbers, by table."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BYTES = np.arange(256, dtype=np.float32)
_TABLES = {
    (-1.0, 1.0): _BYTES / np.float32(127.5) - np.float32(1),
    (0.0, 1.0): _BYTES / np.float32(255),
}


def numbers(frames: jax.Array, span: tuple[float, float], dtype: Any) -> jax.Array:
    """Turns uint8 frames into numbers; floating frames are taken as normalised already.

    A gather from a table that NumPy made, because under jit XLA replaces the division by a
    multiplication: 205 of 256 grey values then differ from NumPy's (jax 0.10, CPU).

    Args:
      frames: uint8 of any shape, or floating.
      span: what 0 and 255 become: (-1, 1) or (0, 1).
      dtype: of the result, that of the parameters.
    """
    if jnp.issubdtype(frames.dtype, jnp.floating):
        return frames.astype(dtype)
    return jnp.asarray(_TABLES[span])[frames].astype(dtype)
