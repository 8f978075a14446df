"""The threshold that a run holds footage against: from its evaluation, or its normal footage."""

import json

import numpy as np
import pytest

import vad_jax
from vad_jax.runs import normal
from vad_jax.runs.alarm_threshold import threshold_of_run
from vad_jax.runs.workdir import Workdir


@pytest.fixture
def run(copied):
    return vad_jax.load(copied), Workdir(copied)


def with_rate(files, fps):
    with np.load(files.normal_windows) as arrays:
        kept = dict(arrays)
    np.savez(files.normal_windows, **kept | {"fps": np.array(fps)})


def test_a_run_that_was_not_evaluated_is_calibrated_as_its_evaluation_would(run):
    detector, files = run
    evaluated = threshold_of_run("calibrated", detector, files)
    assert evaluated.value is not None
    files.metrics.unlink()
    with_rate(files, 10.0)
    assert threshold_of_run("calibrated", detector, files).value == evaluated.value


def test_a_rate_that_is_not_known_can_be_given(run):
    detector, files = run
    files.metrics.unlink()
    with_rate(files, 0.0)
    unknown = threshold_of_run("calibrated", detector, files)
    assert unknown.value is None
    assert "--fps" in unknown.why
    assert threshold_of_run("calibrated", detector, files, fps=10.0).value is not None


def test_an_evaluation_of_other_variables_does_not_count(run):
    detector, files = run
    metrics = json.loads(files.metrics.read_text())
    metrics["run"]["checkpoint_step"] += 1
    metrics["calibration"]["threshold"] = 123.0
    files.metrics.write_text(json.dumps(metrics))
    assert threshold_of_run("calibrated", detector, files, fps=10.0).value != 123.0


def test_what_was_trained_on_makes_a_threshold_that_is_warned_of(run):
    detector, files = run
    files.metrics.unlink()
    with np.load(files.normal_windows) as arrays:
        kept = dict(arrays)
    np.savez(files.normal_windows, **kept | {"source": np.array("training")})
    assert "trained on" in threshold_of_run("calibrated", detector, files, fps=10.0).warning


def test_the_highest_normal_score_is_known_whatever_the_threshold(run):
    detector, files = run
    highest = max(np.nanmax(video) for video in normal.scores(detector, files).scores)
    for given in ("calibrated", "none", 3.5):
        assert threshold_of_run(given, detector, files).highest == highest
