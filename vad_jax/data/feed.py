"""How batches reach the device, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad_jax.types import Batch


@dataclass(frozen=True)
class Feed:
    """One backend over a list of videos.

    Attributes:
      store: what lies on the device for good; `()` where batches are streamed.
      items: `(rows [N, B, 1 + W], mask [N, B]) → iterator` of what a step is given, in order. The
        position in an epoch is the number of rows left out at the front.
      gather: `(store, item) → Batch`, traced inside the step.
    """

    store: Any
    items: Callable[[np.ndarray, np.ndarray], Iterator[Any]]
    gather: Callable[[Any, Any], Batch]
