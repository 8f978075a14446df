"""Evaluating a run: bad data are named, and a threshold comes from its normal videos alone."""

import shutil

import numpy as np
import pytest
from support.folders import cut, frame

import vad_jax
from vad_jax.datasets import splits
from vad_jax.runs.evaluating import _normal_scores, evaluate
from vad_jax.runs.workdir import Workdir
from vad_jax.types import CheckpointError, DataError


def test_one_array_of_labels_of_the_wrong_length(copied, tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(700, np.uint8))
    with pytest.raises(DataError, match=r"700 labels.*6 test videos have 720 frames.*part in 06"):
        evaluate(copied, labels=tmp_path / "labels.npy")


def test_labels_of_one_video_of_the_wrong_length(copied, tmp_path):
    for number in range(1, 7):
        np.save(tmp_path / f"{number:02d}.npy", np.zeros(119 if number == 4 else 120, np.uint8))
    with pytest.raises(DataError, match=r"04 has 120 frames.*119"):
        evaluate(copied, labels=tmp_path)


def test_labels_in_a_pickle_are_never_opened(copied, tmp_path):
    np.save(tmp_path / "labels.npy", np.array([{}] * 720, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"labels.npy is no plain array.*never"):
        evaluate(copied, labels=tmp_path / "labels.npy")


def test_labels_that_are_not_there(copied, small, tmp_path):
    with pytest.raises(DataError, match=r"none.npy do not exist.*--labels"):
        evaluate(copied, labels=tmp_path / "none.npy")
    (small / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"No labels were found in .*small.*--labels"):
        evaluate(copied, root=small)


def test_a_root_without_test_videos(copied, small):
    shutil.rmtree(small / "testing")
    with pytest.raises(DataError, match=r"small has no test videos"):
        evaluate(copied, root=small)


def test_test_videos_all_shorter_than_a_window(copied, small):
    for video in ("01", "02"):
        for number in range(4, 12):
            frame(small, number, "testing", video).unlink()
    np.save(small / "labels.npy", np.zeros(8, np.uint8))
    before = (copied / "scores.npz").read_bytes()
    with pytest.raises(DataError, match=r"No test video has a score.*needs 5.*02 \(4 frames\)"):
        evaluate(copied, root=small)
    assert (copied / "scores.npz").read_bytes() == before


def test_a_damaged_test_frame_stops_by_default(copied, small):
    cut(frame(small, 7, "testing"), 30)
    with pytest.raises(DataError, match=r"Video 02, frame 7: .*is cut off"):
        evaluate(copied, root=small)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no run \(config.json is missing\)"):
        evaluate(tmp_path)


def test_a_run_that_is_not_finished(copied):
    (copied / "normal.npz").unlink()
    with pytest.raises(CheckpointError, match=r"not finished .*checkpoint at step.*same command"):
        evaluate(copied)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(CheckpointError, match=r"checkpoints/level does not exist: train first"):
        evaluate(copied)


def test_a_damaged_config_of_a_run(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"damaged config.json or data.json"):
        evaluate(copied)


# The threshold


def test_the_threshold_comes_from_the_held_out_video_alone(finished_run):
    found, seen = finished_run[1]["calibration"], finished_run[1]["events"]
    assert (found["source"], found["videos"], found["blocks"]) == ("held-out", 1, 1)
    assert found["rate_per_hour"] == pytest.approx(np.log(2) * 360)  # one block of ten seconds
    detector = vad_jax.load(finished_run[0])
    (video,) = _normal_scores(detector, Workdir(finished_run[0])).scores
    assert found["threshold"] == np.nanmax(video[:100])  # of the one whole block
    settings = detector.config.data
    normal = splits.training(splits.find(settings), settings, detector.method.inputs)[1]
    np.testing.assert_allclose(detector.score(normal[0].stream()).score, video, rtol=1e-6)
    assert seen["recall"]["value"] == seen["recalled"] / seen["events"]
    assert seen["events"] > 0
    assert seen["normal_hours"] > 0


def test_a_rate_that_the_normal_video_is_too_short_for_is_refused(copied):
    found = evaluate(copied, false_alarms_per_hour=1.0)
    assert found["calibration"]["threshold"] is None
    assert found["calibration"]["hours_needed"] == pytest.approx(1)
    assert "needs 1 hours of normal footage, held are" in found["calibration"]["why"]
    assert found["events"]["recall"] is None
    assert "--false_alarms_per_hour=1.0" in found["run"]["command"]


def test_another_frame_rate_is_taken(copied):
    found = evaluate(copied, fps=20.0)
    assert found["calibration"]["block_seconds"] == 6  # all that the video has


def test_a_run_of_a_version_that_kept_no_normal_scores_is_evaluated(copied, caplog):
    (copied / "normal_windows.npz").unlink()
    found = evaluate(copied)
    assert found["calibration"]["threshold"] is None
    assert "no scores of normal footage" in found["calibration"]["why"]
    assert "give its training command again" in caplog.text
