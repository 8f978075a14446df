"""Runs that go on, begin from others, or may not: what training decides before its first step."""

import json

import jax
import numpy as np
import pytest
from support.training import lines

import vad_jax
from vad_jax.runs.training import _started, train
from vad_jax.runs.workdir import Workdir
from vad_jax.types import CheckpointError, ConfigError, DataError


def test_the_log_has_losses_rates_speed_and_held_out_losses(finished_run):
    entries = lines(finished_run[0])
    training = [entry for entry in entries if entry["split"] == "train"]
    validation = [entry for entry in entries if entry["split"] == "validation"]
    assert len(validation) == 2
    assert set(training[0]["parts"]) == {"pixel", "compact", "separate"}
    assert all(entry["clips_per_second"] > 0 for entry in training)
    rates = [entry["learning_rate"] for entry in training]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(5e-4)
    assert validation[-1]["loss"] < validation[0]["loss"]


def test_a_finished_run_given_again_is_only_evaluated(level_config, copied):
    files = Workdir(copied)
    log, variables = files.log.read_bytes(), vad_jax.load(copied).variables
    figures = train(level_config(), copied)
    assert files.log.read_bytes() == log
    jax.tree.map(np.testing.assert_array_equal, vad_jax.load(copied).variables, variables)
    assert figures["protocols"].keys() == json.loads(files.metrics.read_text())["protocols"].keys()


def test_more_epochs_of_a_constant_rate_go_on_to_the_bits_of_one_run(
    level_config, copied, tmp_path
):
    longer = level_config(stages__level__epochs=3, evaluate_at_end=False)
    train(longer, copied)
    train(longer, tmp_path / "at once")
    found, expected = (vad_jax.load(run).variables for run in (copied, tmp_path / "at once"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not Workdir(copied).metrics.exists()  # it was of fewer steps


def test_checkpoints_of_another_run_are_refused(level_config, copied):
    """Config and checkpoints say different rates: one of them is another run's."""
    config = level_config(stages__level__learning_rate=2e-3)
    stored = json.loads(Workdir(copied).config.read_text())
    stored["stages"]["level"]["learning_rate"] = 2e-3
    Workdir(copied).config.write_text(json.dumps(stored))
    for take in (lambda: train(config, copied), lambda: vad_jax.load(copied)):
        with pytest.raises(CheckpointError, match=r"step \d+ was saved by a run of another config"):
            take()


def test_a_workdir_of_another_config_is_refused_with_the_difference(run_config, finished_run):
    with pytest.raises(CheckpointError, match=r"(?s)another config.*width: 8 here, 4 there"):
        train(run_config(width=8), finished_run[0])


def test_a_run_can_start_from_an_earlier_one(level_config, level_run, tmp_path):
    config = level_config(init_from=str(level_run[0]), evaluate_at_end=False, seed=1)
    begun = _started(vad_jax.create(config), config)
    earlier = vad_jax.load(level_run[0]).variables
    jax.tree.map(np.testing.assert_array_equal, begun, earlier)
    train(config, tmp_path / "second")
    first, second = lines(level_run[0])[0], lines(tmp_path / "second")[0]
    assert second["loss"] < first["loss"]


def test_what_an_earlier_run_measured_is_begun_with(level_config, level_run):
    config = level_config(init_from=str(level_run[0]))
    method = vad_jax.create(config)
    begun = method.stages[0].begin(_started(method, config))
    found = begun["state"]["measured"]["excess"]
    fresh = method.init(jax.random.key(0))["state"]["measured"]["excess"]
    measured = vad_jax.load(level_run[0]).variables["state"]["measured"]["excess"]
    for name in ("mean", "std"):
        assert found[name] == measured[name] != fresh[name]


def test_held_out_names_must_be_training_videos(level_config, tmp_path):
    with pytest.raises(ConfigError, match=r"data.validation names 99; the training videos are 01"):
        train(level_config(data__validation=("99",)), tmp_path / "run")


def test_videos_shorter_than_a_window_are_an_error_if_none_is_left(run_config, tmp_path):
    config = run_config(input__stride=40)
    with pytest.raises(DataError, match=r"No training video has a window of 161 whole frames"):
        train(config, tmp_path / "run")


def test_no_root_is_named(level_config, tmp_path):
    config = level_config()
    config.data.root = None
    with pytest.raises(ConfigError, match=r"data.root is not set"):
        train(config, tmp_path / "run")
