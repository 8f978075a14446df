"""Scores from elsewhere, evaluated as a run is."""

import json
import re

import numpy as np
import pytest

from vad_jax import evaluate
from vad_jax.evaluation import Normal, Scored, auc_micro, threshold_of, write_scores
from vad_jax.evaluation.score_files import SCORES
from vad_jax.runs.external import evaluate_scores
from vad_jax.types import DataError

NAMES, LENGTHS = ("01", "02", "street/03", "04"), (40, 30, 50, 20)


@pytest.fixture
def values():
    """Scores a little better than chance of four videos, the first frames without one."""
    random = np.random.default_rng(6)
    found = [2.0 * (np.arange(n) * 2 >= n) + random.normal(size=n) for n in LENGTHS]
    for video in found:
        video[:4] = np.nan
    return found


@pytest.fixture
def scored(values):
    """The same with labels, as evaluation keeps them."""
    return Scored(
        names=NAMES,
        labels=[(np.arange(length) * 2 >= length).astype(np.int8) for length in LENGTHS],
        scores={name: [video.copy() for video in values] for name in SCORES},
    )


@pytest.fixture
def labels(tmp_path, scored):
    np.save(tmp_path / "labels.npy", np.concatenate(scored.labels))
    return tmp_path / "labels.npy"


def joined(path, values):
    offsets = np.cumsum([0, *map(len, values)])
    np.savez(path, score=np.concatenate(values), offsets=offsets)
    return path


def test_the_command_writes_a_report_and_prints_figures(tmp_path, values, labels, scored, capsys):
    path = joined(tmp_path / "theirs.npz", [-video for video in values])
    given = [f"--scores={path}", f"--labels={labels}", "--lower-is-stranger", "--json"]
    assert evaluate.main(given) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    value = figures["protocols"]["online"]["raw"]["auc_micro"]["value"]
    assert value == pytest.approx(auc_micro(scored.labels, values), abs=1e-12)
    names = {file.name for file in (tmp_path / "theirs").iterdir()}
    assert {"scores.npz", "metrics.json", "report.html"} <= names
    assert "--lower_is_stranger" in figures["run"]["command"]


def test_videos_named_by_numbers_are_in_natural_order(tmp_path, capsys):
    truth = {str(n): (np.arange(20 + n) >= 10).astype(np.int8) for n in range(1, 13)}
    np.save(tmp_path / "labels.npy", np.concatenate(list(truth.values())))
    np.savez(tmp_path / "a.npz", **{name: truth[name] * 1.0 for name in sorted(truth)})
    found = evaluate_scores(tmp_path / "a.npz", tmp_path / "out", labels=tmp_path / "labels.npy")
    assert found["protocols"]["online"]["raw"]["auc_micro"]["value"] == 1
    assert [video["name"] for video in found["per_video"]] == list(truth)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00", found["run"]["date"])
    assert "AUC micro             100.0 (73.5 to 100.0)" in capsys.readouterr().out


def test_one_video_is_given_no_certainty(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", only=np.arange(40.0))
    np.save(tmp_path / "labels.npy", (np.arange(40) >= 30).astype(np.int8))
    evaluate_scores(tmp_path / "a.npz", tmp_path / "out", labels=tmp_path / "labels.npy")
    out = capsys.readouterr().out
    assert "too few videos to say: 1 of both classes, 6 are needed" in " ".join(out.split())
    assert "above the best control" not in out
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "chip good" not in report.partition("</style>")[2]


def test_a_threshold_comes_from_normal_scores(tmp_path, values, labels):
    normal = np.random.default_rng(0).normal(size=(3, 900))
    np.savez(tmp_path / "normal.npz", **{f"n{i}": -video for i, video in enumerate(normal)})
    path = joined(tmp_path / "theirs.npz", [-video for video in values])
    options = {"labels": labels, "lower_is_stranger": True, "false_alarms_per_hour": 20.0}
    options |= {"normal_scores": tmp_path / "normal.npz", "fps": 10.0}
    found = evaluate_scores(path, tmp_path / "out", **options)
    expected = threshold_of(Normal(list(normal), "held-out"), fps=10.0, rate_per_hour=20.0)
    assert found["calibration"] == expected
    assert found["events"]["events"] == 4
    assert "--normal_scores=" in found["run"]["command"]
    np.savez(tmp_path / "normal.npz", a=np.array([np.inf]))
    with pytest.raises(DataError, match="video a has an infinite score"):
        evaluate_scores(path, tmp_path / "out", **options)


def test_the_controls_see_the_frames_where_they_are_given(tmp_path, level_run, synthetic_root):
    own = level_run[1]
    found = evaluate_scores(
        level_run[0] / "scores.npz", tmp_path / "out", data="synthetic", root=synthetic_root
    )
    assert found["controls"] == own["controls"]
    for protocol, variants in own["protocols"].items():
        for name in ("auc_micro", "auc_macro", "ap", "eer"):
            assert found["protocols"][protocol]["raw"][name] == variants["raw"][name]


def test_scores_of_other_frames_than_the_raw_ones_are_refused(tmp_path, synthetic_root):
    folder = synthetic_root / "testing" / "frames"
    names = sorted(path.name for path in folder.iterdir())
    lengths = [len(list((folder / name).iterdir())) for name in names]
    lengths[1] -= 1
    arrays = {name: np.arange(float(n)) for name, n in zip(names, lengths, strict=True)}
    np.savez(tmp_path / "a.npz", **arrays)
    np.save(tmp_path / "labels.npy", np.arange(sum(lengths)) % 2)
    options = {"labels": tmp_path / "labels.npy", "data": "synthetic", "root": synthetic_root}
    with pytest.raises(DataError, match=f"{names[1]} has {lengths[1] + 1} frames in .* scores"):
        evaluate_scores(tmp_path / "a.npz", tmp_path / "out", **options)


def test_a_file_of_ours_of_other_videos_is_refused(tmp_path, scored, labels, synthetic_root):
    write_scores(tmp_path / "scores.npz", scored)
    options = {"labels": labels, "data": "synthetic", "root": synthetic_root}
    with pytest.raises(DataError, match="but the scores are of"):
        evaluate_scores(tmp_path / "scores.npz", tmp_path / "out", **options)
