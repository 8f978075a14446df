"""TensorFlow beside JAX: it keeps off the accelerators, or what it holds of them is said."""

import numpy as np
import pytest
from support import toys
from support.training import noise

from vad_jax.data import tf_pipeline


@pytest.fixture
def tensorflow(monkeypatch):
    """TensorFlow as it is where it was used before with its GPU visible."""
    import tensorflow as tf

    def refuse(devices, kind):
        if kind == "GPU":
            raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    return tf


def test_batches_come_though_tensorflow_was_used_before(tensorflow, caplog):
    feed = tf_pipeline.feed(noise(1), toys.spec(frames=2, sees=(0, 1), scored=(1,), step=1))
    rows = np.array([[[0, 0], [0, 3]]])
    (item,) = feed.items(rows, np.ones((1, 2), bool))
    assert item["rows"].tolist() == rows[0].tolist()
    (record,) = caplog.records
    assert "TensorFlow was used in this process before and keeps a GPU" in record.getMessage()
    assert "data.backend=resident" in record.getMessage()
