"""Windows cut from a stream are those of the whole video, and it is known which may still come."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.windows import FIVE, specs

from vad_jax.data.cutting import NEVER, WindowCutter
from vad_jax.data.rows import kind
from vad_jax.data.spans import frame_indices, starts
from vad_jax.types import EpisodeSpec

lost = st.sets(st.integers(0, 39), max_size=5)


def frame(number):
    return np.full((1, 1, 1), number, np.uint8)


@given(specs, st.integers(0, 40), lost)
def test_a_stream_cuts_the_windows_that_starts_names(spec, length, broken):
    cutter = WindowCutter(spec)
    cut = [w for i in range(length) for w in cutter.push(None if i in broken else frame(i))]
    cut += cutter.flush()
    assert cutter.seen == length
    assert [window.first for window in cut] == starts(spec, length, broken).tolist()
    for window in cut:
        expected = frame_indices(spec, np.int32(window.first))
        np.testing.assert_array_equal(np.stack(window.frames)[:, 0, 0, 0], expected)


@given(specs, st.integers(0, 40), lost)
def test_no_later_window_begins_before_the_horizon(spec, length, broken):
    cutter, horizons = WindowCutter(spec), []
    for number in range(length):
        horizons.append(cutter.horizon)
        for window in cutter.push(None if number in broken else frame(number)):
            assert window.first >= max(horizons)
    horizons.append(cutter.horizon)
    for window in cutter.flush():
        assert window.first >= max(horizons)
    assert horizons == sorted(horizons)
    assert cutter.horizon == NEVER > length


@given(specs, st.integers(0, 30), lost)
def test_a_stream_can_go_on_so_that_a_window_begins_at_the_horizon(spec, length, broken):
    cutter = WindowCutter(spec)
    for number in range(length):
        cutter.push(None if number in broken else frame(number))
    horizon, later = cutter.horizon, []
    for number in range(length, horizon + spec.span):
        later += cutter.push(frame(number))
    later += cutter.flush()
    assert [window.first for window in later][:1] == [horizon]


def test_the_flush_may_reach_back_to_a_window_that_is_no_regular_one():
    spec = dataclasses.replace(FIVE, step=4)
    for tail, horizon in (("drop", 4), ("align", 2)):
        cutter = WindowCutter(dataclasses.replace(spec, tail=tail))
        for number in range(7):
            cutter.push(frame(number))
        assert cutter.horizon == horizon
    assert [window.first for window in cutter.flush()] == [2]


@pytest.mark.parametrize("length", [0, 4])
def test_a_stream_shorter_than_a_window_gives_none(length):
    cutter = WindowCutter(FIVE)
    assert not [w for i in range(length) for w in cutter.push(frame(i))] + cutter.flush()


def test_windows_are_cut_from_streams_and_episodes_are_not():
    assert isinstance(kind(FIVE).cutter(FIVE), WindowCutter)
    episodes = dataclasses.replace(FIVE, row=EpisodeSpec(1, 1))
    assert kind(episodes).cutter is None
