"""How batches reach the device, whatever the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad_jax.data import rows
from vad_jax.data.footage import Footage
from vad_jax.types import Batch, InputSpec


@dataclass(frozen=True)
class Feed:
    """One backend over some footage.

    Attributes:
      store: what lies on the device for good: `frames` and tables by name; empty where all is
        streamed.
      items: `(rows [N, B, R], mask [N, B]) → iterator` of what a step is given, in order. The
        position in an epoch is the number of rows left out at the front.
      gather: `(store, item) → Batch`, traced inside the step.
    """

    store: dict[str, Any]
    items: Callable[[np.ndarray, np.ndarray], Iterator[dict[str, Any]]]
    gather: Callable[[dict[str, Any], dict[str, Any]], Batch]


def places(spec: InputSpec, footage: Footage, some: np.ndarray) -> dict[str, np.ndarray]:
    """What rows `[B, R]` take, `frames` and tables by name: `[B, …]`, counted in each row's video.

    Raises:
      IndexError: a kind of row that reaches beyond its video: the backends would differ there.
    """
    found = rows.kind(spec).indices(spec, footage, some)
    for name, index in found.items():
        values = footage.videos if name == "frames" else footage.tables[name].values
        lengths = np.array([len(values[video]) for video in some[:, 0]])
        wrong = (index < 0) | (index >= lengths.reshape(-1, *[1] * (index.ndim - 1)))
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            raise IndexError(
                f"Row {some[row].tolist()} takes {name} {index[row].ravel().tolist()} of "
                f"{lengths[row]}."
            )
    return found
