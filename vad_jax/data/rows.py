"""Rows of every kind: which there are, in what order, and the batch that their frames make.

A row is int32 `[1 + W]`: its video and the first frames of its W windows, -1 for one that is not
there. A window is a row with W = 1, an episode has K + Q. Letters as in `windows`.
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from vad_jax.data import episodes, windows
from vad_jax.types import SEGMENTS, Batch, InputSpec


def kind(spec: InputSpec) -> ModuleType:
    """The module whose `batches` and `in_order` make the rows of a spec."""
    return windows if spec.episode is None else episodes


def fits(spec: InputSpec, length: int, broken: Collection[int] = ()) -> bool:
    """Whether a video of so many frames has a row."""
    if spec.episode is not None:
        return episodes.fits(spec, length, broken)
    number = len(windows.starts(spec, length, broken))
    return number >= (SEGMENTS if spec.order == "video_batch" else 1)


def need(spec: InputSpec) -> str:
    """What a video must have for a row, in words."""
    if spec.episode is None and spec.order == "shuffled":
        return f"a window of {spec.span} whole frames"
    if spec.episode is None:
        return f"{SEGMENTS} windows of {spec.span} whole frames (sampling video_batch)"
    if spec.episode.draw == "published":
        number = SEGMENTS * (spec.episode.support + spec.episode.query)
        return f"{number} windows of {spec.span} whole frames (episodes published)"
    return f"two windows of {spec.span} whole frames that share none"


def frame_indices(spec: InputSpec, rows: np.ndarray) -> np.ndarray:
    """The frames of each window of rows `[B, 1 + W]`: `[B, W, L]`."""
    return windows.frame_indices(spec, rows[:, 1:])


def batch(spec: InputSpec, frames: Any, rows: Any, mask: Any) -> Batch:
    """The batch of rows; traced inside the step.

    Args:
      spec: what a row is.
      frames: `[B, W, L, H, W, C]`, those of `frame_indices`.
      rows: int32 `[B, 1 + W]`.
      mask: bool `[B]`.
    """
    named = {"mask": mask, "video": rows[:, 0], "frame": rows[:, 1]}
    if spec.episode is None:
        return {"frames": frames[:, 0], **named}
    support = spec.episode.support
    there = jnp.logical_and(rows[:, 1:] >= 0, mask[:, None])
    return {
        "support": frames[:, :support],
        "query": frames[:, support:],
        "support_mask": there[:, :support],
        "query_mask": there[:, support:],
        **named,
    }
