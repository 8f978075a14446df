"""Batches gathered on the device, where all frames lie as bytes; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from vad_jax.data import rows
from vad_jax.data.feed import Feed
from vad_jax.data.frames import Frames
from vad_jax.types import Batch, InputSpec


def feed(videos: Sequence[Frames], spec: InputSpec) -> Feed:
    """A feed whose store is all frames, uint8 `[F, H, W, c]`; grey ones keep a single channel."""
    begins = np.cumsum([0, *(len(video) for video in videos)])[:-1]
    channels = max(video.array.shape[-1] for video in videos)
    store = np.concatenate([_widened(video.array, channels) for video in videos])

    def items(batches: np.ndarray, masks: np.ndarray) -> Iterator[dict]:
        for some, mask in zip(batches, masks, strict=True):
            index = begins[some[:, 0], None, None] + rows.frame_indices(spec, some)
            yield {"index": index.astype(np.int32), "rows": some, "mask": mask}

    def gather(store, item) -> Batch:
        frames = store[item["index"]]
        frames = jnp.broadcast_to(frames, (*frames.shape[:-1], spec.channels))
        return rows.batch(spec, frames, item["rows"], item["mask"])

    return Feed(store=store, items=items, gather=gather)


def _widened(array: np.ndarray, channels: int) -> np.ndarray:
    return np.broadcast_to(array, (*array.shape[:-1], channels))
