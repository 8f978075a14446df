"""Damaged checkpoints are named and passed over, and training can go on behind them."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from vad_jax.learning import checkpoint
from vad_jax.learning.checkpoint import Checkpoints, read_variables
from vad_jax.types import CheckpointError

VARIABLES = {"params": {"w": jnp.arange(6.0).reshape(2, 3)}, "state": {"m": jnp.ones(3)}}
SLOTS = optax.adam(0.1).init(VARIABLES["params"])


def position(step):
    return {"step": step, "epoch": 0, "digest": "d"}


def saved(folder, *steps):
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(VARIABLES, SLOTS, position(step))
    return folder


def files(folder, step):
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())


def test_the_newest_comes_back(tmp_path):
    checkpoints = Checkpoints(saved(tmp_path / "c", 20, 40))
    variables, slots, found = checkpoints.latest(VARIABLES, SLOTS)
    assert checkpoints.newest() == 40
    assert found == position(40)
    np.testing.assert_array_equal(variables["params"]["w"], VARIABLES["params"]["w"])
    assert type(slots) is type(SLOTS)


def test_only_the_newest_stay(tmp_path):
    folder = saved(tmp_path / "c", 1, 2, 3)
    assert {path.name for path in folder.iterdir()} == {"2", "2.sha256.json", "3", "3.sha256.json"}


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("two") / "c", 20, 40)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncated, flipped, Path.unlink])
def test_damage_to_any_file_is_named_and_the_step_before_is_used(
    two_steps, tmp_path, caplog, damage
):
    names = [path.relative_to(two_steps) for path in files(two_steps, 40)]
    assert len(names) > 5
    for i, name in enumerate(names):
        folder = tmp_path / str(i)
        shutil.copytree(two_steps, folder)
        if not (folder / name).stat().st_size:
            continue  # an empty file has nothing to cut or flip
        damage(folder / name)
        caplog.clear()
        assert read_variables(folder, VARIABLES)[1] == position(20)
        assert f"{folder / name} is" in caplog.text
        assert "step 40 is passed over" in caplog.text


def test_a_file_that_was_not_saved_is_damage(tmp_path, caplog):
    folder = saved(tmp_path / "c", 20, 40)
    (folder / "40" / "more").write_text("")
    assert read_variables(folder, VARIABLES)[1] == position(20)
    assert "40/more is not what was saved" in caplog.text


def test_a_damaged_manifest_is_damage(tmp_path, caplog):
    folder = saved(tmp_path / "c", 20, 40)
    for damaged in ("", "{", "[]"):
        (folder / "40.sha256.json").write_text(damaged)
        assert read_variables(folder, VARIABLES)[1] == position(20)
    assert "40.sha256.json is damaged" in caplog.text


def test_a_step_without_its_manifest_was_not_saved(tmp_path):
    folder = saved(tmp_path / "c", 20, 40)
    (folder / "40.sha256.json").unlink()
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest(VARIABLES, SLOTS)[2] == position(20)
    checkpoints.save(VARIABLES, SLOTS, position(40))
    assert read_variables(folder, VARIABLES)[1] == position(40)


def test_an_empty_folder_with_a_steps_name_is_no_step(tmp_path):
    folder = saved(tmp_path / "c", 20)
    (folder / "60").mkdir()
    assert Checkpoints(folder).newest() == 20


def test_a_damaged_one_can_be_saved_anew(tmp_path):
    folder = saved(tmp_path / "c", 20, 40)
    truncated(files(folder, 40)[-1])
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest(VARIABLES, SLOTS)[2] == position(20)
    checkpoints.save(VARIABLES, SLOTS, position(40))
    assert read_variables(folder, VARIABLES)[1] == position(40)


@pytest.mark.parametrize("what", ["file", "folder", "step", "manifest"])
def test_symbolic_links_are_refused_before_anything_is_read(tmp_path, monkeypatch, what):
    folder = saved(tmp_path / "c", 20)
    path = {
        "file": files(folder, 20)[0],
        "folder": folder / "20" / "variables",
        "step": folder / "20",
        "manifest": folder / "20.sha256.json",
    }[what]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(ocp.Checkpointer, "restore", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(CheckpointError, match=f"{path} is a symbolic link"):
        read_variables(folder, VARIABLES)


def test_what_a_killed_process_left_is_swept(tmp_path):
    folder = saved(tmp_path / "c", 20)
    (folder / "40.orbax-checkpoint-tmp").mkdir()
    (folder / ".40.sha256.json.123.part").write_text("{")
    (folder / "30").mkdir()  # committed, and killed before its manifest
    (folder / "notes.txt").write_text("a person's")
    Checkpoints(folder)
    assert {p.name for p in folder.iterdir()} == {"20", "20.sha256.json", "notes.txt"}


def test_links_above_a_step_are_refused(tmp_path):
    saved(tmp_path / "elsewhere", 20)
    (tmp_path / "c").symlink_to(tmp_path / "elsewhere")
    for take in (Checkpoints, lambda folder: read_variables(folder, VARIABLES)):
        with pytest.raises(CheckpointError, match="c is a symbolic link"):
            take(tmp_path / "c")


def test_a_step_that_fails_to_restore_for_a_moment_is_not_removed(tmp_path, monkeypatch):
    folder = saved(tmp_path / "c", 20, 40)
    restore = ocp.Checkpointer.restore

    def trouble(self, path, *arguments, **options):
        if path.name == "40":
            raise OSError(5, "Input/output error")
        return restore(self, path, *arguments, **options)

    monkeypatch.setattr(ocp.Checkpointer, "restore", trouble)
    assert Checkpoints(folder).latest(VARIABLES, SLOTS)[2] == position(20)
    monkeypatch.undo()
    assert Checkpoints(folder).latest(VARIABLES, SLOTS)[2] == position(40)


def test_a_save_that_fails_keeps_the_steps_before_it(tmp_path, monkeypatch):
    folder = saved(tmp_path / "c", 20)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_seal", full)
    said = r"step 40 could not be saved, OSError: .*No space left on device.*MB free"
    with pytest.raises(CheckpointError, match=said):
        Checkpoints(folder).save(VARIABLES, SLOTS, position(40))
    assert read_variables(folder, VARIABLES)[1] == position(20)


def test_none_that_can_be_read_is_an_error_that_names_the_file(tmp_path):
    folder = saved(tmp_path / "c", 20)
    shutil.rmtree(folder / "20" / "variables")
    said = r"(?s)no checkpoint can be read.*step 20: \S+/20/variables/\S+ is missing"
    with pytest.raises(CheckpointError, match=said):
        Checkpoints(folder).latest(VARIABLES, SLOTS)


def test_another_shape_is_not_restored(tmp_path):
    folder = saved(tmp_path / "c", 20)
    other = {**VARIABLES, "params": {"w": jnp.zeros((2, 4))}}
    with pytest.raises(CheckpointError, match="step 20: ValueError"):
        read_variables(folder, other)


def test_an_optimiser_without_state_has_no_slots(tmp_path):
    slots = optax.sgd(0.1).init(VARIABLES["params"])
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(VARIABLES, slots, position(1))
    assert checkpoints.latest(VARIABLES, slots)[1] == slots


def test_variables_without_a_number_are_a_checkpoint(tmp_path):
    """Those of a method that learns nothing."""
    checkpoints, nothing = Checkpoints(tmp_path / "c"), {"params": {}, "state": {}}
    checkpoints.save(nothing, (), position(0))
    assert checkpoints.newest() == 0
    assert checkpoints.latest(nothing, ()) == (nothing, (), position(0))
    assert read_variables(tmp_path / "c", nothing) == (nothing, position(0))


def test_no_checkpoint_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.latest(VARIABLES, SLOTS) is None
    assert checkpoints.newest() is None
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_variables(tmp_path / "c", VARIABLES)
