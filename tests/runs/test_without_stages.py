"""A method that learns nothing is trained, loaded, evaluated and gone on with like any other."""

import json
import shutil

import jax
import numpy as np
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.training import train
from vad_jax.runs.workdir import Workdir
from vad_jax.types import IDLE, CheckpointError


@pytest.fixture(scope="module")
def config(toy_methods, synthetic_root):
    config = configs.defaults("still")
    config.evaluate_at_end = False
    config.data.update(
        name="synthetic",
        root=str(synthetic_root),
        cache=str(synthetic_root.parent / "cache"),
        validation=("05",),
    )
    return config


@pytest.fixture(scope="module")
def still_run(config, once):
    """The workdir of a run of `still`; not to be changed."""

    def make(folder):
        train(config, folder)
        evaluate(folder)

    return once("still", make)


def test_its_variables_are_a_checkpoint_of_step_0(still_run):
    files = Workdir(still_run)
    folder = files.checkpoints(IDLE.name)
    assert {path.name for path in folder.iterdir()} == {"0", "0.sha256.json"}
    assert not files.log.exists()


def test_it_has_statistics_scores_and_figures(still_run):
    files = Workdir(still_run)
    detector = vad_jax.load(still_run)
    assert detector.about["step"] == 0
    assert detector.statistics["excess"]["count"] == 14 * 16  # windows of 16 at step 8 in 120
    metrics = json.loads(files.metrics.read_text())
    assert metrics["data"]["scored"] == 6 * 120
    assert files.report.exists()


def test_it_scores_a_video_as_it_was_evaluated(still_run):
    frames = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    detector = vad_jax.load(still_run)
    result, again = detector.score(frames), vad_jax.load(still_run).score(frames)
    np.testing.assert_array_equal(result.score, again.score)
    assert np.isfinite(result.score).all()


def test_given_again_it_changes_nothing(config, still_run, tmp_path):
    workdir = shutil.copytree(still_run, tmp_path / "run")
    seal = Workdir(workdir).checkpoints(IDLE.name) / "0.sha256.json"
    before, expected = seal.read_bytes(), vad_jax.load(workdir).variables
    train(config, workdir)
    assert seal.read_bytes() == before
    jax.tree.map(np.testing.assert_array_equal, vad_jax.load(workdir).variables, expected)


def test_a_run_that_was_interrupted_goes_on(config, still_run, tmp_path):
    workdir = shutil.copytree(still_run, tmp_path / "run")
    Workdir(workdir).normal.unlink()
    with pytest.raises(CheckpointError, match=r"not finished \(no normal.npz, checkpoint at step"):
        vad_jax.load(workdir)
    train(config, workdir)
    assert vad_jax.load(workdir).statistics == vad_jax.load(still_run).statistics
    assert evaluate(workdir)["data"]["scored"] == 6 * 120
