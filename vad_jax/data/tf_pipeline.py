"""Batches streamed by tf.data: deterministic, read ahead while the device computes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import numpy as np

from vad_jax.data import rows as kinds
from vad_jax.data.feed import Feed, places
from vad_jax.data.footage import Footage
from vad_jax.types import Batch, InputSpec

log = logging.getLogger(__name__)

_THREADS = 2  # tf.data's threads compete with XLA for the cores


def _tensorflow():
    """TensorFlow, kept away from the accelerators that JAX needs; 5 s and 700 MB, so only here."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # no kernels needed; it prints a page
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except RuntimeError:  # this process has used it before, and it holds them until the end
            log.warning(
                "TensorFlow was used in this process before and keeps a %s, most of its memory "
                "with it, unless it was told to grow. If memory is short, start training in a "
                "process of its own, or give data.backend=resident.", kind,
            )  # fmt: skip
    return tf


def feed(footage: Footage, spec: InputSpec) -> Feed:
    """A feed that reads what rows take from the memory-mapped frames and from the tables."""

    def read(some: np.ndarray) -> list[np.ndarray]:
        index = places(spec, footage, some)
        return [_read(footage, name, some[:, 0], own) for name, own in index.items()]

    def items(batches: np.ndarray, masks: np.ndarray) -> Iterator[dict]:
        if not len(batches):
            return iter(())
        tf = _tensorflow()
        names = list(places(spec, footage, batches[0]))
        types = [tf.as_dtype(_dtype(footage, name)) for name in names]

        def item(some, mask):
            taken = tf.numpy_function(read, [some], types, stateful=False)
            return {"taken": dict(zip(names, taken, strict=True)), "rows": some, "mask": mask}

        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = _THREADS
        pipeline = tf.data.Dataset.from_tensor_slices((batches, masks))
        pipeline = pipeline.map(item, num_parallel_calls=_THREADS, deterministic=True)
        return pipeline.prefetch(4).with_options(options).as_numpy_iterator()

    def gather(store, item) -> Batch:
        return kinds.kind(spec).batch(spec, item["taken"], item["rows"], item["mask"])

    return Feed(store={}, items=items, gather=gather)


def _read(footage: Footage, name: str, videos: np.ndarray, index: np.ndarray) -> np.ndarray:
    pairs = zip(videos, index, strict=True)
    if name == "frames":
        return np.stack([footage.videos[video].read(own) for video, own in pairs])
    return np.stack([footage.tables[name].values[video][own] for video, own in pairs])


def _dtype(footage: Footage, name: str) -> np.dtype:
    return np.dtype(np.uint8) if name == "frames" else footage.tables[name].values[0].dtype
