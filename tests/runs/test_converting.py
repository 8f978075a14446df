"""A published state dict becomes a run that scores as the network does that it came from."""

import shutil

import jax
import numpy as np
import pytest

import vad_jax
from vad_jax.interop import torch as names
from vad_jax.runs import normal
from vad_jax.runs.converting import convert
from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.training import train
from vad_jax.types import CheckpointError, ConfigError, DataError


@pytest.fixture(scope="module")
def given(finished_run, tmp_path_factory):
    """The finished run's network as PyTorch would have saved it, and its detector."""
    detector = vad_jax.load(finished_run[0])
    folder = tmp_path_factory.mktemp("published")
    np.savez(folder / "state.npz", **names.tensors(detector.config, detector.variables))
    np.save(folder / "items.npy", detector.variables["state"]["memory"])
    return folder, detector


@pytest.fixture(scope="module")
def converted(given, run_config, tmp_path_factory):
    """The workdir that is made of it."""
    folder = given[0]
    workdir = tmp_path_factory.mktemp("converted") / "run"
    convert(run_config(), folder / "state.npz", workdir, memory=folder / "items.npy")
    return workdir


@pytest.fixture
def copied(converted, tmp_path):
    """The same in another place, to be changed."""
    return shutil.copytree(converted, tmp_path / "run")


def test_there_and_back_is_the_same(given):
    _, detector = given
    tensors = names.tensors(detector.config, detector.variables)
    memory = np.asarray(detector.variables["state"]["memory"])
    again = names.variables(detector.config, tensors, memory=memory)
    jax.tree.map(np.testing.assert_array_equal, again, detector.variables)


def test_the_run_is_evaluated_like_the_one_it_came_from(given, copied, finished_run):
    _, detector = given
    loaded = vad_jax.load(copied)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, detector.variables)
    assert loaded.statistics == detector.statistics
    metrics = evaluate(copied)
    assert metrics["results"] == finished_run[1]["results"]


def test_training_takes_it_for_complete(given, copied, run_config):
    _, detector = given
    train(run_config(evaluate_at_end=False), copied)
    loaded = vad_jax.load(copied)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, detector.variables)


def test_a_workdir_with_other_checkpoints_is_not_written_over(given, copied, run_config):
    folder, _ = given
    with pytest.raises(CheckpointError, match="holds another checkpoint already"):
        convert(run_config(), folder / "state.npz", copied)


def test_an_interrupted_conversion_goes_on(given, run_config, tmp_path, monkeypatch):
    folder, detector = given
    arguments = run_config(), folder / "state.npz", tmp_path / "run"

    def interrupted(*_, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(normal, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(*arguments, memory=folder / "items.npy")
    monkeypatch.undo()
    convert(*arguments, memory=folder / "items.npy")
    assert vad_jax.load(tmp_path / "run").statistics == detector.statistics


def test_tensors_of_another_width_are_named(given, run_config, tmp_path):
    folder, _ = given
    with pytest.raises(
        DataError, match=r"task prediction, width 8\. Check that these keys are those"
    ):
        convert(run_config(width=8), folder / "state.npz", tmp_path / "run")


def test_learned_step_sizes_come_along(meta_run, tmp_path):
    detector = vad_jax.load(meta_run[0])
    variables = detector.variables
    np.savez(tmp_path / "state.npz", **names.tensors(detector.config, variables["params"]))
    sizes = names.tensors(detector.config, variables["state"]["step_size"])
    np.savez(tmp_path / "sizes.npz", **sizes)
    given = tmp_path / "state.npz", tmp_path / "run"
    convert(detector.config, *given, step_size=tmp_path / "sizes.npz")
    loaded = vad_jax.load(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
    config = detector.config.copy_and_resolve_references()
    config.stage_names = ("joint",)
    with pytest.raises(ConfigError, match=r"stage_names=.*learns step sizes"):
        convert(config, given[0], tmp_path / "no", step_size=tmp_path / "sizes.npz")
    assert not (tmp_path / "no").exists()
