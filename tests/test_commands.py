"""The commands as a user meets them: what they say, to whom, and with which exit code."""

import importlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from vad_jax import cli, evaluate, train
from vad_jax import config as configs
from vad_jax.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = ("adapt", "convert", "evaluate", "prepare", "score", "train")
QUICKSTART = "--config=configs/quickstart.py"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Config files are named from there."""
    monkeypatch.chdir(REPOSITORY)


def started(module, *arguments):
    """A command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"vad_jax.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=300,
        check=False,
    )


# As processes


def test_a_copied_run_evaluates_the_same_and_prints_its_figures(finished_run, tmp_path):
    copied = Path(shutil.copytree(finished_run[0], tmp_path / "elsewhere" / "run"))
    for name in ("scores.npz", "metrics.json", "report.html"):
        (copied / name).unlink()
    done = started("evaluate", f"--workdir={copied}", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((copied / "metrics.json").read_text())
    assert last == written
    for section in ("protocols", "per_video", "controls", "beats_controls", "data"):
        assert written[section] == finished_run[1][section], section
    with (
        np.load(copied / "scores.npz") as here,
        np.load(finished_run[0] / "scores.npz") as there,
    ):
        for name in there.files:
            np.testing.assert_array_equal(here[name], there[name], err_msg=name)


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("train", ["--config=configs/nothing.py"], "ConfigError: There is no config file"),
        ("adapt", [], "ConfigError: Give the run's folder: --workdir="),
        ("convert", [], "ConfigError: Give the state dict: --tensors="),
        ("prepare", [], "ConfigError: Give the data set's name: --data="),
    ],
)
def test_a_process_that_was_given_nonsense_exits_with_2(module, arguments, said):
    done = started(module, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["prepare", "score"])
def test_a_reader_that_has_read_enough_ends_a_command_quietly(module):
    code = f"import sys; from vad_jax import {module} as m; sys.exit(m.main(['--help']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_pipe_that_broke_elsewhere_is_a_fault_and_not_a_quiet_end():
    def work():
        raise BrokenPipeError(32, "a child is gone")

    with pytest.raises(BrokenPipeError, match="a child is gone"):
        cli.answered(work, own_process=False)


# One name for all


def test_without_a_command_all_that_there_is_is_listed(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*", out, re.M), name
    assert re.search(r"^  configs/mnad.py  .*\n    tiny +The smallest", out, re.M)
    assert "configs/quickstart.py" in out
    for name in ("ucsd_ped2", "avenue", "folder", "synthetic"):
        assert name in out
    for key, entry in configs.KEYS.items():
        assert re.search(rf"^  {re.escape(key)}\b", out, re.M), key
        assert entry.about[:40] in out
    assert max(map(len, out.splitlines())) <= 100


def test_elsewhere_the_list_says_where_presets_are(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert "the folder `configs` of the repository has them" in capsys.readouterr().out


def test_the_first_argument_names_the_command(capsys):
    assert main(["evaluate", "--workdir=nowhere"]) == 2
    assert "CheckpointError: nowhere holds no run" in capsys.readouterr().err


def test_a_command_that_is_none_is_named_with_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert re.search("'trian'. Did you mean train?", capsys.readouterr().err)


def test_the_package_is_a_command_and_so_is_its_script():
    done = subprocess.run(
        [sys.executable, "-m", "vad_jax", "score", "--help"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "python -m vad_jax.score" in done.stdout
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"vad_jax": "vad_jax.__main__:main"}


# Called


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_the_command_does_and_names_its_flags(name, capsys):
    module = importlib.import_module(f"vad_jax.{name}")
    assert module.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert module.__doc__.strip() in out
    assert f"python -m vad_jax.{name}" in out
    named = set(re.findall(r"(?<!-)--(\w+)=", module.__doc__))
    listed = set(re.findall(r"--(?:\[no\])?(\w+)", out.partition("Flags:")[2]))
    assert {"json", "compile_cache", "keep_heap"} <= listed
    assert named - {"config"} <= listed
    required = {"adapt": 3, "convert": 2, "prepare": 2, "score": 2}.get(name, 0)
    marked = out.partition("Required:")[2].partition("Flags:")[0]
    assert len(re.findall(r"^  --\w+=…", marked, re.M)) == required
    assert err == ""


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        (
            "train",
            ["--config=configs/nothing.py"],
            r"ConfigError: There is no config file .*nothing",
        ),
        ("train", [QUICKSTART, "--config.widht=8"], r"ConfigError: .*'widht'.*mean width"),
        ("train", [QUICKSTART, "--config.width=2.5"], r"ConfigError: width='2.5'.*type int"),
        ("train", [QUICKSTART, "--config.width"], r"ConfigError: --config.width: write"),
        ("train", [QUICKSTART, "--width=8"], r"ConfigError: .*width.*--help"),
        ("train", [QUICKSTART, "extra"], r"ConfigError: Unexpected argument 'extra'"),
        ("train", ["--config=configs/mnad.py:ped3"], r"ConfigError: .*preset 'ped3'; there are:"),
        ("evaluate", [], r"ConfigError: .*--workdir=runs/NAME"),
        (
            "evaluate",
            ["--workdir=a", "--shots=1", "--fps=9"],
            r"--fps .* with --shots",
        ),
        ("train", [QUICKSTART, "--config.memory.item=8"], r"ConfigError: .*mean memory.items"),
        ("train", ["--json=perhaps"], r"ConfigError: .*json.*--help"),
        ("evaluate", ["--workdir=a", "--fps=fast"], r"ConfigError: .*fps.*--help"),
        ("adapt", ["--workdir=a"], r"ConfigError: Give normal footage of the scene: --source="),
        ("adapt", ["--workdir=a", "--support=last"], r"ConfigError: .*support.*first.*spread"),
        ("convert", ["--tensors=a.npz"], r"ConfigError: Give the run's folder: --workdir="),
        ("prepare", ["--data=avenue"], r"ConfigError: Give its folder: --root="),
        ("score", ["--workdir=a"], r"ConfigError: Give .*: --source="),
        ("evaluate", ["--workdir=nowhere"], r"CheckpointError: nowhere holds no run"),
        ("evaluate", ["--workdir=a", "--workdir=b"], r"CheckpointError: a holds no run"),
        ("evaluate", ["--workdir=a,b", "--steps=3"], r"ConfigError: --steps .*--workdir.*--shots"),
        ("evaluate", ["--workdir=a", "--shots=one"], r"ConfigError: --shots=one: give whole"),
        ("evaluate", ["--scores=a.npz", "--all_frames"], r"ConfigError: --all_frames .*--workdir"),
        ("evaluate", ["--scores=a.npz", "--data=avenue"], r"ConfigError: --data .*give both"),
    ],
)
def test_a_mistake_of_the_user_is_one_message_and_exit_code_2(module, arguments, said, capsys):
    assert importlib.import_module(f"vad_jax.{module}").main(arguments) == 2
    out, err = capsys.readouterr()
    assert re.search(said, err)
    assert "Traceback" not in err
    assert out == ""


def test_a_workdir_of_another_config_is_refused(finished_run, synthetic_root, capsys):
    stored = configs.from_json((finished_run[0] / "config.json").read_text())
    given = [
        "--config=configs/mnad.py:tiny",
        f"--workdir={finished_run[0]}",
        f"--config.data.root={synthetic_root}",
        f"--config.data.cache={stored.data.cache}",
    ]
    assert train.main(given) == 2
    said = capsys.readouterr().err
    assert re.search(r"holds a run of another config:\n.*input.step: 1 here, 4 there", said, re.S)
    assert "Give another --workdir" in said
    assert "Traceback" not in said


def test_a_command_leaves_signals_and_messages_as_they_were(capsys):
    before = signal.getsignal(signal.SIGTERM), list(logging.getLogger("vad_jax").handlers)
    assert evaluate.main([]) == 2
    after = signal.getsignal(signal.SIGTERM), list(logging.getLogger("vad_jax").handlers)
    assert before == after
    assert capsys.readouterr().err.count("ConfigError") == 1
