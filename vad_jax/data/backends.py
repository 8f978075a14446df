"""The two ways to the device: streamed by tf.data, or gathered there from resident frames."""

from __future__ import annotations

from vad_jax.data.feed import Feed
from vad_jax.data.footage import Footage
from vad_jax.types import InputSpec


def open_feed(backend: str, footage: Footage, spec: InputSpec) -> Feed:
    """The feed of a backend, `tf` or `resident`; both give identical batches."""
    if backend == "resident":
        from vad_jax.data import resident as module
    else:
        from vad_jax.data import tf_pipeline as module
    return module.feed(footage, spec)
