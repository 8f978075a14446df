"""What is written comes back, and what cannot be read is named."""

import dataclasses
import json

import numpy as np
import pytest

from vad_jax.evaluation import read_metrics, read_scores, write_metrics, write_scores
from vad_jax.types import DataError


def test_scores_come_back_as_they_were(scored, tmp_path):
    write_scores(tmp_path / "scores.npz", scored)
    found = read_scores(tmp_path / "scores.npz")
    for field in ("names", "signs", "meta"):
        assert getattr(found, field) == getattr(scored, field)
    for field in ("scores", "parts", "results"):
        kept, given = getattr(found, field), getattr(scored, field)
        assert list(kept) == list(given)
        for name in given:
            assert len(kept[name]) == len(given[name])
            for video, right in zip(kept[name], given[name], strict=True):
                np.testing.assert_array_equal(video, right)
    for video, right in zip(found.labels, scored.labels, strict=True):
        np.testing.assert_array_equal(video, right)
    for name, column in scored.detections.items():
        np.testing.assert_array_equal(found.detections[name], column)


def test_archive_holds_the_named_arrays_and_no_pickle(scored, tmp_path):
    write_scores(tmp_path / "scores.npz", scored)
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind + str(archive[name].ndim) for name in archive}
        np.testing.assert_array_equal(archive["offsets"], [0, 40, 70, 120, 140])
        np.testing.assert_array_equal(archive["frame"][38:42], [38, 39, 0, 1])
        assert json.loads(str(archive["meta"])) == scored.meta
    assert kinds == {
        "video_names": "U1",
        "offsets": "i1",
        "frame": "i1",
        "label": "i1",
        "meta": "U0",
        "score_paper_raw": "f1",
        "score_paper_smoothed": "f1",
        "score_online_raw": "f1",
        "score_online_smoothed": "f1",
        "part_psnr": "f1",
        "part_psnr_sign": "i0",
        "part_distance": "f1",
        "part_distance_sign": "i0",
        "fused_psnr_only_paper_raw": "f1",
        "det_video": "i1",
        "det_frame": "i1",
        "det_box": "i2",
        "det_score": "f1",
    }


def test_nothing_half_written_is_left(scored, tmp_path):
    broken = dataclasses.replace(scored, meta={"seed": np.inf})
    with pytest.raises(DataError, match="seed is inf"):
        write_scores(tmp_path / "scores.npz", broken)
    assert list(tmp_path.iterdir()) == []


def test_scores_of_another_length_or_infinite_are_refused(scored, tmp_path):
    short = dataclasses.replace(scored, parts={"psnr": [v[:-1] for v in scored.parts["psnr"]]})
    with pytest.raises(DataError, match=r"part_psnr has .*'01': 39"):
        write_scores(tmp_path / "scores.npz", short)
    scored.scores["online_raw"][0][5] = np.inf
    with pytest.raises(DataError, match="score_online_raw holds an infinite"):
        write_scores(tmp_path / "scores.npz", scored)
    del scored.scores["online_raw"]
    with pytest.raises(DataError, match="needs score_online_raw"):
        write_scores(tmp_path / "scores.npz", scored)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no scores at .*scores\.npz"):
        read_scores(tmp_path / "scores.npz")
    (tmp_path / "scores.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"scores\.npz is no archive"):
        read_scores(tmp_path / "scores.npz")
    np.savez(tmp_path / "scores.npz", video_names=["a"], offsets=[0, 2], label=[0, 1])
    with pytest.raises(DataError, match="lacks frame, score_paper_raw"):
        read_scores(tmp_path / "scores.npz")
    with pytest.raises(DataError, match=r"no figures at .*metrics\.json"):
        read_metrics(tmp_path / "metrics.json")


def test_metrics_are_plain_numbers(tmp_path):
    given = {"value": np.float64(0.5), "n": np.int64(3), "list": np.arange(2), "none": None}
    write_metrics(tmp_path / "metrics.json", given)
    assert read_metrics(tmp_path / "metrics.json") == {
        "value": 0.5,
        "n": 3,
        "list": [0, 1],
        "none": None,
    }


def test_figure_that_is_nan_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"protocols\.paper\.ap is nan"):
        write_metrics(tmp_path / "metrics.json", {"protocols": {"paper": {"ap": np.nan}}})
