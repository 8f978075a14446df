"""The labelled test set of a run: whose labels, in which times, and what is said of its masks."""

import cv2
import numpy as np
import pytest
from support import films
from support.raw_sets import TRUTH, write_frames

from vad_jax import config as configs
from vad_jax.datasets import splits
from vad_jax.runs.testset import open_testset
from vad_jax.types import DataError, InputSpec

SPEC = InputSpec(
    frames=2, sees=(0,), target=1, scored=(1,), height=8, width=8, channels=1, colour="grey"
)


def config_of(root, cache, **changes):
    config = configs.defaults("mnad")
    given = {"name": "folder", "root": str(root), "cache": str(cache)} | changes
    config.update_from_flattened_dict({f"data.{key}": value for key, value in given.items()})
    return config


def labels_of(tests, config):
    """The labels of the test videos, decoded at a small size."""
    videos = splits.testing(tests.dataset, config.data, SPEC, progress=False)
    return {name: of.tolist() for name, of in tests.labels(videos).values.items()}


def test_labels_in_seconds_of_a_film_of_variable_rate_mark_what_was_seen_then(tmp_path):
    (tmp_path / "set" / "testing").mkdir(parents=True)
    film = films.write(tmp_path / "set" / "testing" / "a.mp4", frames=140, fps=17.5)
    unit = films.units_a_second(film)
    films.with_times(film, [unit // 5] * 20 + [unit // 30] * 120)
    (tmp_path / "set" / "labels.csv").write_text("video,start,end\na,5.0s,6.0s\n")
    config = config_of(tmp_path / "set", tmp_path / "cache")
    found = labels_of(open_testset(config, fps=25.0), config)
    assert np.flatnonzero(found["a"]).tolist() == list(range(50, 80))


def test_labels_in_seconds_of_frames_in_a_folder_need_the_rate_that_is_said(tmp_path):
    for name in TRUTH:
        write_frames(tmp_path / "set" / "testing" / name, 6)
    table = "video,start,end,class\n01,0.1s,0.3s,run\n02,2,4,run\n"
    (tmp_path / "set" / "labels.csv").write_text(table)
    config = config_of(tmp_path / "set", tmp_path / "cache")
    tests = open_testset(config, fps=10.0)
    assert labels_of(tests, config) == {"01": [0, 1, 1, 0, 0, 0], "02": [0, 0, 1, 1, 0, 0]}
    assert tests.dataset.events["01"][0][:2] == (1, 3)
    with pytest.raises(DataError, match=r"01 has no frame rate.*--fps"):
        labels_of(open_testset(config), config)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_masks_that_jpeg_has_blurred_are_spoken_of_before_anything_is_scored(
    tmp_path, caplog, suffix
):
    for name, labels in TRUTH.items():
        write_frames(tmp_path / "testing" / name, 6, size=(48, 64))
        (tmp_path / "masks" / name).mkdir(parents=True)
        for number, label in enumerate(labels):
            mask = np.zeros((48, 64), np.uint8)
            mask[13:21, 21:29] = 255 * label
            assert cv2.imwrite(str(tmp_path / "masks" / name / f"{number}.{suffix}"), mask)
    open_testset(config_of(tmp_path, tmp_path / "cache"))
    said = "masks of 2 videos are JPEG, which blurs their edges (01, 02). Pixels of 128 to 255"
    assert (said in caplog.text) == (suffix == "jpg")
