"""A trained detector in a user's hand: files, streams and evaluation agree; adapting is local."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

import vad_jax
from vad_jax import evaluation
from vad_jax.types import CheckpointError, ConfigError, DataError


@pytest.fixture(scope="module")
def detector(finished_run):
    return vad_jax.load(finished_run[0])


@pytest.fixture(scope="module")
def frames(synthetic_root):
    """The first test video as a user reads it: grey, at its own size."""
    folder = synthetic_root / "testing" / "frames"
    first = min(folder.iterdir())
    paths = sorted(first.glob("*.png"))
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


@pytest.fixture(scope="module")
def result(detector, frames):
    return detector.score(frames)


def test_only_parts_that_a_score_uses_are_warned_of(finished_run, tmp_path, caplog):
    folder = shutil.copytree(finished_run[0], tmp_path / "run")
    with np.load(folder / "normal.npz") as file:
        stored = dict(file)
    for part, warned in (("updated", False), ("psnr", True)):
        np.savez(folder / "normal.npz", **{**stored, f"{part}/std": np.float64(0)})
        caplog.clear()
        vad_jax.load(folder)
        assert (f"the part '{part}' is the same on all normal clips" in caplog.text) == warned


def test_a_frame_has_one_score_or_none(detector, frames, result):
    assert result.score.shape == (len(frames),)
    scored = np.flatnonzero(np.isfinite(result.score))
    np.testing.assert_array_equal(scored, np.arange(4, 117, 4))  # the fifth frames, step 4
    assert set(result.parts) == {"psnr", "distance", "point_score", "updated"}
    assert all(part.shape == (len(frames),) for part in result.parts.values())


def test_a_stream_gives_the_same_bits(detector, frames, result):
    stream = detector.stream()
    found = [pair for frame in frames for pair in stream.push(frame)] + stream.flush()
    places, scores = zip(*found, strict=True)
    np.testing.assert_array_equal(places, np.flatnonzero(np.isfinite(result.score)))
    np.testing.assert_array_equal(scores, result.score[list(places)])


def test_a_camera_may_write_every_frame_into_the_same_array(detector, frames, result):
    stream, array, found = detector.stream(), np.empty_like(frames[0]), []
    for frame in frames:
        array[...] = frame
        found += stream.push(array)
    places, scores = zip(*found, strict=True)
    np.testing.assert_array_equal(scores, result.score[list(places)])


def test_a_stream_answers_with_the_frame_that_completes_a_window(detector, frames):
    stream = detector.stream()
    answers = [stream.push(frame) for frame in frames[:10]]
    assert [i for i, answer in enumerate(answers) if answer] == [4, 8]
    assert [place for answer in answers for place, _ in answer] == [4, 8]


def test_evaluation_gave_the_first_video_the_same_bits(finished_run, result):
    """The first only: with memory.reset=set the others start from what it left behind."""
    scored = evaluation.read_scores(finished_run[0] / "scores.npz")
    np.testing.assert_array_equal(scored.scores["online_raw"][0], result.score)
    for name, part in result.parts.items():
        np.testing.assert_array_equal(scored.parts[name][0], part)


def test_every_call_starts_anew(detector, frames, result):
    detector.score(frames[50:])
    np.testing.assert_array_equal(detector.score(frames).score, result.score)


def test_the_paper_protocol_scales_by_the_whole_video(detector, frames):
    score = detector.score(frames, protocol="paper").score
    assert np.nanmin(score) >= 0
    assert np.nanmax(score) <= 1


def test_frames_of_another_size_are_resized(detector, frames, result):
    small = [cv2.resize(frame, (16, 16), interpolation=cv2.INTER_LINEAR) for frame in frames]
    np.testing.assert_array_equal(detector.score(small).score, result.score)
    with_channel = [frame[..., None] for frame in frames]
    np.testing.assert_array_equal(detector.score(with_channel).score, result.score)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.zeros((16, 16), np.float32), r"float32 \[16, 16, 1\]"),
        (np.zeros((16, 16, 2), np.uint8), r"uint8 \[16, 16, 2\]"),
        (np.zeros(16, np.uint8), r"uint8 \[16\]"),
        (np.zeros((2, 16, 16, 1), np.uint8), r"uint8 \[2, 16, 16, 1\]"),
    ],
)
def test_what_is_no_grey_frame_of_bytes_is_refused(detector, frame, said):
    with pytest.raises(DataError, match=r"A frame is uint8 \[h, w, 1\] \(grey\).*" + said):
        detector.score([frame] * 5)
    with pytest.raises(DataError, match=said):
        detector.stream().push(frame)


def test_a_grey_run_takes_colour_frames_as_it_reads_colour_files(detector, frames, result):
    colour = [np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=-1) for frame in frames]
    np.testing.assert_array_equal(detector.score(colour).score, result.score)


# Lost frames, and what is no video


def lost(frames, *places):
    return [None if number in places else frame for number, frame in enumerate(frames)]


@pytest.mark.parametrize(
    ("places", "scored"),
    [
        ((0,), [8, 12, 16]),
        ((6,), [4, 12, 16]),
        ((18,), [4, 8, 12, 16]),
        ((0, 7, 18), [12, 16]),
    ],
)
def test_a_lost_frame_counts_and_no_window_touches_it(detector, frames, places, scored):
    """Windows begin at every fourth frame and score their fifth; in a stream as in a video."""
    given = lost(frames[:19], *places)
    found = detector.score(given).score
    assert np.flatnonzero(np.isfinite(found)).tolist() == scored
    stream = detector.stream()
    pushed = [pair for frame in given for pair in stream.push(frame)] + stream.flush()
    assert pushed == [(place, found[place]) for place in scored]


def test_a_video_of_lost_frames_alone_has_no_score(detector):
    with pytest.raises(DataError, match="has 9 frames, 9 of them lost, a window needs 5 whole"):
        detector.score([None] * 9)
    stream = detector.stream()
    assert [pair for _ in range(9) for pair in stream.push(None)] + stream.flush() == []


@pytest.mark.parametrize("video", [None, 3, "cam.mp4", Path("cam.mp4")])
def test_what_is_no_sequence_of_frames_is_refused_with_what_is_accepted(detector, video):
    with pytest.raises(
        DataError, match=r"A video is a sequence of frames; this is .*vad_jax.score"
    ):
        detector.score(video)


def test_frames_of_two_sizes_are_no_video(detector, frames):
    given = [*frames[:3], None, frames[4][:32]]
    with pytest.raises(DataError, match="Frame 4 is 32x64 pixels, those before 64x64"):
        detector.score(given)
    stream = detector.stream()
    with pytest.raises(DataError, match="Frame 4 is 32x64 pixels"):
        [stream.push(frame) for frame in given]


def test_a_frame_without_pixels_is_refused(detector):
    with pytest.raises(DataError, match=r"A frame is uint8 .*uint8 \[0, 16, 1\]"):
        detector.stream().push(np.zeros((0, 16), np.uint8))


def test_a_single_frame_is_not_taken_for_a_video(detector):
    with pytest.raises(DataError, match=r"\[16, 16, 3\] looks like a single frame"):
        detector.score(np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_video_shorter_than_a_window_has_no_score(detector, frames, number):
    with pytest.raises(DataError, match=rf"has {number} frames, a window needs 5"):
        detector.score(frames[:number])
    stream = detector.stream()
    assert [pair for frame in frames[:number] for pair in stream.push(frame)] == []
    assert stream.flush() == []


@pytest.fixture(scope="module")
def clips(frames):
    return np.stack([frames[first : first + 5] for first in (0, 30, 60)])


def loss_on(detector, clips):
    (stage,) = detector.method.stages
    support = np.stack([[detector.fitted(frame) for frame in clip] for clip in clips])
    batch = {"frames": support, "mask": np.ones(len(support), bool)}
    params, state = detector.variables["params"], detector.variables["state"]
    loss = jax.jit(lambda params: stage.loss(params, state, batch, None, train=False)[0])
    return float(loss(params))


def test_adapting_lowers_the_loss_and_leaves_the_original(detector, clips, frames, result):
    before = jax.tree.map(np.array, detector.variables)
    adapted = detector.adapt(clips, steps=4)
    assert loss_on(adapted, clips) < loss_on(detector, clips)
    jax.tree.map(np.testing.assert_array_equal, detector.variables, before)
    jax.tree.map(np.testing.assert_array_equal, adapted.variables["state"], before["state"])
    pairs = zip(
        jax.tree.leaves(adapted.variables["params"]), jax.tree.leaves(before["params"]), strict=True
    )
    assert any(np.any(new != old) for new, old in pairs)
    np.testing.assert_array_equal(detector.score(frames).score, result.score)
    assert np.nanmax(np.abs(adapted.score(frames).score - result.score)) > 0


def test_adapting_by_default_takes_the_steps_of_the_config(detector, clips):
    assert detector.config.adapt.steps == 1
    config = detector.config.copy_and_resolve_references()
    config.adapt.steps = 4
    by_default = dataclasses.replace(detector, config=config).adapt(clips)
    given = detector.adapt(clips, steps=4)
    jax.tree.map(np.testing.assert_array_equal, by_default.variables, given.variables)


def test_a_rate_may_be_given_for_that_of_the_config(detector, clips):
    frames = np.stack([[detector.fitted(frame) for frame in clip] for clip in clips])
    number = np.arange(len(frames), dtype=np.int32)
    support = {"frames": frames, "mask": number >= 0, "video": number, "frame": number}
    adapt = jax.jit(detector.method.adapt, static_argnames="steps")
    still, _ = adapt(detector.variables, support, steps=1, learning_rate=0.0)
    jax.tree.map(np.testing.assert_array_equal, still, detector.variables)
    rate = detector.config.adapt.learning_rate
    moved, _ = adapt(detector.variables, support, steps=1, learning_rate=rate)
    expected = detector.adapt(clips, steps=1, learning_rate=rate).variables
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), moved, expected)


def test_adapting_by_default_adapts(detector, clips):
    """Where nobody said a rate, one is found on the clips' own halves; the default's is tiny."""
    found = detector.adapt(clips)
    about = found.about["adapted"]
    assert about["steps"] > 0
    assert about["after"] < about["before"]
    assert loss_on(found, clips) < 0.95 * loss_on(detector, clips)
    assert "adapted" not in detector.about


@pytest.fixture(scope="module")
def dark(frames):
    """Twelve clips of the scene at half its light."""
    clips = [[frame // 2 for frame in frames[first : first + 5]] for first in range(0, 60, 5)]
    return np.array(clips)


def test_the_statistics_of_a_new_scene_are_part_of_adapting(detector, dark, frames):
    adapted = detector.adapt(dark)
    here, there = adapted.statistics["psnr"], detector.statistics["psnr"]
    assert here["count"] == len(dark)
    assert here["mean"] != there["mean"]
    assert adapted.map_99 != detector.map_99
    shaded = [frame // 2 for frame in frames]
    scores = [np.nanmean(d.score(shaded).score) for d in (detector, adapted)]
    assert abs(scores[1]) < abs(scores[0]), "normal footage of the scene is nearer to 0"


def test_few_clips_keep_the_statistics_and_say_so(detector, clips, caplog):
    adapted = detector.adapt(clips, steps=1, learning_rate=1e-3)
    assert adapted.statistics == detector.statistics
    assert "3 windows of the new scene are too few" in caplog.text
    assert "normal=VIDEO" in caplog.text


def test_a_normal_video_of_the_scene_gives_its_statistics(detector, clips, frames):
    adapted = detector.adapt(clips, normal=frames[65:], steps=1, learning_rate=1e-3)
    parts = adapted.score(frames[65:]).parts
    assert adapted.statistics["psnr"]["mean"] == pytest.approx(np.nanmean(parts["psnr"]))


def test_steps_and_a_rate_that_are_none_are_refused(detector, clips):
    with pytest.raises(ConfigError, match=r"--steps=-1"):
        detector.adapt(clips, steps=-1)
    with pytest.raises(ConfigError, match=r"--learning_rate=nan"):
        detector.adapt(clips, learning_rate=float("nan"))


def test_clips_are_whole_windows(detector, clips):
    with pytest.raises(DataError, match="Clips of 4 frames; the method's windows have 5"):
        detector.adapt(clips[:, :4])
    with pytest.raises(DataError, match="no clip"):
        detector.adapt(clips[:0])
    with pytest.raises(DataError, match=r"uint8 \[K, T, h, w\].*this is \[5, 64, 64\]"):
        detector.adapt(clips[0])
    with pytest.raises(DataError, match="A frame of a clip is None"):
        detector.adapt([[*clips[0][:4], None]])


def test_a_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="holds no run"):
            vad_jax.load(folder)
