"""A run's folder: its names, whose it is, what a newer or damaged one says, what is removed."""

import json

import pytest
from support.training import noise

import vad_jax
from vad_jax import config as configs
from vad_jax.runs import workdir as workdirs
from vad_jax.runs.workdir import VERSION, Workdir
from vad_jax.types import CheckpointError, ConfigError

ADAPTED = {"from": "runs/elsewhere"}


@pytest.fixture
def files(tmp_path):
    return Workdir(tmp_path / "run")


@pytest.fixture
def videos():
    return noise(1, 2).videos, noise(3).videos


@pytest.fixture
def claimed(files, level_config, videos):
    """By a run with a checkpoint."""
    workdirs.claim(files, level_config(), *videos)
    saved(files)
    return files


def saved(files):
    """As training leaves a step."""
    manifest = files.checkpoints("level") / "23.sha256.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")


def changed(path, **changes):
    """A JSON file with other entries."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def names_of(files):
    return {path.name for path in files.folder.rglob("*") if path.is_file()}


def test_a_run_leaves_all_its_files(finished_run):
    files = Workdir(finished_run[0])
    expected = (
        files.config, files.data, files.environment, files.log, files.normal, files.normal_windows,
        files.checkpoints("train"), files.scores, files.metrics, files.report, files.pictures,
    )  # fmt: skip
    assert all(path.exists() for path in expected)
    assert {path.parent for path in expected} == {files.folder, files.folder / "checkpoints"}


def test_the_files_of_a_run_have_the_names_that_others_read(files):
    """Runs of earlier versions, and checks from outside, know them by these."""
    names = {
        "config": "config.json", "data": "data.json", "environment": "environment.json",
        "log": "metrics.jsonl", "normal": "normal.npz", "normal_windows": "normal_windows.npz",
        "scores": "scores.npz", "controls": "controls.npz", "metrics": "metrics.json",
        "report": "report.html", "comparison": "comparison.html", "pictures": "pictures",
    }  # fmt: skip
    for attribute, name in names.items():
        assert getattr(files, attribute) == files.folder / name
    assert files.checkpoints("train") == files.folder / "checkpoints" / "train"
    assert files.few_shot("first").name == "shots_first.json"
    assert files.few_shot_scores("first", 5).name == "shots_first_5.npz"
    assert str(files) == str(files.folder)


def test_what_was_made_of_variables_that_are_no_more_is_removed(files):
    results = [
        files.normal, files.normal_windows, files.scores, files.controls, files.metrics,
        files.report, files.comparison, files.few_shot("first"), files.few_shot_scores("first", 5),
    ]  # fmt: skip
    stay = [files.config, files.data, files.environment, files.log, files.folder / "notes.txt"]
    files.checkpoints("train").mkdir(parents=True)
    for path in (*results, *stay):
        path.touch()
    files.forget_results()
    assert set(files.folder.iterdir()) == {*stay, files.folder / "checkpoints"}
    files.forget_results()  # where there are none there is nothing to do


def test_a_claimed_workdir_says_config_and_data(claimed, level_config):
    config, data = workdirs.read(claimed)
    assert config == level_config()
    assert data["training"] == {"01": 20, "02": 20}
    assert data["validation"] == {"03": 20}
    assert json.loads(claimed.data.read_text())["version"] == VERSION


def test_the_digest_is_that_of_config_and_data(files, level_config, videos):
    first = workdirs.claim(files, level_config(), *videos)
    assert workdirs.claim(files, level_config(log_steps=3), *videos) == first
    assert workdirs.digest(*workdirs.read(files)) == first
    elsewhere = Workdir(files.folder.parent / "other")
    rate = level_config(stages__level__learning_rate=0.5)
    assert workdirs.claim(elsewhere, rate, *videos) != first


def test_keys_of_the_evaluation_can_change_without_training_again(run_config):
    digest = configs.digest(run_config(), "data")
    assert configs.digest(run_config(memory__update="never", weights__score=0.9), "data") == digest
    assert configs.digest(run_config(weights__compact=0.9), "data") != digest


def test_another_config_is_refused_with_each_difference(claimed, level_config, videos):
    other = level_config(stages__level__learning_rate=0.5, seed=3)
    said = r"(?s)another config:.*seed: 3 here, 0 there.*learning_rate: 0.5 here, 0.01 there"
    with pytest.raises(CheckpointError, match=said):
        workdirs.claim(claimed, other, *videos)


def test_other_data_are_refused(claimed, level_config, videos):
    with pytest.raises(CheckpointError, match="data: other videos, lengths or bytes than those"):
        workdirs.claim(claimed, level_config(), noise(1, 4).videos, videos[1])


def test_more_epochs_of_a_constant_rate_are_the_same_run_and_fewer_are_not(
    claimed, level_config, videos
):
    workdirs.claim(claimed, level_config(stages__level__epochs=3), *videos)
    with pytest.raises(CheckpointError, match=r"stages.level.epochs: 2 here, 3 there"):
        workdirs.claim(claimed, level_config(), *videos)


def test_more_epochs_of_a_cosine_are_another_run(files, level_config, videos):
    cosine = {"stages__level__schedule": "cosine"}
    workdirs.claim(files, level_config(**cosine), *videos)
    saved(files)
    with pytest.raises(CheckpointError, match=r"stages.level.epochs: 3 here, 2 there"):
        workdirs.claim(files, level_config(stages__level__epochs=3, **cosine), *videos)


# A start that failed


def test_a_start_without_a_checkpoint_has_not_claimed_the_workdir(files, level_config, videos):
    first = workdirs.claim(files, level_config(seed=3), *videos)
    files.log.write_text("of a start that came to no checkpoint\n")
    second = workdirs.claim(files, level_config(), *videos)
    assert second != first
    assert workdirs.read(files)[0] == level_config()
    assert not files.log.exists()


@pytest.mark.parametrize("result", ["normal", "scores", "metrics"])
def test_results_hold_a_workdir_whose_checkpoints_are_gone(files, result, level_config, videos):
    workdirs.claim(files, level_config(), *videos)
    getattr(files, result).touch()
    with pytest.raises(CheckpointError, match="seed: 3 here, 0 there"):
        workdirs.claim(files, level_config(seed=3), *videos)


def test_a_config_of_something_else_is_not_written_over(files, level_config, videos):
    files.folder.mkdir()
    files.config.write_text("{}")
    with pytest.raises(CheckpointError, match=r"holds no run|damaged"):
        workdirs.claim(files, level_config(), *videos)
    assert files.config.read_text() == "{}"


# Versions and damage


def test_a_run_of_a_newer_version_says_so(claimed):
    changed(claimed.data, version=VERSION + 1)
    said = rf"written by a newer vad_jax \(files of version {VERSION + 1}.*update vad_jax"
    with pytest.raises(CheckpointError, match=said):
        workdirs.read(claimed)


def test_the_first_runs_say_no_version_and_are_read(claimed):
    data = json.loads(claimed.data.read_text())
    del data["version"]
    claimed.data.write_text(json.dumps(data))
    assert workdirs.read(claimed)[1] == data


def test_a_key_that_this_version_does_not_know_is_named(claimed):
    changed(claimed.config, depth=3)
    with pytest.raises(ConfigError, match=r"has the key 'depth', .*may be of a newer one"):
        workdirs.read(claimed)


@pytest.mark.parametrize("missing", ["config", "data"])
def test_a_folder_without_a_run_is_named(claimed, missing):
    getattr(claimed, missing).unlink()
    with pytest.raises(CheckpointError, match=rf"holds no run \({missing}.json is missing\)"):
        workdirs.read(claimed)


def test_a_data_file_that_lacks_an_entry_is_damaged(claimed):
    claimed.data.write_text(json.dumps({"identity": "x", "training": {}}))
    with pytest.raises(CheckpointError, match=r"damaged data.json, an entry is missing"):
        workdirs.read(claimed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[1, 2]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"method": "../x"}'),
        ("data.json", b"{}"),
        ("data.json", b"[]"),
        ("normal.npz", b"PK"),
    ],
)
def test_a_damaged_workdir_is_named(copied, name, content):
    (copied / name).write_bytes(content)
    with pytest.raises(
        (CheckpointError, ConfigError), match=r"damaged|there is no vad_jax/methods"
    ):
        vad_jax.load(copied)


# Runs that are adapted from others


def adapt(files, config, *, fails=False):
    data = {"identity": "x", "training": {}, "validation": {}}
    with workdirs.derived(files, config, data, adapted=ADAPTED) as digest:
        files.checkpoints("level").mkdir(parents=True)
        files.normal.touch()
        if fails:
            raise KeyboardInterrupt
    return digest


def test_an_adapted_run_says_from_what_and_is_not_trained_on(files, level_config, videos):
    digest = adapt(files, level_config())
    config, data = workdirs.read(files)
    assert data["adapted"] == ADAPTED
    assert digest == workdirs.digest(config, data)
    with pytest.raises(CheckpointError, match=r"was adapted from runs/elsewhere and holds no"):
        workdirs.claim(files, level_config(), *videos)


def test_an_adaptation_that_was_interrupted_is_no_run_and_begins_anew(files, level_config, videos):
    with pytest.raises(KeyboardInterrupt):
        adapt(files, level_config(), fails=True)
    with pytest.raises(CheckpointError, match=r"holds no run \(config.json is missing\)"):
        workdirs.read(files)
    with pytest.raises(CheckpointError, match="holds an adaptation that was interrupted: give"):
        workdirs.claim(files, level_config(), *videos)
    (files.checkpoints("level") / "left").touch()
    adapt(files, level_config())
    assert names_of(files) == {"config.json", "data.json", "environment.json", "normal.npz"}
