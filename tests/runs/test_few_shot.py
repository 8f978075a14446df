"""K-shot evaluation: the same frames for every K, none shared with the support, each anew."""

import json

import numpy as np
import pytest

import vad_jax
from vad_jax import evaluation
from vad_jax.runs.few_shot import evaluate_shots, few_shot
from vad_jax.runs.testset import open_testset
from vad_jax.types import ConfigError, DataError


@pytest.fixture(scope="module")
def detector(level_run):
    return vad_jax.load(level_run[0])


@pytest.fixture(scope="module")
def test_videos(detector):
    """Decoded test videos, and their labels by name."""
    tests = open_testset(detector.config)
    videos = tests.videos(detector)
    return videos, tests.labels(videos).values


@pytest.fixture(scope="module")
def found(detector, test_videos):
    how = {"support": "first", "steps": 2, "learning_rate": 1e-2}
    return few_shot(detector, *test_videos, [0, 1, 3], **how)


def table(own):
    figures = evaluation.few_shot_figures(own.scored, scenes=own.scenes, replicates=50)
    return evaluation.few_shot_table({"a": own.scored}, {"a": figures}, scenes=own.scenes)


def test_every_k_is_scored_on_the_same_frames(found):
    finite = [
        [np.isfinite(v).tolist() for v in scored.scores["paper_raw"]]
        for scored in found.scored.values()
    ]
    assert finite[0] == finite[1] == finite[2]
    # Step 4: three windows of support are frames 0 to 12, the first other window begins at 16.
    assert np.flatnonzero(finite[0][0])[0] == 20


def test_intervals_are_over_scenes_unless_all_videos_show_one(detector, test_videos):
    videos, labels = test_videos
    by_two = {video.name: str(i // 2) for i, video in enumerate(videos)}
    own = few_shot(detector, videos, labels, [0, 1], steps=1, scenes=by_two)
    assert own.scenes == tuple(by_two[name] for name in own.scored[0].names)
    assert "too few scenes to say: 3 of both classes" in " ".join(table(own).split())
    of_one = few_shot(detector, videos, labels, [0, 1], steps=1, scenes=dict.fromkeys(by_two, "0"))
    assert of_one.scenes is None
    assert "intervals over videos" in " ".join(table(of_one).split())


def test_no_shot_is_the_run_itself_on_those_frames(detector, test_videos, found):
    whole = detector.score(list(test_videos[0][0].stream()))
    few = found.scored[0].scores["online_raw"][0]
    given_ = np.isfinite(few)
    np.testing.assert_array_equal(few[given_], whole.score[given_])


def test_shots_change_scores_and_each_video_begins_anew(detector, test_videos, found):
    videos, labels = test_videos
    alone = few_shot(detector, videos[2:3], labels, [0, 1, 3], steps=2, learning_rate=1e-2)
    for number in (1, 3):
        own = found.scored[number].scores["online_raw"]
        base = found.scored[0].scores["online_raw"]
        assert not np.array_equal(own[2], base[2], equal_nan=True)
        expected = alone.scored[number].scores["online_raw"][0]
        np.testing.assert_allclose(own[2], expected, rtol=1e-4, atol=1e-4)
    losses = np.array(found.losses[3])
    assert losses.shape == (len(videos), 2)
    assert (losses[:, 1] < losses[:, 0]).all()


def test_steps_that_nobody_says_are_found_for_each_video(detector, test_videos):
    own = few_shot(detector, test_videos[0][:1], test_videos[1], [0, 4])
    (plan,), (losses,) = own.plans[4], own.losses[4]
    assert own.plans[0] == []
    assert len(losses) == plan.steps
    assert plan.after <= plan.before


def test_figures_and_differences_are_those_of_the_evaluation(found):
    rows = evaluation.few_shot_figures(found.scored, replicates=50)
    assert list(rows) == ["0", "1", "3"]
    scored = found.scored[3]
    expected = evaluation.auc_micro(scored.labels, scored.scores["paper_raw"])
    assert rows["3"]["paper"]["auc_micro"]["value"] == pytest.approx(expected, abs=1e-12)
    gap = rows["3"]["paper"]["auc_micro_difference"]
    base = rows["0"]["paper"]["auc_micro"]["value"]
    assert gap["value"] == pytest.approx(expected - base, abs=1e-12)
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert "auc_micro_difference" not in rows["0"]["paper"]


def test_too_many_shots_name_the_videos(detector, test_videos):
    with pytest.raises(DataError, match=r"01: 29 windows to adapt on.*Ask for fewer"):
        few_shot(detector, *test_videos, [0, 500], steps=1)


def test_evaluate_shots_writes_scores_and_figures(copied, capsys):
    workdir = copied
    results = evaluate_shots([workdir], [0, 2], support="normal")
    kept = json.loads((workdir / "shots_normal.json").read_text())
    assert (
        kept["shots"]["2"]["online"]["auc_micro"]
        == results["run"]["shots"]["2"]["online"]["auc_micro"]
    )
    scored = evaluation.read_scores(workdir / "shots_normal_2.npz")
    expected = evaluation.auc_micro(scored.labels, scored.scores["online_raw"])
    assert kept["shots"]["2"]["online"]["auc_micro"]["value"] == pytest.approx(expected)
    assert "minus 0 shots" in capsys.readouterr().out
    before = (workdir / "shots_normal.json").read_bytes()
    evaluate_shots([workdir], [0, 1], support="normal", data="folder")
    assert (workdir / "shots_normal.json").read_bytes() == before
    assert (workdir / "shots_folder_normal_1.npz").exists()
    for wrong in ([], [0], [1, 1], [-1, 2]):
        with pytest.raises(ConfigError, match="--shots"):
            evaluate_shots([workdir], wrong)
