"""A kind of row: which rows footage has, what each takes of it, and the batch that this makes.

Windows and episodes are two kinds. Another is one file with a record `ROWS` and a record for
`InputSpec.row` that names it: nothing here knows which kinds there are. Letters: N batches, B rows
of a batch, R int32 numbers that say a row: its video, its first frame, and what else its kind
needs to find it again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vad_jax.types import Batch, InputSpec


class Rows(NamedTuple):
    """The functions of one kind of row. All are pure; none opens a file.

    Attributes:
      batches: `(spec, footage, *, batch_size, seed, epoch) → (rows int32 [N, B, R], mask bool
        [N, B])`: one epoch of training.
      in_order: `(spec, footage, *, batch_size) → (rows, mask)`: those that a loss is measured on,
        the same each time; the last batch is padded.
      fits: `(spec, footage, video) → bool`: whether the video of that number has a row.
      need: `(spec) → str`: what a video must have for that, in words.
      indices: `(spec, footage, rows [B, R]) → {"frames": …, TABLE: …}`: what each row takes:
        positions in its video, and in its video's part of a table, int of any shape `[B, …]`.
      batch: `(spec, taken, rows, mask) → Batch`: traced inside the step. `taken` has the keys of
        `indices` with what lies there, frames `[B, …, H, W, C]`, entries of a table `[B, …]` + the
        shape of an entry.
      cutter: `(spec) → object` that makes the same rows from a stream (`data/cutting.py`); None
        where rows come from whole videos alone, like the three that follow.
      taken: `(spec, waiting, rows) → (now, waiting)`: what a cutter made, a batch's worth of it.
      packed: `(spec, now, rows) → batch` for the device, padded to `rows`.
      gathered: `(batch) → Batch`: traced; the batch as methods know it.
    """

    batches: Callable[..., tuple[np.ndarray, np.ndarray]]
    in_order: Callable[..., tuple[np.ndarray, np.ndarray]]
    fits: Callable[..., bool]
    need: Callable[..., str]
    indices: Callable[..., dict[str, np.ndarray]]
    batch: Callable[..., dict[str, Any]]
    cutter: Callable[[InputSpec], Any] | None = None
    taken: Callable[..., tuple[list, list]] | None = None
    packed: Callable[..., Batch] | None = None
    gathered: Callable[[Batch], Batch] | None = None


def kind(spec: InputSpec) -> Rows:
    """The functions of a spec's rows: of the module that its `row` names, else of windows."""
    name = "vad_jax.data.windows" if spec.row is None else type(spec.row).rows
    return importlib.import_module(name).ROWS


def rounds(number: int, taken: int) -> int:
    """How often rows that take so many windows at a time are drawn for about all to be seen."""
    return max(1, round(number / taken)) if taken else 0


def whole_batches(every: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[M, R]` as batches; those that do not fill the last are left out.

    They are left to other epochs. Unless there is not even one batch: then it is padded.
    """
    if len(every) >= batch_size:
        every = every[: len(every) // batch_size * batch_size]
    return pack(every, batch_size)


def pack(every: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[M, R]` as batches `[N, B, R]`, the last one padded with the first row, and masks."""
    number = -(-len(every) // batch_size)
    padding = number * batch_size - len(every)
    mask = np.arange(number * batch_size) < len(every)
    padded = np.concatenate([every, np.repeat(every[:1], padding, axis=0)])
    return padded.reshape(number, batch_size, *every.shape[1:]), mask.reshape(number, batch_size)
