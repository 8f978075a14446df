"""Batches gathered on the device, where all frames lie as bytes; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from vad_jax.data import rows as kinds
from vad_jax.data.feed import Feed, places
from vad_jax.data.footage import Footage
from vad_jax.types import Batch, InputSpec


def feed(footage: Footage, spec: InputSpec) -> Feed:
    """A feed whose store is all frames, uint8 `[F, H, W, c]`, and all tables, of all videos.

    Grey frames keep a single channel.
    """
    tables = {name: table.values for name, table in footage.tables.items()}
    begins = {
        name: np.cumsum([0, *(len(own) for own in values)])[:-1]
        for name, values in {"frames": footage.videos, **tables}.items()
    }
    store = {name: np.concatenate(values) for name, values in tables.items()}
    store["frames"] = _of_one_width(footage)

    def items(batches: np.ndarray, masks: np.ndarray) -> Iterator[dict]:
        for some, mask in zip(batches, masks, strict=True):
            index = {}
            for name, own in places(spec, footage, some).items():
                begin = begins[name][some[:, 0]].reshape(-1, *[1] * (own.ndim - 1))
                index[name] = (begin + own).astype(np.int32)
            yield {"index": index, "rows": some, "mask": mask}

    def gather(store, item) -> Batch:
        taken = {name: store[name][index] for name, index in item["index"].items()}
        if "frames" in taken:
            frames = taken["frames"]
            taken["frames"] = jnp.broadcast_to(frames, (*frames.shape[:-1], spec.channels))
        return kinds.kind(spec).batch(spec, taken, item["rows"], item["mask"])

    return Feed(store=store, items=items, gather=gather)


def _of_one_width(footage: Footage) -> np.ndarray:
    """The frames of all videos; one after the other is read, so that few files are open."""
    arrays = [video.array for video in footage.videos]
    channels = max(array.shape[-1] for array in arrays)
    frames = np.empty((sum(footage.lengths), *arrays[0].shape[1:-1], channels), np.uint8)
    begin = 0
    for array in arrays:
        frames[begin : begin + len(array)] = array[:]
        begin += len(array)
    return frames
