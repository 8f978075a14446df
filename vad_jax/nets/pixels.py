"""Bytes to numbers, by table, and windows to what a network sees and must produce."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.types import InputSpec

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


def sees_and_target(spec: InputSpec, frames: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """What a network that produces a frame is given, and that frame.

    Offsets count from behind the lead: −1 is the last frame in front of the window.

    Args:
      spec: of the windows; it has a target.
      frames: `[B, lead + T, H, W, C]`, as `numbers` takes them.
      dtype: of the results.

    Returns:
      The frames that are seen, stacked frame-major `[B, H, W, N·C]` where N of them are, and the
      target `[B, H, W, C]`.
    """
    assert min(*spec.sees, spec.target) >= -spec.lead, "an offset in front of the lead"
    frames = numbers(frames, spec.range, dtype)
    seen = jnp.concatenate([frames[:, spec.lead + offset] for offset in spec.sees], axis=-1)
    return seen, frames[:, spec.lead + spec.target]
