"""The loop: what it writes, how it goes on, what stops it; on a toy, the first law on MNAD, too."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import toys
from support.training import lines, noise, settings, train, without_times

import vad_jax
from vad_jax.data.footage import Footage
from vad_jax.datasets import splits
from vad_jax.learning import checkpoint, optim, recorder
from vad_jax.types import CheckpointError, DataError, Stopped, TrainingError

STEPS, AN_EPOCH = 46, 23


def learning(rate=1e-2):
    """A toy whose steps hang on the order of the rows, on the key, and on a state that moves."""
    pairs = toys.spec(frames=2, sees=(0, 1), scored=(1,), step=1)
    method = toys.toy(pairs)
    (plain,) = method.stages

    def init(key):
        variables = method.init(key)
        return {**variables, "state": {**variables["state"], "seen": jnp.zeros(())}}

    def loss(params, state, batch, key, *, train):
        value, (_, parts) = plain.loss(params, state, batch, key, train=train)
        if train:
            kick = jax.random.normal(key, params["level"].shape) / (1 + state["seen"])
            value = value + jnp.vdot(kick, params["level"])
            state = {**state, "seen": state["seen"] + jnp.sum(batch["mask"])}
        return value, (state, parts)

    def optimizer(**length):
        return optim.adam(rate, "cosine", **length)

    stage = dataclasses.replace(plain, loss=loss, optimizer=optimizer)
    return dataclasses.replace(method, stages=(stage,), init=init)


METHOD = learning()
TRAINING, HELD_OUT = noise(1, length=116), noise(2)  # 115 pairs, five in a step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped, and the variables it ended with."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(METHOD, settings(METHOD), TRAINING, HELD_OUT, folder)


class AfterSteps:
    """Asks for an end after so many steps more."""

    def __init__(self, number):
        self.left = number

    def __call__(self):
        self.left -= 1
        return self.left < 0


def test_a_killed_run_of_mnad_goes_on_to_the_same_bits(run_config, finished_run, tmp_path):
    config, expected = run_config(), vad_jax.load(finished_run[0]).variables
    method = vad_jax.create(config)
    parts = splits.training(splits.find(config.data), config.data, method.inputs)
    training, held_out = map(Footage, parts)

    class Killed(Exception):
        pass

    original = recorder.Recorder.write

    def write(self, step, epoch, split, line, **options):
        original(self, step, epoch, split, line, **options)
        if step > AN_EPOCH:  # behind the first checkpoint
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder.Recorder, "write", write)
        with pytest.raises(Killed):
            train(method, config, training, held_out, tmp_path)
    assert lines(tmp_path)[-1]["step"] > AN_EPOCH
    resumed = train(method, config, training, held_out, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)
    assert without_times(lines(tmp_path)) == without_times(lines(finished_run[0]))


@pytest.mark.parametrize("log_steps", [1, 7])
def test_a_run_stopped_again_and_again_goes_on_to_the_same_bits(whole, tmp_path, log_steps):
    """Wherever it is asked to end: within a line of the log, at its end, at that of an epoch."""
    config = settings(METHOD, log_steps=log_steps)
    for steps, reached in ((3, 4), (0, 5), (8, 14), (8, 23), (5, 29)):
        with pytest.raises(Stopped, match=rf"was stopped and saved after step {reached} of 46"):
            train(METHOD, config, TRAINING, HELD_OUT, tmp_path / "parts", stop=AfterSteps(steps))
    resumed = train(METHOD, config, TRAINING, HELD_OUT, tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, resumed, whole[1])
    train(METHOD, config, TRAINING, HELD_OUT, tmp_path / "whole")
    assert without_times(lines(tmp_path / "parts")) == without_times(lines(tmp_path / "whole"))


def test_a_line_of_the_log_is_the_mean_of_its_steps(whole, tmp_path):
    train(METHOD, settings(METHOD, log_steps=1), TRAINING, HELD_OUT, tmp_path)
    each = [entry for entry in lines(tmp_path) if entry["split"] == "train"]
    together = [entry for entry in lines(whole[0]) if entry["split"] == "train"]
    assert [entry["step"] for entry in each] == list(range(1, STEPS + 1))
    assert [entry["step"] for entry in together] == [10, 20, 23, 30, 40, 46]
    begin = 0
    for entry in together:
        some = each[begin : entry["step"]]
        assert entry["loss"] == pytest.approx(np.mean([line["loss"] for line in some]), rel=1e-12)
        assert entry["learning_rate"] == some[-1]["learning_rate"]
        begin = entry["step"]


def test_the_state_that_a_step_hands_back_goes_into_the_next(whole):
    assert whole[1]["state"]["seen"] == 5 * STEPS


def test_what_is_not_trained_is_the_same_to_the_bit(whole):
    begun = METHOD.init(None)["params"]
    jax.tree.map(np.testing.assert_array_equal, whole[1]["params"]["frozen"], begun["frozen"])
    assert (whole[1]["params"]["level"] != begun["level"]).all()


def test_both_backends_train_to_the_same_bits(whole, tmp_path):
    streamed = train(METHOD, settings(METHOD, backend="tf"), TRAINING, HELD_OUT, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, streamed, whole[1])


def test_a_finished_run_is_not_trained_again(whole):
    folder, expected = whole
    before = (folder / "metrics.jsonl").read_bytes()
    again = train(METHOD, settings(METHOD), TRAINING, HELD_OUT, folder)
    jax.tree.map(np.testing.assert_array_equal, again, expected)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_full_disk_stops_training_and_keeps_what_was_saved(small_disk):
    workdir = small_disk / "run"
    save, done = checkpoint.Checkpoints.save, []

    def fills(self, *arguments):
        if done:  # room for half of what a checkpoint needs
            size = sum(path.stat().st_size for path in workdir.rglob("*") if path.is_file())
            filler = shutil.disk_usage(small_disk).free - size // 2
            (small_disk / "filler").write_bytes(bytes(filler))
        done.append(arguments)
        save(self, *arguments)

    config = settings(METHOD, epochs=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoints, "save", fills)
        with pytest.raises(CheckpointError, match=r"step 46 could not be saved.* MB free"):
            train(METHOD, config, TRAINING, HELD_OUT, workdir)
    assert checkpoint.Checkpoints(workdir / "checkpoints" / "level").newest() == AN_EPOCH
    (small_disk / "filler").unlink()
    train(METHOD, config, TRAINING, HELD_OUT, workdir)
    assert lines(workdir)[-1]["step"] == 69


def test_a_loss_that_is_not_finite_stops_and_names_step_and_checkpoint(tmp_path):
    method = learning(rate=1e30)
    said = r"Stage level has a (loss \w+|gradient) that is not finite at step \d+; no checkpoint"
    with pytest.raises(TrainingError, match=said):
        train(method, settings(method, log_steps=5), TRAINING, HELD_OUT, tmp_path)


def test_a_gradient_that_is_not_finite_stops_though_the_loss_was(tmp_path):
    method = learning(rate=1e39)
    with pytest.raises(TrainingError, match=r"a gradient that is not finite at step 1;"):
        train(method, settings(method), TRAINING, HELD_OUT, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "metrics.jsonl"}
    assert not list((tmp_path / "checkpoints" / "level").iterdir())


def test_what_was_made_of_fewer_steps_is_removed_before_more_come(tmp_path):
    names = ("normal.npz", "metrics.json", "shots_first.json", "shots_first_5.npz", "notes.txt")
    for name in names:
        (tmp_path / name).touch()
    method = learning(rate=1e39)
    with pytest.raises(TrainingError, match="not finite at step 1;"):
        train(method, settings(method), TRAINING, HELD_OUT, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} & set(names) == {"notes.txt"}


def test_a_held_out_video_shorter_than_a_window_is_named(tmp_path):
    said = r"data.validation: nothing .* in 02 \(1 frame\): it needs a window of 2 whole"
    with pytest.raises(DataError, match=said):
        train(METHOD, settings(METHOD), TRAINING, noise(2, length=1), tmp_path)


def test_training_videos_without_a_window_are_an_error_only_if_none_is_left(tmp_path, caplog):
    short = noise(3, length=1)
    with pytest.raises(DataError, match=r"No training video has a window of 2 .*: 03 \(1 frame\)"):
        train(METHOD, settings(METHOD), short, HELD_OUT, tmp_path / "none")
    some = Footage([*short.videos, *noise(4).videos])
    train(METHOD, settings(METHOD, epochs=1), some, HELD_OUT, tmp_path / "some")
    assert (
        "Stage level: left out, as each needs a window of 2 whole frames: 1 training video, "
        in caplog.text
    )
