"""Windows on their way to the device: each frame goes once, and each window finds its own."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.windows import FIVE, specs

from vad_jax.data import packing
from vad_jax.data.cutting import Window, WindowCutter
from vad_jax.data.spans import frame_indices, starts
from vad_jax.types import DataError


@given(specs, st.integers(0, 40), st.sets(st.integers(0, 39), max_size=4), st.integers(1, 5))
def test_gathered_batches_hold_the_windows_of_the_video(spec, length, broken, rows):
    cutter, waiting, found = WindowCutter(spec), [], []
    for number in range(length):
        frame = None if number in broken else np.full((1, 1, 1), number, np.uint8)
        waiting += cutter.push(frame)
    waiting += cutter.flush()
    shapes = set()
    while waiting:
        now, waiting = packing.taken(spec, waiting, rows)
        batch = packing.gathered(packing.packed(spec, now, rows))
        shapes.add(batch["frames"].shape)
        assert batch["mask"].sum() == len(now) >= 1
        for row in range(len(now)):
            found.append((int(batch["frame"][row]), batch["frames"][row].ravel().tolist()))
    first = starts(spec, length, broken)
    assert found == [(int(f), frame_indices(spec, f).tolist()) for f in first]
    assert len(shapes) <= 1, "one program for all batches"


def test_windows_that_share_frames_send_them_once():
    windows = [Window(first, [np.zeros((1, 1, 1), np.uint8)] * 5) for first in range(16)]
    assert packing.packed(FIVE, windows, 16)["chunk"].shape == (20, 1, 1, 1), "not 80"


def test_an_empty_batch_has_the_shapes_of_a_full_one_and_no_row():
    full = packing.packed(FIVE, [Window(0, [np.ones((1, 1, 1), np.uint8)] * 5)], 3)
    empty = packing.packed(FIVE, [], 3)
    assert {n: (v.shape, v.dtype) for n, v in full.items()} == {
        n: (v.shape, v.dtype) for n, v in empty.items()
    }
    assert full["mask"].tolist() == [True, False, False]
    assert not empty["mask"].any()


def test_what_was_not_packed_stays_as_it_is():
    batch = {"frames": np.zeros((1, 5, 1, 1, 1)), "mask": np.ones(1, bool)}
    assert packing.gathered(batch) is batch


def test_a_frame_of_another_size_is_named():
    spec = dataclasses.replace(FIVE, frames=1, height=2, width=2)
    with pytest.raises(
        DataError, match=r"A frame is \[2, 2, 1\] \[H, W, C\]; this one \(3, 2, 1\)"
    ):
        packing.packed(spec, [Window(0, [np.zeros((3, 2, 1), np.uint8)])], 1)
