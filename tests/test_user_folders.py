"""A folder below the home, and what is taken where there is none."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vad_jax import user_folders

HAVE_OWNERS = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of POSIX")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user_folders._temporary.cache_clear()
    return tmp_path


def test_a_home_is_taken_and_nothing_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_folders.writable("~/.cache/x", option="data.cache") == tmp_path / "home/.cache/x"
    assert (tmp_path / "home/.cache/x").is_dir()
    assert not caplog.records


def test_a_folder_that_is_named_whole_is_taken_as_it_is(tmp_path):
    named = tmp_path / "not" / "there"
    assert user_folders.writable(named, option="data.cache") == named
    assert not named.exists()


@HAVE_OWNERS
def test_a_home_that_takes_no_folder_is_replaced_and_said_once(tmp_path, monkeypatch, caplog):
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = [user_folders.writable("~/.cache/x", option="data.cache") for _ in range(2)]
    assert places == [tmp_path / f"vad_jax-{os.getuid()}"] * 2
    assert places[0].stat().st_mode & 0o777 == 0o700
    (record,) = caplog.records
    assert f"{places[0]} is taken" in record.getMessage()
    assert "Give data.cache=FOLDER" in record.getMessage()


@HAVE_OWNERS
def test_a_folder_that_another_user_has_put_there_is_refused(tmp_path, monkeypatch):
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / f"vad_jax-{os.getuid()}").symlink_to("/etc")
    with pytest.raises(PermissionError, match=r"another user: give another data.cache"):
        user_folders.writable("~/.cache/x", option="data.cache")


@pytest.fixture
def everybodys(monkeypatch):
    """A folder that everybody can reach and write, which pytest's are not."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield folder


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_user_without_a_name_or_a_home_gets_one(everybodys):
    """As in a container that is started as any number."""
    place = str(everybodys)
    code = (
        f"import os, sys, tempfile; sys.path = {sys.path}; tempfile.tempdir = {place!r}\n"
        "from vad_jax import user_folders\n"
        "os.environ.pop('HOME', None); os.setuid(54321)\n"
        "print(user_folders.writable('~/.cache/x', option='data.cache'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{place}/vad_jax-54321"
    assert "Could not determine home directory" in done.stderr
