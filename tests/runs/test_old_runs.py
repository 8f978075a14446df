"""Runs of an earlier version: they load, score, are evaluated and go on as they did there.

Their figures were computed on another machine: in float32 sums come in another order. A flip of two
frames of one pair in order moves an AUC of 44 by 44 of them by 5e-4; 1e-3 lets one pass.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax import evaluation
from vad_jax.runs import training
from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.testset import open_testset
from vad_jax.types import CheckpointError, ConfigError

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module", params=["mnad", "mpn"])
def kept(request, tmp_path_factory):
    """The workdir of a run as it was kept; nothing may change it."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(DATA / f"run_{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / request.param


@pytest.fixture
def workdir(kept, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(kept, tmp_path / kept.name)


@pytest.fixture(scope="module")
def evaluated(kept, synthetic_root, tmp_path_factory):
    """The run evaluated by this version: its workdir and its metrics."""
    place = shutil.copytree(kept, tmp_path_factory.mktemp("evaluated") / "run")
    return place, evaluate(place, root=synthetic_root)


def trained_on(workdir, synthetic_root, **changes):
    """The config that made a run, on the data where they lie here; keys by `section__name`."""
    config = configs.from_json((workdir / "config.json").read_text())
    given = {"data__root": str(synthetic_root), "data__cache": str(synthetic_root.parent / "cache")}
    flat = {key.replace("__", "."): value for key, value in (given | changes).items()}
    config.update_from_flattened_dict(flat)
    return config


def aucs(metrics):
    """Every AUC of a protocol, by where it stands."""
    return {
        (protocol, variant, name): figure["value"]
        for protocol, variants in metrics["protocols"].items()
        for variant, figures in variants.items()
        for name, figure in figures.items()
        if "auc" in name
    }


def test_figures_are_those_of_the_version_that_trained(kept, evaluated):
    there = evaluation.read_metrics(kept / "metrics.json")
    before, after = aucs(there), aucs(evaluated[1])
    assert before.keys() == after.keys()
    assert len(before) == 24
    assert not {name for name, value in before.items() if value is None}
    for name, value in before.items():
        assert after[name] == pytest.approx(value, abs=1e-3), name


def test_score_parts_are_those_of_the_version_that_trained(kept, evaluated):
    there = evaluation.read_scores(kept / "scores.npz")
    here = evaluation.read_scores(evaluated[0] / "scores.npz")
    assert there.names == here.names
    assert there.parts.keys() == here.parts.keys()
    for name, videos in there.parts.items():
        before, after = np.concatenate(videos), np.concatenate(here.parts[name])
        assert np.isfinite(before).sum() == 174, name
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-7, err_msg=name)


def test_a_threshold_is_calibrated_on_the_normal_windows_that_were_kept(kept, evaluated):
    before = evaluation.read_metrics(kept / "metrics.json")["calibration"]
    after = evaluated[1]["calibration"]
    assert after["threshold"] == pytest.approx(before["threshold"], rel=1e-4)
    assert (after["source"], after["videos"]) == ("held-out", 1)
    assert after["rate_per_hour"] == before["rate_per_hour"]


def test_a_user_scores_a_video_as_the_evaluation_does(kept, evaluated, synthetic_root):
    detector = vad_jax.load(kept)
    detector.config.data.root = str(synthetic_root)
    scored = evaluation.read_scores(evaluated[0] / "scores.npz")
    video = open_testset(detector.config).videos(detector)[0]
    found = detector.score(video.stream())
    expected = scored.scores["online_raw"][0]  # of batches with other rows: rounding over a spread
    np.testing.assert_allclose(found.score, expected, rtol=1e-4, atol=1e-4)


def test_its_training_command_is_accepted(workdir, synthetic_root):
    before = (workdir / "metrics.jsonl").read_bytes()
    config = trained_on(workdir, synthetic_root, evaluate_at_end=False)
    training.train(config, workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == before  # no step was needed
    vad_jax.load(workdir)


@pytest.mark.parametrize("kept", ["mnad"], indirect=True)
def test_training_goes_on_as_it_did_there(workdir, synthetic_root):
    expected = [json.loads(line) for line in (workdir / "longer.jsonl").read_text().splitlines()]
    config = trained_on(workdir, synthetic_root, stages__train__epochs=4, evaluate_at_end=False)
    training.train(config, workdir)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    found = {(line["split"], line["step"]): line for line in lines}
    assert {line["step"] for line in expected} == {80, 90, 92}
    for line in expected:
        own = found[line["split"], line["step"]]
        assert own["loss"] == pytest.approx(line["loss"], rel=1e-3)
        assert own["learning_rate"] == line["learning_rate"]


@pytest.mark.parametrize("kept", ["mnad"], indirect=True)
def test_a_run_of_a_newer_version_is_refused(kept, workdir, synthetic_root):
    data = json.loads((workdir / "data.json").read_text())
    (workdir / "data.json").write_text(json.dumps({"version": 99, **data}))
    again = trained_on(kept, synthetic_root)
    for use in (vad_jax.load, evaluate, lambda folder: training.train(again, folder)):
        with pytest.raises(CheckpointError, match=r"newer vad_jax \(files of version 99.*update"):
            use(workdir)


@pytest.mark.parametrize("kept", ["mnad"], indirect=True)
def test_a_key_that_this_version_does_not_know_is_named(workdir):
    config = json.loads((workdir / "config.json").read_text())
    config["memory"]["colour"] = "green"
    (workdir / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"memory\.colour.*may be of a newer one"):
        vad_jax.load(workdir)
