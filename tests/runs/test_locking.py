"""One process at a time works in a folder, and only in one that it may write."""

import os
import subprocess
import sys

import pytest

from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.locking import LOCK, locked
from vad_jax.runs.training import train
from vad_jax.types import CheckpointError


@pytest.fixture
def holder():
    """A function that lets another process hold a folder; it ends with the test."""
    held = []

    def hold(folder):
        code = (
            "import sys, pathlib\nfrom vad_jax.runs.locking import locked\n"
            "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        held.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in held:
        process.communicate("")


def test_a_workdir_has_one_process_at_a_time(level_config, copied, holder):
    other = holder(copied)
    for command in (lambda: train(level_config(), copied), lambda: evaluate(copied)):
        with pytest.raises(CheckpointError, match=rf"is in use by process {other.pid}: wait"):
            command()


def test_a_folder_is_free_when_the_other_process_has_ended(tmp_path, holder):
    process = holder(tmp_path)
    with (
        pytest.raises(CheckpointError, match=r"in use.*give another --output"),
        locked(tmp_path, "--output"),
    ):
        pass
    process.communicate("")
    with locked(tmp_path):
        pass


def test_a_folder_is_made(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).exists()


def test_a_lock_that_is_a_link_is_not_written_through(level_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "victim").write_text("a person's")
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(CheckpointError, match="run cannot be written"):
        train(level_config(), tmp_path / "run")
    assert (tmp_path / "victim").read_text() == "a person's"


def test_a_workdir_that_cannot_be_made_is_refused(level_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run cannot be written \(Not a directory\)"):
        train(level_config(), tmp_path / "file" / "run")


def test_a_read_only_workdir_is_refused(level_config, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(CheckpointError, match=r"cannot be written \(Read-only file system\)"):
        train(level_config(), small_disk / "run")


def test_a_system_without_file_locks_is_said_and_gone_on_with(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    monkeypatch.delattr(os, "O_NOFOLLOW")
    monkeypatch.delattr(os, "O_NONBLOCK")
    with locked(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert "run cannot be locked on this system: start nothing else in it" in caplog.text
