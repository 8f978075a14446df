"""The pictures of an evaluated run: the index, and the frames of the timelines."""

import dataclasses
import json

import cv2
import numpy as np

import vad_jax
from vad_jax import evaluation, pictures
from vad_jax.datasets import splits
from vad_jax.pictures import thumbnails

TEST_VIDEOS = 6


def test_the_pictures_of_the_index_can_be_read(finished_run):
    folder = finished_run[0] / "pictures"
    entries = json.loads((folder / "index.json").read_text())
    kinds = {"hit", "false_alarm", "miss", "matching", "queries"}
    assert {entry["kind"] for entry in entries} == kinds
    pictures = {path.name for path in folder.iterdir() if path.suffix in (".png", ".jpg")}
    assert {entry["file"] for entry in entries} == pictures
    for entry in entries:
        picture = cv2.imread(str(folder / entry["file"]))
        assert picture is not None, entry["file"]
        assert picture.std() > 1, entry["file"]
        if entry["kind"] in ("hit", "false_alarm", "miss"):
            assert entry["label"] == (0 if entry["kind"] == "false_alarm" else 1)


def test_a_bounded_number_of_frames_is_kept_for_the_timelines(finished_run):
    folder = finished_run[0] / "pictures"
    about = json.loads((folder / "timeline.json").read_text())
    places = [(kept["video"], kept["frame"]) for kept in about["frames"]]
    assert places == sorted(set(places))
    assert len(places) == TEST_VIDEOS * 29 <= about["most"] == thumbnails.MOST
    assert about["step"] == 1
    extreme = [e for e in json.loads((folder / "index.json").read_text()) if "video" in e]
    assert {(int(e["video"]) - 1, e["frame"]) for e in extreme} <= set(places)
    for kept in about["frames"][::40]:
        picture = cv2.imread(str(folder / kept["file"]))
        assert picture.shape == (thumbnails.HEIGHT, 2 * thumbnails.HEIGHT, 3)  # frame and map
    assert any(kept["boxes"] for kept in about["frames"])


def test_a_method_without_maps_has_pictures_of_frames(finished_run, tmp_path):
    detector = vad_jax.load(finished_run[0])
    own = detector.method.score

    def score(variables, carry, batch):
        carry, scores = own(variables, carry, batch)
        return carry, scores._replace(maps=None)

    detector = dataclasses.replace(
        detector, method=dataclasses.replace(detector.method, score=score)
    )
    settings = detector.config.data
    videos = splits.testing(splits.find(settings), settings, detector.method.inputs)
    scored = evaluation.read_scores(finished_run[0] / "scores.npz")
    entries = pictures.draw(detector, videos, scored, tmp_path / "pictures")
    assert {e["caption"] for e in entries if e["kind"] == "miss"} == {"frame · output"}
    about = json.loads((tmp_path / "pictures" / "timeline.json").read_text())
    assert about["high"] == 0
    assert not any(kept["boxes"] for kept in about["frames"])
    picture = cv2.imread(str(tmp_path / "pictures" / about["frames"][0]["file"]))
    assert picture.shape == (thumbnails.HEIGHT, thumbnails.HEIGHT, 3)  # the frame alone


def test_of_a_long_set_every_kth_frame_is_kept_and_all_extreme_ones():
    scores = [np.arange(5000.0), np.full(10, np.nan), np.arange(800.0)]
    scored = evaluation.Scored(
        names=("a", "b", "c"),
        labels=[np.zeros(len(video), np.int8) for video in scores],
        scores={"online_raw": scores},
    )
    entries = [{"video": "c", "frame": 7}, {"title": "memory"}, {"video": "a", "frame": 1}]
    chosen, step = thumbnails._chosen(scored, entries)
    assert len(chosen) <= thumbnails.MOST
    assert {(2, 7), (0, 1)} <= set(chosen)
    assert set(chosen) - {(2, 7), (0, 1)} == {
        (0, n) if n < 5000 else (2, n - 5000) for n in range(0, 5800, step)
    }
    assert step == 25  # of 5,800 frames 238 at most


def test_frames_with_the_score_of_another_are_not_drawn():
    lent, parts = np.array([3.0, 3.0, 3.0, 1.0]), np.array([np.nan, np.nan, 3.0, 1.0])
    scored = evaluation.Scored(
        names=("a",),
        labels=[np.ones(4, np.int8)],
        scores={"online_raw": [lent]},
        parts={"distance": [parts]},
    )
    assert thumbnails._chosen(scored, [])[0] == [(0, 2), (0, 3)]
