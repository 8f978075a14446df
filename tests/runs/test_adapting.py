"""`vad_jax.adapt`: a workdir that scores and is evaluated, and what it refuses."""

import json
import re
import shutil

import cv2
import jax
import numpy as np
import pytest
from support import films

import vad_jax
from vad_jax import adapt as command
from vad_jax import config
from vad_jax.learning import loop, step_search
from vad_jax.runs import normal
from vad_jax.runs.adapting import adapt
from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.training import train
from vad_jax.runs.workdir import Workdir
from vad_jax.types import CheckpointError, ConfigError, DataError, TrainingError

# The toy method knows no appearance: what moves much in one window and not in others stands out.
HOW = {"shots": 4, "steps": 2, "accept_outliers": True}


@pytest.fixture(scope="module")
def scene(synthetic_root):
    """Normal footage: one video as a folder of frames."""
    return synthetic_root / "training" / "frames" / "01"


@pytest.fixture(scope="module")
def moved(level_run, scene, tmp_path_factory):
    """A run of the toy method, adapted to the scene."""
    output = tmp_path_factory.mktemp("moved") / "run"
    return output, adapt(level_run[0], scene, output, **HOW)


@pytest.fixture(scope="module")
def adapted(meta_run, scene, tmp_path_factory):
    """A run with learned step sizes, adapted to the scene."""
    output = tmp_path_factory.mktemp("adapted") / "run"
    return output, adapt(meta_run[0], scene, output, shots=4, steps=2)


def test_the_loss_on_the_support_falls(adapted):
    found = adapted[1]
    assert found["loss_after"] < found["loss_before"]
    assert found["shots"] == 4
    assert found["outlier"] < 3


def test_the_workdir_is_one_like_any_other(meta_run, adapted, synthetic_root):
    before, after = vad_jax.load(meta_run[0]), vad_jax.load(adapted[0])
    frozen = ("params", "encoder", "block1", "conv1", "kernel")
    moved = ("params", "decoder", "out", "kernel")
    for path, same in ((frozen, True), (moved, False)):
        a, b = (d.variables for d in (before, after))
        for name in path:
            a, b = a[name], b[name]
        assert np.array_equal(a, b) == same
    how = after.about["data"]["adapted"]
    assert (how["from"], how["shots"], how["steps"]) == (str(meta_run[0]), 4, 2)
    metrics = evaluate(adapted[0], root=synthetic_root)
    assert metrics["protocols"]["online"]["raw"]["auc_micro"]["value"] is not None
    assert metrics["run"]["recipe_hash"] is None  # not a seed of the run that it comes from


def test_two_scenes_are_two_runs(moved, level_run, synthetic_root, tmp_path):
    other = synthetic_root / "training" / "frames" / "02"
    adapt(level_run[0], other, tmp_path / "run", **HOW)
    a, b = (
        vad_jax.load(workdir).about["data"]["adapted"] for workdir in (moved[0], tmp_path / "run")
    )
    assert a["support"] != b["support"]


def test_no_step_changes_no_parameter(level_run, scene, tmp_path):
    found = adapt(level_run[0], scene, tmp_path / "run", shots=3, steps=0)
    assert found["loss_after"] == found["loss_before"]
    a, b = (vad_jax.load(w).variables["params"] for w in (level_run[0], tmp_path / "run"))
    np.testing.assert_array_equal(a["level"], b["level"])


def test_steps_that_leave_what_is_finite_write_nothing(level_run, scene, tmp_path):
    with pytest.raises(TrainingError, match=r"not finite.*--learning_rate"):
        adapt(level_run[0], scene, tmp_path / "run", shots=2, steps=5, learning_rate=1e300)
    assert not (tmp_path / "run" / "config.json").exists()


def test_normal_clips_are_those_of_the_scene_that_were_not_adapted_on(moved, level_run):
    # 120 frames, step 4: 29 windows; 4 of them are support, and one more shares their last frame.
    assert moved[1]["measured"] == 24
    after, before = vad_jax.load(moved[0]), vad_jax.load(level_run[0])
    assert after.statistics["excess"]["count"] == 24
    assert after.statistics["excess"]["mean"] != before.statistics["excess"]["mean"]


def test_little_footage_keeps_the_statistics_and_says_so(level_run, scene, tmp_path, caplog):
    short = tmp_path / "short"
    short.mkdir()
    for path in sorted(scene.iterdir())[:24]:
        shutil.copy(path, short)
    found = adapt(level_run[0], short, tmp_path / "run", shots=3)
    assert found["measured"] == 0
    assert "stay those of" in caplog.text
    kept = vad_jax.load(tmp_path / "run").statistics
    assert kept == vad_jax.load(level_run[0]).statistics


def test_a_support_that_disagrees_is_refused_unless_told_otherwise(level_run, scene, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(scene, odd)
    rng = np.random.default_rng(0)
    for path in sorted(odd.iterdir())[16:17]:
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64), np.uint8))
    with pytest.raises(DataError, match=r"frames from 1[26] on.*times the loss.*--accept_outliers"):
        adapt(level_run[0], odd, tmp_path / "run", shots=7)
    assert not (tmp_path / "run" / "config.json").exists()
    found = adapt(level_run[0], odd, tmp_path / "run", shots=7, accept_outliers=True)
    assert found["outlier"] > 3


def test_a_spread_support_lies_over_all_videos(level_run, synthetic_root, tmp_path):
    found = adapt(
        level_run[0],
        synthetic_root / "training",
        tmp_path / "run",
        shots=6,
        support="spread",
        accept_outliers=True,
    )
    assert found["measured"] > 5 * 24 - 6 * 3  # a window of each video and its neighbours are out


def test_another_method_is_fine_tuned_at_a_rate(level_run, scene, tmp_path):
    how = HOW | {"steps": 3, "learning_rate": 1e-3}
    found = adapt(level_run[0], scene, tmp_path / "run", **how)
    assert found["loss_after"] < found["loss_before"]
    assert vad_jax.load(tmp_path / "run").config.adapt.learning_rate == 1e-3


def test_by_default_a_rate_is_found_and_adapts(level_run, scene, tmp_path, capsys):
    output = tmp_path / "run"
    given = {"workdir": level_run[0], "source": scene, "output": output, "accept_outliers": True}
    assert command.main([f"--{name}={value}" for name, value in given.items()]) == 0
    said = capsys.readouterr().out
    assert re.search(r"Adapted to 10 windows in \d+ steps? at the rate \S+: their loss", said)
    found = re.search(r"held-out halves: loss (\S+) before, (\S+) after", said)
    before, after = map(float, found.groups())
    assert after < 0.99 * before
    how = vad_jax.load(output).about["data"]["adapted"]
    assert how["steps"] > 0
    assert how["learning_rate"] > 0


def test_where_no_step_helps_the_parameters_stay_and_this_is_said(
    level_run, scene, tmp_path, monkeypatch
):
    monkeypatch.setattr(step_search, "GAIN", 1.0)  # nothing is help enough
    found = adapt(level_run[0], scene, tmp_path / "run", shots=4, accept_outliers=True)
    assert (found["steps"], found["measured"]) == (0, 24)
    assert found["loss_after"] == found["loss_before"]
    assert "no step that was tried" in found["says"]
    a, b = (vad_jax.load(w) for w in (level_run[0], tmp_path / "run"))
    np.testing.assert_array_equal(a.variables["params"]["level"], b.variables["params"]["level"])
    assert a.statistics != b.statistics, "those of the scene"


def test_where_nothing_is_adapted_nothing_is_written(level_run, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(step_search, "GAIN", 1.0)
    short = tmp_path / "short"
    short.mkdir()
    for path in sorted(scene.iterdir())[:24]:
        shutil.copy(path, short)
    with pytest.raises(DataError, match=r"Nothing would be adapted.*Give more footage, or --steps"):
        adapt(level_run[0], short, tmp_path / "run", shots=3, accept_outliers=True)
    assert not (tmp_path / "run" / "config.json").exists()


def test_normal_footage_of_films_keeps_their_rate(level_run, tmp_path):
    film = films.write(tmp_path / "a.avi", frames=150, fps=12)
    adapt(level_run[0], film, tmp_path / "run", **HOW)
    assert normal.rate(Workdir(tmp_path / "run")) == 12


def test_a_whole_data_set_is_no_footage_of_a_scene(level_run, synthetic_root, tmp_path):
    with pytest.raises(DataError, match=r"a whole data set.*Name it, .*training"):
        adapt(level_run[0], synthetic_root, tmp_path / "run", shots=3)


def test_learned_step_sizes_outlive_fine_tuning_at_a_rate(meta_run, scene, tmp_path):
    adapt(meta_run[0], scene, tmp_path / "run", shots=3, learning_rate=1e-3)
    a, b = (
        vad_jax.load(w).variables["state"]["step_size"] for w in (meta_run[0], tmp_path / "run")
    )
    np.testing.assert_array_equal(a["decoder"]["out"]["bias"], b["decoder"]["out"]["bias"])


def test_an_adapted_run_is_not_trained_on(moved):
    stored = config.from_json((moved[0] / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"adapted from"):
        train(stored, moved[0])


def test_a_command_that_was_interrupted_can_be_given_again(
    moved, level_run, scene, tmp_path, monkeypatch
):
    output, keep = tmp_path / "run", loop.keep

    def interrupted(*arguments, step, **options):
        keep(*arguments, step=step + 1, **options)  # as of another run, that was trained for longer
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            adapt(level_run[0], scene, output, **HOW)
    assert (output / "checkpoints").exists()
    with pytest.raises(CheckpointError, match="holds no run"):
        vad_jax.load(output)
    stored = config.from_json((level_run[0] / "config.json").read_text())
    with pytest.raises(CheckpointError, match="an adaptation that was interrupted"):
        train(stored, output)
    adapt(level_run[0], scene, output, **HOW)
    again, whole = vad_jax.load(output), vad_jax.load(moved[0])
    assert again.about == whole.about
    assert again.statistics == whole.statistics
    jax.tree.map(np.testing.assert_array_equal, again.variables, whole.variables)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"shots": 0}, ConfigError, "--shots=0"),
        ({"learning_rate": 0.0}, ConfigError, "--learning_rate=0.0"),
        ({"shots": 500}, DataError, "29 windows of 5 whole frames, and --shots=500"),
    ],
)
def test_bad_requests_are_named(level_run, scene, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        adapt(level_run[0], scene, tmp_path / "run", **options)


def test_a_run_is_not_written_over(level_run, scene):
    kept = json.loads((level_run[0] / "config.json").read_text())
    with pytest.raises(CheckpointError, match="holds a run already"):
        adapt(level_run[0], scene, level_run[0])
    assert json.loads((level_run[0] / "config.json").read_text()) == kept
