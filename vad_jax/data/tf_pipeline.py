"""Batches streamed by tf.data: deterministic, read ahead while the device computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from vad_jax.data import rows
from vad_jax.data.feed import Feed
from vad_jax.data.frames import Frames
from vad_jax.types import Batch, InputSpec

_THREADS = 2  # tf.data's threads compete with XLA for the cores


def _tensorflow():
    """TensorFlow, kept away from the accelerators that JAX needs; 5 s and 700 MB, so only here."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # no kernels needed; it prints a page
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    return tf


def feed(videos: Sequence[Frames], spec: InputSpec) -> Feed:
    """A feed that reads windows from the memory-mapped frames."""

    def read(some):
        index = rows.frame_indices(spec, some)
        clips = [videos[video].read(i) for video, i in zip(some[:, 0], index, strict=True)]
        return np.stack(clips)

    def items(batches: np.ndarray, masks: np.ndarray) -> Iterator[dict]:
        tf = _tensorflow()

        def item(some, mask):
            frames = tf.numpy_function(read, [some], tf.uint8, stateful=False)
            return {"frames": frames, "rows": some, "mask": mask}

        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = _THREADS
        pipeline = tf.data.Dataset.from_tensor_slices((batches, masks))
        pipeline = pipeline.map(item, num_parallel_calls=_THREADS, deterministic=True)
        return pipeline.prefetch(4).with_options(options).as_numpy_iterator()

    def gather(store, item) -> Batch:
        return rows.batch(spec, item["frames"], item["rows"], item["mask"])

    return Feed(store=(), items=items, gather=gather)
