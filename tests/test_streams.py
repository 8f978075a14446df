"""Law 5 and law 8 of the house, over toy methods: a stream gives what the file gives, each frame
once, whatever a method scores; and scoring takes the same memory for any length of a video.
"""

import dataclasses
import tracemalloc

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from support.toys import Clip, spec, toy

from vad_jax.detector import Detector
from vad_jax.evaluation import frame_parts
from vad_jax.scoring import score_videos
from vad_jax.types import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("x64")

ASSIGN = ("mean", "ninth", "newest")


def detector(method):
    variables = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), method.init(jax.random.key(0))
    )
    statistics = {"excess": {"mean": 0.3, "std": 0.7}}
    config = ConfigDict({"method": "toy", "adapt": {"steps": 1}})
    return Detector(method, variables, statistics, 1.0, config, {"step": 0})


def streamed(found, clip):
    """What a stream says of a clip, in the order in which it says it."""
    stream = found.stream()
    said = [pair for frame in clip.stream() for pair in stream.push(frame)] + stream.flush()
    places = [place for place, _ in said]
    assert places == sorted(set(places)), "a frame comes twice, or out of order"
    return dict(said)


def assert_stream_is_file(method, clip):
    found = detector(method)
    file = found.score(clip.stream())
    live = streamed(found, clip)
    scored = np.flatnonzero(~np.isnan(file.score.reshape(len(clip), -1)).all(axis=1))
    np.testing.assert_array_equal(sorted(live), scored)
    for place, score in live.items():
        np.testing.assert_allclose(score, file.score[place], rtol=0, atol=1e-10)
    return file


@pytest.mark.parametrize("assign", ASSIGN)
@pytest.mark.parametrize("step", [1, 8, 16])
def test_a_stream_is_the_file_under_each_assign(assign, step):
    file = assert_stream_is_file(toy(spec(step=step), assign=assign), Clip("a", 37))
    assert np.isfinite(file.score).any()


def test_37_frames_of_windows_of_16_every_8_have_one_score_each():
    live = streamed(detector(toy(spec(step=8))), Clip("a", 37))
    assert sorted(live) == list(range(32))  # the windows at 0, 8 and 16


def test_the_aligned_window_reaches_the_last_frames():
    live = streamed(detector(toy(spec(step=8, tail="align"))), Clip("a", 37))
    assert sorted(live) == list(range(37))


@pytest.mark.parametrize("assign", ASSIGN)
@pytest.mark.parametrize("tail", ["drop", "align"])
@pytest.mark.parametrize("lost", [(), (5,), (20, 21), (0, 36), tuple(range(10, 37))])
def test_lost_frames_and_tails_are_those_of_the_file(assign, tail, lost):
    method = toy(spec(step=4, tail=tail), assign=assign)
    clip = Clip("a", 37, lost=lost)
    if len(lost) == 27:
        with pytest.raises(
            DataError, match="37 frames, 27 of them lost, a window needs 16 whole ones"
        ):
            detector(method).score(clip.stream())
        assert streamed(detector(method), clip) == {}
    else:
        assert_stream_is_file(method, clip)


@pytest.mark.parametrize("assign", ASSIGN)
def test_labels_give_a_stream_one_score_each(assign):
    file = assert_stream_is_file(toy(assign=assign, labels=3), Clip("a", 40))
    assert file.score.shape == (40, 3)
    assert file.parts["excess"].shape == (40, 3)


@pytest.mark.parametrize("lead", [1, 2])
def test_the_lead_stands_before_the_window(lead):
    with_lead = toy(spec(lead=lead, step=8))
    clip = Clip("a", 40)
    assert_stream_is_file(with_lead, clip)
    (rows,) = score_videos(with_lead, detector(with_lead).variables, [clip])
    grey = clip.frames[..., 0].astype(np.float32) / np.float32(127.5) - np.float32(1)
    expected = np.square(np.diff(grey.astype(np.float64), axis=0)).mean(axis=(1, 2))
    # With a lead the first frame of a window is compared with the one before it.
    np.testing.assert_allclose(rows.parts["excess"][1], expected[7:23], rtol=1e-12)
    np.testing.assert_allclose(rows.parts["excess"][0][1:], expected[:15], rtol=1e-12)
    assert rows.parts["excess"][0][0] == 0  # clipped to the video's first frame


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("assign", ["mean", "newest"])
def test_strides_leave_no_frame_out_of_order(stride, assign):
    inputs = spec(frames=5, sees=tuple(range(5)), scored=(1, 3, 4), stride=stride, step=2)
    assert_stream_is_file(toy(inputs, assign=assign), Clip("a", 41, lost=(17,)))


@pytest.mark.parametrize("carried", ["video", "set"])
@pytest.mark.parametrize("assign", ASSIGN)
def test_a_carry_goes_through_a_stream_as_through_the_file(carried, assign):
    assert_stream_is_file(toy(carried=carried, assign=assign), Clip("a", 64, lost=(30,)))


def test_a_stream_smooths_by_its_past_alone():
    causal = toy(smooth=(("smooth", (0.25, 0.25, 0.5), "nearest", True),))
    assert_stream_is_file(causal, Clip("a", 50))
    centred = toy(smooth=(("smooth", (0.25, 0.5, 0.25), "nearest", False),))
    with pytest.raises(ConfigError, match="smooth"):
        detector(centred).stream()


def test_a_method_without_stages_is_a_method():
    assert_stream_is_file(toy(stages=()), Clip("a", 37))


def test_videos_side_by_side_hand_on_their_own_maps():
    method = toy(carried="video")
    clips = [Clip(name, length) for name, length in (("a", 40), ("b", 15), ("c", 29))]
    seen = {}

    def each(name, first, scores):
        assert scores.maps.shape == (len(first), 16, 8, 8)
        seen.setdefault(name, []).extend(first.tolist())

    variables = detector(method).variables
    together = list(score_videos(method, variables, clips, each=each))
    alone = list(score_videos(method, variables, clips, streams=1))
    assert seen == {"a": [0, 8, 16, 24], "c": [0, 8]}
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.first, other.first)
        np.testing.assert_array_equal(one.frame, other.frame)
        if len(one.first):
            np.testing.assert_allclose(one.parts["excess"], other.parts["excess"], atol=1e-12)


def test_rows_say_which_frames_they_score():
    method = toy(spec(stride=2, frames=4, sees=(0, 1, 2, 3), scored=(1, 3), step=3))
    (rows,) = score_videos(method, detector(method).variables, [Clip("a", 14)])
    np.testing.assert_array_equal(rows.first, [0, 3, 6])
    np.testing.assert_array_equal(rows.frame, [[2, 6], [5, 9], [8, 12]])
    parts = frame_parts(method.fusion, rows)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(parts["excess"])), [2, 5, 6, 8, 9, 12])


@pytest.mark.parametrize("carried", ["none", "video"])
def test_memory_of_scoring_with_maps_does_not_grow_with_the_video(carried):
    """Maps are handed on and forgotten: 3,000 frames of 8x8 maps of 16 frames a row are 24 MB."""
    method = toy(carried=carried)
    variables = detector(method).variables
    peaks = []
    for length in (200, 3000, 200):
        clip, sums = Clip("long", length), []

        def each(name, first, scores, sums=sums):
            sums.append(scores.maps.sum())

        tracemalloc.start()
        list(score_videos(method, variables, [clip], each=each))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(sums) > 1
    rows = 3000 // 8
    kept = rows * (8 + 4 + 2 * 16 * 8 + 16 * 4)  # what a video's rows weigh without maps
    assert peaks[1] < peaks[2] + 4 * kept + 500_000


def test_minmax_over_the_set_of_one_video_is_refused():
    method = toy()
    over_the_set = dataclasses.replace(
        method.fusion,
        paper=(("assign", "mean"), ("minmax", "set"), ("combine", "fused", {"excess": 1.0})),
    )
    found = detector(dataclasses.replace(method, fusion=over_the_set))
    with pytest.raises(ConfigError, match="Min–max over the set needs all its videos"):
        found.score(Clip("a", 37).stream(), protocol="paper")
