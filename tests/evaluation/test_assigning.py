"""Rows to frames, where rows share them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.evaluation import frame_parts, fuse
from vad_jax.types import ConfigError, DataError, Fusion, VideoScores

NAN = np.nan


def by(how):
    return Fusion(paper=(("assign", how),), online=(("assign", how),), default="a")


def rows(first, part, *, scored=None, stride=1, length):
    """Rows that begin at `first` and score the offsets `scored`, all by default."""
    first, part = np.asarray(first), np.asarray(part, np.float64)
    offsets = np.arange(part.shape[1]) if scored is None else np.asarray(scored)
    frame = first[:, None] + stride * offsets
    return VideoScores("01", length, first, frame, {"a": part})


def assigned(how, *arguments, **options):
    given_rows = rows(*arguments, **options)
    found = fuse(by(how), given_rows, None, "online")
    np.testing.assert_array_equal(frame_parts(by(how), given_rows)["a"], found)
    return found


def test_prediction_scores_the_target_of_each_window():
    found = assigned("mean", [0, 1, 2], [[5.0], [6.0], [7.0]], scored=[4], length=7)
    np.testing.assert_array_equal(found, [NAN, NAN, NAN, NAN, 5, 6, 7])


def test_mean_of_the_windows_that_share_a_frame_steps_over_nan():
    found = assigned("mean", [0, 1], [[1.0, 2.0, 3.0], [4.0, NAN, 6.0]], length=5)
    np.testing.assert_array_equal(found, [1, 3, 3, 6, NAN])


def test_stride_spreads_a_window():
    found = assigned("mean", [1], [[1.0, 2.0]], scored=[0, 2], stride=3, length=8)
    np.testing.assert_array_equal(found, [NAN, 1, NAN, NAN, NAN, NAN, NAN, 2])


def test_ninth_frame_takes_the_mean_of_its_window():
    found = assigned("ninth", [0, 1], np.arange(32.0).reshape(2, 16), length=17)
    np.testing.assert_array_equal(found, [NAN] * 8 + [7.5, 23.5] + [NAN] * 7)


def test_newest_lets_the_first_window_speak_for_all_its_frames():
    part = [[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]]
    np.testing.assert_array_equal(assigned("newest", [0, 2], part, length=6), [1, 2, 3, 4, 13, 14])


def test_newest_keeps_what_an_aligned_last_window_would_overwrite():
    part = [[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0], [21.0, 22.0, 23.0, 24.0]]
    found = assigned("newest", [0, 2, 3], part, length=7)
    np.testing.assert_array_equal(found, [1, 2, 3, 4, 13, 14, 24])


def test_newest_gives_all_it_can_after_a_gap():
    part = [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0], [21.0, 22.0, 23.0]]
    found = assigned("newest", [0, 5, 6], part, length=9)
    np.testing.assert_array_equal(found, [1, 2, 3, NAN, NAN, 11, 12, 13, 23])


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 5), st.integers(1, 3))
def test_newest_of_whole_windows_is_the_last_step_of_each(frames, step, count, labels):
    step = min(step, frames)
    first = np.arange(count + 1) * step
    part = np.random.default_rng(frames).normal(size=(count + 1, frames, labels))
    found = assigned("newest", first, part, length=int(first[-1]) + frames)
    last = part[1:, frames - step :].reshape(-1, labels)
    np.testing.assert_array_equal(found, np.concatenate([part[0], last]))


def test_order_of_windows_does_not_matter_to_their_mean():
    first, part = np.arange(0, 20, 2), np.random.default_rng(0).normal(size=(10, 4))
    found = assigned("mean", first, part, length=22)
    turned = assigned("mean", first[::-1], part[::-1], length=22)
    np.testing.assert_allclose(turned, found, rtol=1e-13)  # other order of two or three additions


@pytest.mark.parametrize("how", ["mean", "ninth", "newest"])
def test_every_label_goes_the_same_way(how):
    part = np.random.default_rng(1).normal(size=(6, 10, 3))
    part[2, 3] = NAN
    part[4, 1, 2] = NAN
    whole = assigned(how, np.arange(6) * 2, part, length=24)
    assert whole.shape == (24, 3)
    for label in range(3):
        alone = assigned(how, np.arange(6) * 2, part[..., label], length=24)
        np.testing.assert_array_equal(whole[:, label], alone)


def test_window_beyond_its_video_is_refused():
    with pytest.raises(DataError, match="01: a row scores frame 9 of a video of 9 frames"):
        assigned("mean", [5], [[1.0]], scored=[4], length=9)


def test_values_of_another_shape_are_refused():
    wrong = rows([0, 1], np.zeros((2, 1)), length=9)._replace(parts={"a": np.zeros((2, 3))})
    with pytest.raises(DataError, match=r"01: 2 rows that score 1 .* 'a' is \(2, 3\)"):
        fuse(by("mean"), wrong, None, "paper")


def test_short_window_has_no_ninth_frame():
    with pytest.raises(ConfigError, match=r"score 8 frames have no ninth.*assign.*mean"):
        assigned("ninth", [0], np.zeros((1, 8)), length=9)
