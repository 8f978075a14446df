"""Batches streamed by tf.data: deterministic, read ahead while the device computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from vad_jax.data import windows
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
    length = len(windows.offsets(spec))

    def read(rows):
        index = windows.frame_indices(spec, rows[:, 1])
        clips = [videos[video].read(i) for video, i in zip(rows[:, 0], index, strict=True)]
        return np.stack(clips)

    def items(rows: np.ndarray, mask: np.ndarray) -> Iterator[Batch]:
        tf = _tensorflow()

        def batch(rows, mask):
            frames = tf.numpy_function(read, [rows], tf.uint8, stateful=False)
            shape = (mask.shape[0], length, spec.height, spec.width, spec.channels)
            frames.set_shape(shape)
            return {"frames": frames, "mask": mask, "video": rows[:, 0], "frame": rows[:, 1]}

        options = tf.data.Options()
        options.deterministic = True
        options.threading.private_threadpool_size = _THREADS
        pipeline = tf.data.Dataset.from_tensor_slices((rows, mask))
        pipeline = pipeline.map(batch, num_parallel_calls=_THREADS, deterministic=True)
        return pipeline.prefetch(4).with_options(options).as_numpy_iterator()

    return Feed(store=(), items=items, gather=lambda store, item: item)
