"""Windows and batches as pure functions."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.footage import lengths_alone

from vad_jax.data import spans, windows
from vad_jax.types import InputSpec

FIVE = InputSpec(
    frames=5,
    sees=(0, 1, 2, 3),
    target=4,
    scored=(4,),
    height=8,
    width=8,
    channels=1,
    colour="grey",
)


def spec(**changes):
    return dataclasses.replace(FIVE, **changes)


specs = st.builds(
    spec,
    frames=st.integers(1, 6),
    stride=st.integers(1, 3),
    step=st.integers(1, 5),
    lead=st.integers(0, 2),
    tail=st.sampled_from(["drop", "align"]),
)


def test_ped2_has_the_published_number_of_windows_and_steps():
    lengths = [120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150]
    rows, mask = windows.batches(FIVE, lengths_alone(lengths), batch_size=4, seed=0, epoch=0)
    assert len(windows.rows(FIVE, lengths)) == 2486
    assert len(rows) == 621
    assert mask.all()
    single = spec(frames=1)
    assert (
        len(windows.batches(single, lengths_alone(lengths), batch_size=4, seed=0, epoch=0)[0])
        == 637
    )


def test_an_epoch_is_a_pure_function_of_seed_and_epoch():
    def order(seed, epoch):
        return windows.batches(FIVE, lengths_alone([50]), batch_size=2, seed=seed, epoch=epoch)[0]

    np.testing.assert_array_equal(order(0, 3), order(0, 3))
    assert not np.array_equal(order(0, 3), order(0, 4))
    assert not np.array_equal(order(0, 3), order(1, 3))


def test_shuffling_uses_each_window_at_most_once():
    rows, _ = windows.batches(FIVE, lengths_alone([30, 21]), batch_size=4, seed=0, epoch=0)
    flat = [tuple(row) for row in rows.reshape(-1, 2)]
    assert len(set(flat)) == len(flat) == (26 + 17) // 4 * 4


def test_a_set_smaller_than_a_batch_is_padded_not_dropped():
    rows, mask = windows.batches(FIVE, lengths_alone([6]), batch_size=4, seed=0, epoch=0)
    assert rows.shape == (1, 4, 2)
    assert mask.tolist() == [[True, True, False, False]]


def test_in_order_pads_the_last_batch():
    rows, mask = windows.in_order(FIVE, lengths_alone([7, 6]), batch_size=4)
    np.testing.assert_array_equal(rows[mask], [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]])
    assert rows.shape == (2, 4, 2)


def test_a_video_shorter_than_a_window_gives_none():
    assert len(spans.starts(FIVE, 4)) == 0
    assert len(windows.in_order(FIVE, lengths_alone([4]), batch_size=2)[0]) == 0


def test_a_broken_frame_breaks_the_windows_over_it():
    np.testing.assert_array_equal(spans.starts(FIVE, 12, broken=(5,)), [0, 6, 7])


def test_the_lead_is_clipped_to_the_first_frame():
    led = spec(frames=2, sees=(0, 1), target=None, scored=(0, 1), lead=1)
    np.testing.assert_array_equal(
        spans.frame_indices(led, np.array([0, 3])), [[0, 0, 1], [2, 3, 4]]
    )


def test_a_last_window_is_aligned_with_the_end():
    np.testing.assert_array_equal(spans.starts(spec(step=4, tail="align"), 11), [0, 4, 6])
    np.testing.assert_array_equal(spans.starts(spec(step=4, tail="drop"), 11), [0, 4])


@given(specs, st.integers(1, 40))
def test_every_window_lies_inside_its_video(spec, length):
    index = spans.frame_indices(spec, spans.starts(spec, length))
    assert ((index >= 0) & (index < length)).all()


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_in_order_gives_every_window_once(batch_size):
    rows, mask = windows.in_order(FIVE, lengths_alone([9, 3, 14]), batch_size=batch_size)
    np.testing.assert_array_equal(rows[mask], windows.rows(FIVE, [9, 3, 14]))
