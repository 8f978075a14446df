"""Rows that are one window each: which of them make a batch, and what the batch holds.

A row is int32 `[2]`: its video and the window's first frame. Letters as in `rows` and `spans`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from vad_jax.data import packing
from vad_jax.data.cutting import WindowCutter
from vad_jax.data.footage import Footage
from vad_jax.data.rows import Rows, pack, rounds, whole_batches
from vad_jax.data.spans import frame_indices, segments_of, starts
from vad_jax.types import Batch, ConfigError, InputSpec


def rows(
    spec: InputSpec, lengths: Sequence[int], broken: Sequence[Collection[int]] | None = None
) -> np.ndarray:
    """Every window of every video in order: int32 `[M, 2]`, video and first frame."""
    broken = broken or [()] * len(lengths)
    every = [np.empty((0, 2), np.int32)]
    for video, (length, gaps) in enumerate(zip(lengths, broken, strict=True)):
        first = starts(spec, length, gaps)
        every.append(np.stack([np.full_like(first, video), first], axis=1))
    return np.concatenate(every)


def batches(
    spec: InputSpec, footage: Footage, *, batch_size: int, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """One epoch of training windows in the spec's order.

    Without segments every window, in an order of its own each epoch; what does not fill a last
    batch is left to the other epochs, unless there is not even one batch. With segments a batch is
    of one video, from as many different ones of its segments, at one offset in each; each video
    has its turn as often as makes an epoch as long.

    Returns:
      rows int32 `[N, B, 2]` and mask bool `[N, B]`.

    Raises:
      ConfigError: a batch of more windows than there are segments.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    if spec.segments:
        return _batches_of_one_video(spec, footage, batch_size, rng)
    every = rows(spec, footage.lengths, footage.broken)
    return whole_batches(every[rng.permutation(len(every))], batch_size)


def _batches_of_one_video(spec, footage, batch_size, rng):
    if batch_size > spec.segments:
        raise ConfigError(
            f"batch_size = {batch_size}: with windows of one video from different segments it is "
            f"{spec.segments} at most."
        )
    firsts = [starts(spec, *video) for video in zip(footage.lengths, footage.broken, strict=True)]
    able = [i for i, first in enumerate(firsts) if len(first) >= spec.segments]
    made = []
    for _ in range(rounds(sum(len(firsts[i]) for i in able), batch_size * len(able))):
        for video in rng.permutation(able):
            segments = segments_of(firsts[video], spec.segments)
            chosen = rng.choice(spec.segments, batch_size, replace=False)
            first = segments[chosen, rng.integers(segments.shape[1])]
            made.append(np.stack([np.full_like(first, video), first], axis=1))
    shape = (len(made), batch_size)
    return np.array(made, np.int32).reshape(*shape, 2), np.ones(shape, bool)


def in_order(
    spec: InputSpec, footage: Footage, *, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every window once, in order: rows `[N, B, 2]`, mask `[N, B]`; the last batch is padded."""
    return pack(rows(spec, footage.lengths, footage.broken), batch_size)


def fits(spec: InputSpec, footage: Footage, video: int) -> bool:
    """Whether a video has a window; with segments one in each of them."""
    number = len(starts(spec, footage.lengths[video], footage.broken[video]))
    return number >= max(spec.segments, 1)


def need(spec: InputSpec) -> str:
    """What a video must have for a row, in words."""
    if spec.segments:
        return f"{spec.segments} windows of {spec.span} whole frames, one for each segment"
    return f"a window of {spec.span} whole frames"


def indices(spec: InputSpec, footage: Footage, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The frames of rows `[B, 2]`: `[B, L]`."""
    return {"frames": frame_indices(spec, rows[:, 1])}


def batch(spec: InputSpec, taken: dict[str, Any], rows: Any, mask: Any) -> Batch:
    """`frames` `[B, L, H, W, C]`, `mask`, `video` and `frame`, the window's first, `[B]`."""
    return {"frames": taken["frames"], "mask": mask, "video": rows[:, 0], "frame": rows[:, 1]}


ROWS = Rows(
    batches=batches,
    in_order=in_order,
    fits=fits,
    need=need,
    indices=indices,
    batch=batch,
    cutter=WindowCutter,
    taken=packing.taken,
    packed=packing.packed,
    gathered=packing.gathered,
)
