"""How batches reach the device: streamed by tf.data, or gathered there from resident frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.types import Batch, InputSpec


@dataclass(frozen=True)
class Feed:
    """One backend over a list of videos.

    Attributes:
      store: what lies on the device for good; `()` where batches are streamed.
      items: `(rows [N, B, 2], mask [N, B]) → iterator` of what a step is given, in order. The
        position in an epoch is the number of rows left out at the front.
      gather: `(store, item) → Batch`, traced inside the step.
    """

    store: Any
    items: Callable[[np.ndarray, np.ndarray], Iterator[Any]]
    gather: Callable[[Any, Any], Batch]


def open_feed(backend: str, videos: Sequence[Frames], spec: InputSpec) -> Feed:
    """The feed of a backend, `tf` or `resident`; both give identical batches."""
    if backend == "resident":
        from vad_jax.data import resident as module
    else:
        from vad_jax.data import tf_pipeline as module
    return module.feed(videos, spec)
