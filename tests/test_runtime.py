"""Compiled programs are kept where only their owner can write; the heap; messages."""

import json
import logging
import os
import re
import subprocess
import sys
import time

import jax
import pytest

from vad_jax import runtime


@pytest.fixture(autouse=True)
def settings_of_the_session():
    """What a test sets in JAX is put back: other tests rely on the session's cache."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield before
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def no_cache_yet():
    jax.config.update("jax_compilation_cache_dir", None)


def python(code, *arguments, **environment):
    """What a new interpreter prints as its last line, read as JSON."""
    kept = {k: v for k, v in (os.environ | environment).items() if v is not None}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=kept,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Where programs are kept


def test_the_folder_names_processor_cores_and_version(no_cache_yet, tmp_path, monkeypatch):
    model = "Intel(R) Xeon(R) CPU @ 2.00GHz"
    monkeypatch.setattr(runtime, "_processor", lambda: (model, "avx2 fma"))
    folder = runtime.compilation_cache(folder=tmp_path / "compiled")
    assert folder.parent == tmp_path / "compiled"
    digest = r"[0-9a-f]{8}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = rf"Intel-Xeon-CPU-2.00GHz-{cores}cores-{digest}-jax{re.escape(jax.__version__)}"
    assert re.fullmatch(wanted, folder.name)
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_other_features_or_other_cores_mean_another_folder(no_cache_yet, tmp_path, monkeypatch):
    machines = [("a", "avx2", 2), ("a", "avx512", 2), ("a", "avx2", 1)]
    found = set()
    for model, features, cores in machines:
        monkeypatch.setattr(runtime, "_processor", lambda m=model, f=features: (m, f))
        monkeypatch.setattr(runtime, "_cores", lambda c=cores: c)
        found.add(runtime.compilation_cache(folder=tmp_path))
    assert len(found) == len(machines)


def test_a_new_folder_is_for_its_owner_alone(no_cache_yet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = runtime.compilation_cache()
    assert folder.parent == tmp_path / ".cache" / "vad_jax" / "compiled"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_the_user_has_set_stays(settings_of_the_session):
    before = settings_of_the_session
    assert str(runtime.compilation_cache()) == before["jax_compilation_cache_dir"]
    for name, value in before.items():
        assert getattr(jax.config, name) == value


def test_a_user_who_wants_no_cache_gets_none(no_cache_yet, tmp_path):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert runtime.compilation_cache(folder=tmp_path) is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_write_is_refused(no_cache_yet, tmp_path, mode, caplog):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    assert runtime.compilation_cache(folder=shared) is None
    assert re.search(r"(?s)others may write to .*shared.*--compile_cache", caplog.text)
    assert jax.config.jax_compilation_cache_dir is None
    shared.chmod(0o755)  # reading is no danger
    folder = runtime.compilation_cache(folder=shared)
    folder.chmod(mode)
    assert runtime.compilation_cache(folder=shared) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of POSIX")
def test_a_folder_of_another_user_is_refused(no_cache_yet, tmp_path, monkeypatch, caplog):
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert runtime.compilation_cache(folder=tmp_path) is None
    assert "belongs to another user" in caplog.text


def test_a_cache_is_used_in_a_process_that_has_compiled_before(tmp_path):
    """As a notebook has, when it first loads a detector."""
    code = (
        "import json, os, jax; from vad_jax import runtime; runtime.QUICK = 0.0\n"
        "jax.jit(lambda x: x + 1)(1)\n"
        "folder = runtime.compilation_cache()\n"
        "jax.jit(lambda x: x * 2 + 1)(1)\n"
        "print(json.dumps(len(os.listdir(folder))))"
    )
    assert python(code, HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=None)


def test_a_folder_that_is_not_to_be_had_is_said_once(no_cache_yet, tmp_path, caplog):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert runtime.compilation_cache(folder=tmp_path / "file") is None
    assert caplog.text.count("Compiled programs are not kept") == 1


def test_a_home_that_takes_no_folder_is_a_warning(no_cache_yet, tmp_path, monkeypatch, caplog):
    (tmp_path / "home").write_text("a file has no folders, for root neither")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert runtime.compilation_cache() is None
    assert "Compiled programs are not kept" in caplog.text


def test_a_folder_that_cannot_be_written_is_a_warning(no_cache_yet, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert runtime.compilation_cache(folder=tmp_path) is None
    assert "cannot be written to" in caplog.text


COMPILES = """
import json, logging, sys
import jax, jax.numpy as jnp
from jax._src import xla_bridge
from vad_jax import runtime
said = []
runtime.log.addHandler(logging.Handler())
runtime.log.handlers[0].emit = lambda record: said.append(record.getMessage())
runtime.log.setLevel(logging.INFO)
runtime.QUICK, runtime.PATIENCE = 0.0, 0.0
folder = runtime.compilation_cache()
assert not xla_bridge.backends_are_initialized()
with runtime.compiling("two sums"):
    jax.jit(lambda x: (x.sum(), jnp.sin(x).sum()))(jnp.zeros(3))
print(json.dumps([str(folder), said[-1]]))
"""


COMMAND = """
import json
import jax
from vad_jax import cli
command = cli.Command("Says where programs are kept.")
command.run(lambda _: cli.Outcome(print(json.dumps(jax.config.jax_compilation_cache_dir))))
"""


def test_a_second_process_finds_the_program(tmp_path):
    """And so does every command: a home is all that it needs."""
    environment = {"HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": None}
    folder, said = python(COMPILES, **environment)
    assert folder.startswith(str(tmp_path))
    assert re.match(r"Compiled two sums in \d+\.\d s, 0 of (\d) programs from the cache", said)
    files = sorted(os.listdir(folder))
    assert any("lambda" in name for name in files)
    again, said = python(COMPILES, **environment)
    assert again == folder
    number = re.search(r"(\d) of (\d) programs", said)
    assert number[1] == number[2] != "0"
    assert sorted(os.listdir(folder)) == files


def test_commands_of_a_test_session_leave_the_home_alone(tmp_path):
    """They inherit the session's folder."""
    assert python(COMMAND, HOME=str(tmp_path)) == os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "kept"), [("none", False), ("FOLDER", True)])
def test_the_flag_says_where_programs_are_kept(tmp_path, given, kept):
    given = given.replace("FOLDER", str(tmp_path / "here"))
    environment = {"HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": None}
    found = python(COMMAND, f"--compile_cache={given}", **environment)
    assert found.startswith(given) if kept else found is None


# The heap


def test_keeping_the_heap_says_whether_it_worked_and_may_be_repeated():
    code = "import json; from vad_jax.runtime import keep_heap as k; print(json.dumps([k(), k()]))"
    first, second = python(code)
    assert isinstance(first, bool)
    assert first == second


def test_another_c_library_is_named(monkeypatch, caplog):
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert runtime.keep_heap() is False
    assert "needs glibc, this is musl" in caplog.text


# Messages


def test_a_quick_compilation_says_nothing(caplog):
    with caplog.at_level(logging.INFO), runtime.compiling("the step"):
        pass
    assert not caplog.records


def test_a_slow_compilation_is_announced_and_timed(monkeypatch, caplog):
    monkeypatch.setattr(runtime, "PATIENCE", 0.05)
    with caplog.at_level(logging.INFO, "vad_jax"), runtime.compiling("the step"):
        time.sleep(0.2)
    first, last = (record.getMessage() for record in caplog.records)
    assert first == "Compiling the step …"
    assert re.fullmatch(r"Compiled the step in \d+\.\d s, 0 of 0 programs from the cache.", last)


def test_a_failure_is_not_called_compiled(monkeypatch, caplog):
    monkeypatch.setattr(runtime, "PATIENCE", 0.05)

    @runtime.compiling("the step")
    def fails():
        time.sleep(1)  # twenty times the patience
        raise ZeroDivisionError

    with caplog.at_level(logging.INFO, "vad_jax"), pytest.raises(ZeroDivisionError):
        fails()
    assert [record.getMessage() for record in caplog.records] == ["Compiling the step …"]
