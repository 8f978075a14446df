"""Training runs: what they write, how they go on, what stops them."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax import evaluate, train
from vad_jax.datasets import splits
from vad_jax.learning import checkpoint, loop, statistics
from vad_jax.scoring import VideoScores
from vad_jax.types import CheckpointError, ConfigError, DataError, Stopped, TrainingError


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_times(entries):
    return [
        {k: v for k, v in entry.items() if k not in ("clips_per_second", "seconds")}
        for entry in entries
    ]


def videos(config):
    method = vad_jax.create(config)
    return method, splits.training(splits.find(config.data), config.data, method.inputs)


def test_a_run_leaves_all_its_files(finished_run):
    workdir, _ = finished_run
    expected = {
        "config.json", "data.json", "environment.json", "metrics.jsonl", "normal.npz",
        "normal_windows.npz",
        "checkpoints", "scores.npz", "metrics.json", "report.html", "pictures",
    }  # fmt: skip
    assert expected <= {path.name for path in workdir.iterdir()}


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


def test_statistics_of_normal_clips_come_from_the_held_out_video(finished_run):
    found = statistics.read(finished_run[0] / "normal.npz")
    assert {"psnr", "distance", "point_score", "updated"} <= set(found)
    assert found["psnr"]["count"] == 29  # windows of 5 at step 4 in 120 frames
    assert found["psnr"]["min"] <= found["psnr"]["mean"] <= found["psnr"]["max"]
    with np.load(finished_run[0] / "normal.npz") as arrays:
        assert str(arrays["source"]) == "held-out"


def test_windows_of_normal_clips_are_those_of_the_statistics(finished_run):
    windows, source = statistics.read_windows(finished_run[0] / "normal_windows.npz")
    ((name, length, first, parts, maps),) = windows
    assert (name, length, maps, source) == ("05", 120, None, "held-out")
    np.testing.assert_array_equal(first, np.arange(0, 116, 4))
    for part, row in statistics.read(finished_run[0] / "normal.npz").items():
        assert statistics.summary([parts[part]]) == row


def test_windows_come_back_as_they_were(tmp_path):
    def video(name, count):
        parts = {"a": np.arange(2.0 * count).reshape(count, 2), "b": np.ones((count, 2, 3))}
        return VideoScores(name, 9, np.arange(count, dtype=np.int32), parts if count else {}, None)

    given = [video("x", 3), video("short", 0), video("z", 1)]
    statistics.write_windows(tmp_path / "w.npz", given, "training")
    found, source = statistics.read_windows(tmp_path / "w.npz")
    assert source == "training"
    for mine, theirs in zip(found, given, strict=True):
        assert (mine.name, mine.length) == (theirs.name, theirs.length)
        np.testing.assert_array_equal(mine.first, theirs.first)
        for part in theirs.parts:
            np.testing.assert_array_equal(mine.parts[part], theirs.parts[part])
    assert statistics.read_windows(tmp_path / "none.npz") is None
    (tmp_path / "w.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"w\.npz is damaged.*measured anew"):
        statistics.read_windows(tmp_path / "w.npz")


def test_a_stopped_run_goes_on_to_the_same_bits(run_config, tmp_path):
    config = run_config(evaluate_at_end=False)
    method, (training, validation) = videos(config)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    expected = loop.train(method, config, training, validation, whole, digest="d")

    class Stopped(Exception):
        pass

    original = loop._Log.write

    def write(self, step, epoch, split, line, **options):
        original(self, step, epoch, split, line, **options)
        if step > 23:  # in the second epoch, behind the first checkpoint
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Log, "write", write)
        with pytest.raises(Stopped):
            loop.train(method, config, training, validation, halves, digest="d")
    assert lines(halves)[-1]["step"] > 23
    resumed = loop.train(method, config, training, validation, halves, digest="d")
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert without_times(lines(halves)) == without_times(lines(whole))


@pytest.mark.parametrize("log_steps", [1, 7])
def test_a_run_stopped_again_and_again_goes_on_to_the_same_bits(run_config, tmp_path, log_steps):
    """Wherever it is asked to end: within a line of the log, at its end, at that of an epoch."""
    config = run_config(evaluate_at_end=False, log_steps=log_steps)
    method, (training, validation) = videos(config)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    expected = loop.train(method, config, training, validation, whole, digest="d")

    class AfterSteps:
        def __init__(self, number):
            self.left = number

        def __call__(self):
            self.left -= 1
            return self.left < 0

    for steps, reached in ((3, 4), (0, 5), (8, 14), (8, 23), (5, 29)):
        with pytest.raises(Stopped, match=rf"was stopped and saved after step {reached} of 46"):
            loop.train(
                method, config, training, validation, parts, digest="d", stop=AfterSteps(steps)
            )
    resumed = loop.train(method, config, training, validation, parts, digest="d")
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert without_times(lines(parts)) == without_times(lines(whole))


def test_checkpoints_of_another_run_are_refused(run_config, finished_run, tmp_path):
    config = run_config(stages__train__learning_rate=2e-3, evaluate_at_end=False)
    train.train(config, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "checkpoints")
    shutil.copytree(finished_run[0] / "checkpoints", tmp_path / "other" / "checkpoints")
    for take in (
        lambda: train.train(config, tmp_path / "other"),
        lambda: vad_jax.load(tmp_path / "other"),
    ):
        with pytest.raises(CheckpointError, match="step 46 was saved by a run of another config"):
            take()


def test_a_lock_that_is_a_link_is_not_written_through(run_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "victim").write_text("a person's")
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(CheckpointError, match="run cannot be written"):
        train.train(run_config(), tmp_path / "run")
    assert (tmp_path / "victim").read_text() == "a person's"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[1, 2]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"method": "../x"}'),
        ("data.json", b"{}"),
        ("normal.npz", b"PK"),
    ],
)
def test_a_damaged_workdir_is_named(finished_run, tmp_path, name, content):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run[0], workdir)
    (workdir / name).write_bytes(content)
    with pytest.raises(
        (CheckpointError, ConfigError), match=r"damaged|there is no vad_jax/methods"
    ):
        vad_jax.load(workdir)


def test_a_workdir_has_one_process_at_a_time(run_config, finished_run):
    held = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\nfrom vad_jax.runs.workdir import locked\n"
            "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()",
            str(finished_run[0]),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout.readline() == "held\n"
    try:
        for command in (
            lambda: train.train(run_config(), finished_run[0]),
            lambda: evaluate.evaluate(finished_run[0]),
        ):
            with pytest.raises(CheckpointError, match=rf"is in use by process {held.pid}: wait"):
                command()
    finally:
        held.communicate("")


def test_a_workdir_that_cannot_be_made_is_refused(run_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run cannot be written \(Not a directory\)"):
        train.train(run_config(), tmp_path / "file" / "run")


def test_a_full_disk_stops_training_and_keeps_what_was_saved(run_config, small_disk):
    config = run_config(evaluate_at_end=False, stages__train__epochs=3)
    workdir = small_disk / "run"
    save, done = checkpoint.Checkpoints.save, []

    def fills(self, *arguments):
        if done:  # room for half of what a checkpoint needs
            size = sum(path.stat().st_size for path in workdir.rglob("*") if path.is_file())
            filler = shutil.disk_usage(small_disk).free - size // 2
            (small_disk / "filler").write_bytes(bytes(filler))
        done.append(arguments)
        save(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoints, "save", fills)
        with pytest.raises(CheckpointError, match=r"step 46 could not be saved.* MB free"):
            train.train(config, workdir)
    assert checkpoint.Checkpoints(workdir / "checkpoints" / "train").newest() == 23
    (small_disk / "filler").unlink()
    train.train(config, workdir)
    assert lines(workdir)[-1]["step"] == 69


def test_a_read_only_workdir_is_refused(run_config, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(CheckpointError, match=r"cannot be written \(Read-only file system\)"):
        train.train(run_config(), small_disk / "run")


def test_both_backends_train_to_the_same_bits(run_config, tmp_path):
    results = []
    for backend in ("tf", "resident"):
        config = run_config(data__backend=backend, stages__train__epochs=1)
        method, (training, validation) = videos(config)
        folder = tmp_path / backend
        folder.mkdir()
        results.append(loop.train(method, config, training, validation, folder, digest="d"))
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_a_loss_that_is_not_finite_stops_and_names_step_and_checkpoint(run_config, tmp_path):
    config = run_config(stages__train__learning_rate=1e30, log_steps=5)
    method, (training, validation) = videos(config)
    said = r"Stage train has a (loss \w+|gradient) that is not finite at step \d+; no checkpoint"
    with pytest.raises(TrainingError, match=said):
        loop.train(method, config, training, validation, tmp_path, digest="d")


def test_a_workdir_of_another_config_is_refused_with_the_difference(run_config, finished_run):
    with pytest.raises(CheckpointError, match=r"(?s)another config.*width: 8 here, 4 there"):
        train.train(run_config(width=8), finished_run[0])


def test_more_epochs_of_a_cosine_are_another_run(run_config, finished_run):
    with pytest.raises(CheckpointError, match=r"stages.train.epochs: 3 here, 2 there"):
        train.train(run_config(stages__train__epochs=3), finished_run[0])


def test_a_run_can_start_from_an_earlier_one(run_config, finished_run, tmp_path):
    config = run_config(init_from=str(finished_run[0]), evaluate_at_end=False)
    train.train(config, tmp_path / "second")
    first, second = lines(finished_run[0])[0], lines(tmp_path / "second")[0]
    assert second["loss"] < first["loss"] / 2


def test_held_out_names_must_be_training_videos(run_config, tmp_path):
    with pytest.raises(ConfigError, match=r"data.validation names 99; the training videos are 01"):
        train.train(run_config(data__validation=("99",)), tmp_path / "run")


def test_videos_shorter_than_a_window_are_an_error_only_if_none_is_left(run_config, tmp_path):
    config = run_config(input__stride=40)
    with pytest.raises(DataError, match=r"No training video has a window of 161 whole frames"):
        train.train(config, tmp_path / "run")


def test_no_root_is_named(run_config, tmp_path):
    config = run_config()
    config.data.root = None
    with pytest.raises(ConfigError, match=r"data.root is not set"):
        train.train(config, tmp_path / "run")


def test_a_gradient_that_is_not_finite_stops_though_the_loss_was(run_config, tmp_path):
    config = run_config(stages__train__learning_rate=1e39)
    method, (training, validation) = videos(config)
    with pytest.raises(TrainingError, match=r"a gradient that is not finite at step 1;"):
        loop.train(method, config, training, validation, tmp_path, digest="d")
    assert not (tmp_path / "normal.npz").exists()


def test_a_torn_last_line_of_the_log_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "a", "step": 1}\n{"stage": "a", "step": 2}\n{"stage": "a", "st')
    loop._Log(path, "a", 1)
    assert path.read_text() == '{"stage": "a", "step": 1}\n'


def test_a_held_out_video_shorter_than_a_window_is_named(run_config, tmp_path):
    config = run_config()
    method, (training, (held_out,)) = videos(config)
    short = dataclasses.replace(held_out, array=held_out.array[:3])
    with pytest.raises(DataError, match=r"data.validation: nothing .* in 05 .*a window of 5 whole"):
        loop.train(method, config, training, [short], tmp_path, digest="d")


def test_keys_of_the_evaluation_can_change_without_training_again(run_config, finished_run):
    digest = configs.digest(run_config(), "data")
    assert configs.digest(run_config(memory__update="never", weights__score=0.9), "data") == digest
    assert configs.digest(run_config(weights__compact=0.9), "data") != digest


def test_what_was_made_of_fewer_steps_is_removed(run_config, tmp_path):
    names = ("normal.npz", "metrics.json", "shots_first.json", "shots_first_5.npz", "notes.txt")
    for name in names:
        (tmp_path / name).touch()
    config = run_config(stages__train__learning_rate=1e39)
    method, (training, validation) = videos(config)
    with pytest.raises(TrainingError, match="not finite at step 1;"):
        loop.train(method, config, training, validation, tmp_path, digest="d")
    assert {path.name for path in tmp_path.iterdir()} & set(names) == {"notes.txt"}
