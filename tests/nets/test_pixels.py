"""Bytes to numbers: every grey value exactly NumPy's, jitted or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.nets.pixels import numbers

BYTES = np.arange(256, dtype=np.uint8)
EXPECTED = {
    (-1.0, 1.0): BYTES.astype(np.float32) / np.float32(127.5) - np.float32(1),
    (0.0, 1.0): BYTES.astype(np.float32) / np.float32(255),
}


@pytest.mark.parametrize("span", EXPECTED)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_every_byte_is_numpys_number_bit_for_bit(span, wrap):
    found = wrap(lambda frames: numbers(frames, span, jnp.float32))(BYTES.reshape(4, 64))
    np.testing.assert_array_equal(found, EXPECTED[span].reshape(4, 64))


def test_the_ends_are_the_span():
    for span in EXPECTED:
        assert tuple(np.asarray(numbers(BYTES, span, jnp.float32))[[0, 255]]) == span


def test_floating_frames_are_taken_as_normalised():
    frames = np.linspace(-3, 3, 7, dtype=np.float32)
    np.testing.assert_array_equal(numbers(frames, (-1.0, 1.0), jnp.float32), frames)


def test_the_dtype_is_that_of_the_parameters():
    assert numbers(BYTES, (-1.0, 1.0), jnp.bfloat16).dtype == jnp.bfloat16
    assert numbers(BYTES.astype(np.float32), (0.0, 1.0), jnp.bfloat16).dtype == jnp.bfloat16
