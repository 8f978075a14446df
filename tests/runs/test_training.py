"""Training on bad data: what is wrong is named; what may be skipped is counted."""

import shutil

import cv2
import numpy as np
import pytest
from support.folders import cut, frame

from vad_jax.runs.training import train
from vad_jax.types import DataError


@pytest.fixture
def training_on(level_config, tmp_path):
    """A function that trains one step on a folder."""

    def go(root, **changes):
        config = level_config(
            data__root=str(root),
            data__name="folder",
            data__validation=(),
            stages__level__epochs=None,
            stages__level__steps=1,
            **changes,
        )
        return train(config, tmp_path / "run")

    return go


def test_a_missing_folder_is_named(training_on, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist.*data.root"):
        training_on(tmp_path / "nowhere")


def test_an_empty_folder_is_named(training_on, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is empty"):
        training_on(tmp_path / "empty")


def test_a_folder_without_videos_says_what_was_looked_for(training_on, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match=r"No video under .*notes.*training/.*found readme.txt"):
        training_on(tmp_path / "notes")


def test_a_folder_without_training_videos_is_refused(training_on, small):
    shutil.rmtree(small / "training")
    with pytest.raises(DataError, match="has no training part: expected a folder `training`"):
        training_on(small)


@pytest.mark.parametrize(
    ("size", "said"), [(0, "is empty"), (30, "is cut off"), (700, "is cut off")]
)
def test_a_damaged_frame_stops_by_default(training_on, small, size, said):
    cut(frame(small, 3), size)
    message = rf"Video 02, frame 3: .*003.png \({size} bytes\) {said}.*on_bad_frame=skip"
    with pytest.raises(DataError, match=message):
        training_on(small)


def test_a_file_that_is_no_picture_stops_by_default(training_on, small):
    frame(small, 3).write_text("this was a frame once" * 9)
    with pytest.raises(DataError, match=r"Video 02, frame 3: .*is no picture"):
        training_on(small)


def test_frames_of_two_sizes_in_a_video_are_refused(training_on, small):
    cv2.imwrite(str(frame(small, 5)), np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"Video 02, frame 5: 20x30 pixels, the frames before"):
        training_on(small)


def test_videos_of_two_sizes_are_refused(training_on, small):
    for number in range(12):
        cv2.imwrite(str(frame(small, number)), np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"Video 02, frame 0: 20x30 pixels, but video 01 has"):
        training_on(small)


def test_videos_all_shorter_than_a_window_are_refused(training_on, small):
    for video in ("01", "02"):
        for number in range(4, 12):
            frame(small, number, video=video).unlink()
    message = r"No training video has a window of 5 whole frames: 01 \(4 frames\), 02 \(4 frames\)"
    with pytest.raises(DataError, match=message):
        training_on(small)


def test_a_start_that_failed_does_not_stand_in_the_way_of_the_next(training_on, small):
    """The same command after a longer video was added, where all had been too short."""
    short = {}
    for video in ("01", "02"):
        for number in range(4, 12):
            short[frame(small, number, video=video)] = frame(
                small, number, video=video
            ).read_bytes()
            frame(small, number, video=video).unlink()
    with pytest.raises(DataError, match="No training video has a window"):
        training_on(small)
    for path, content in short.items():
        path.write_bytes(content)
    assert training_on(small)["data"]["frames"] == 24


def test_what_is_skipped_is_named_and_counted_and_the_run_goes_on(training_on, small, caplog):
    """A damaged frame in each part, a training and a test video of one frame."""
    cut(frame(small, 2, video="01"), 30)
    cut(frame(small, 11, "testing", "01"), 0)
    for part in ("training", "testing"):
        for number in range(1, 12):
            frame(small, number, part).unlink()
    np.save(small / "labels.npy", (np.arange(13) >= 6).astype(np.uint8))
    metrics = training_on(small, data__on_bad_frame="skip", input__step=1)
    said = caplog.text  # training videos, those again for their mean frame, test videos
    assert "Video 01: 1 of 12 frames cannot be read and are skipped: 2" in said
    assert "Video 01: 1 of 12 frames cannot be read and are skipped: 11" in said
    assert said.count("data.on_bad_frame=skip: 1 frames of 2 videos skipped, 0 videos left") == 2
    assert (
        "left out, as each needs a window of 5 whole frames: 1 training video, 02 (1 frame)" in said
    )
    assert "Left out: 02 (1 frame): no score, a window needs 5 whole frames" in said
    assert "Left out: 01: 1 frame cannot be read, first 11" in said
    assert len(metrics["data"]["left_out"]) == 2  # what makes the exit code 3
    assert metrics["data"]["frames"] == 13
    assert metrics["data"]["scored"] == 7  # frames 4 to 10 of test video 01
