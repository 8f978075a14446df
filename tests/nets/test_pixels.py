"""Bytes to numbers: every grey value exactly NumPy's, jitted or not; what a network gets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.nets.pixels import numbers, sees_and_target
from vad_jax.types import InputSpec

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


def spec(*, lead, sees, target, frames=4):
    size = {"height": 2, "width": 3, "channels": 1, "colour": "grey"}
    return InputSpec(frames=frames, sees=sees, target=target, scored=(0,), lead=lead, **size)


def numbered(spec, rows=2):
    """Floating frames of which each is its number, the window's first being 0."""
    frames = np.arange(-spec.lead, spec.frames, dtype=np.float32)[:, None, None, None]
    return np.broadcast_to(frames, (rows, len(frames), spec.height, spec.width, 1))


@pytest.mark.parametrize("lead", [0, 1, 2])
@pytest.mark.parametrize(("sees", "target"), [((0, 1, 2), 3), ((3, 1), 0), ((0,), 0)])
def test_offsets_count_from_behind_the_lead(lead, sees, target):
    windows = spec(lead=lead, sees=sees, target=target)
    seen, expected = sees_and_target(windows, numbered(windows), jnp.float32)
    assert seen.shape == (2, 2, 3, len(sees))
    np.testing.assert_array_equal(seen[1, 1, 2], np.float32(sees))
    assert expected.shape == (2, 2, 3, 1)
    assert (expected == target).all()


@pytest.mark.parametrize(("lead", "sees"), [(1, (-1, 0)), (2, (-2, -1, 1))])
def test_negative_offsets_are_frames_of_the_lead(lead, sees):
    windows = spec(lead=lead, sees=sees, target=2)
    seen, expected = sees_and_target(windows, numbered(windows), jnp.float32)
    np.testing.assert_array_equal(seen[1, 1, 2], np.float32(sees))
    assert (expected == 2).all()


def test_an_offset_in_front_of_the_lead_is_no_frame_from_the_end():
    windows = spec(lead=1, sees=(-2, 0), target=1)
    with pytest.raises(AssertionError, match="in front of the lead"):
        sees_and_target(windows, numbered(windows), jnp.float32)
