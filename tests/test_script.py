"""A script gets from the library what a command says and keeps."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
{before}
import jax
import vad_jax
from vad_jax.runs.training import train

config = vad_jax.config.from_json(open("run/config.json").read())
config.evaluate_at_end = False
train(config, "run")
detector = vad_jax.load("run")
print(json.dumps([jax.config.jax_compilation_cache_dir, "matplotlib.pyplot" in sys.modules]))
"""


@pytest.fixture
def script(finished_run, tmp_path):
    """A function that runs the script beside a finished run; what it printed, and its messages."""
    (tmp_path / "run").symlink_to(finished_run[0])

    def go(before=""):
        kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(before=before)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=kept | {"HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return go


def test_a_script_is_told_and_its_programs_are_kept(script, tmp_path):
    (folder, pyplot), said = script()
    assert folder.startswith(str(tmp_path / ".cache" / "vad_jax" / "compiled"))
    assert not pyplot
    (line,) = [line for line in said.splitlines() if line.startswith("Stage train")]
    assert line.startswith("Stage train is complete: ")


def test_a_script_with_its_own_cache_and_logging_keeps_them(script, tmp_path):
    before = (
        "import logging; logging.basicConfig(level=logging.ERROR)\n"
        "import jax; jax.config.update('jax_compilation_cache_dir', 'mine')"
    )
    (folder, _), said = script(before)
    assert folder == "mine"
    assert "Stage train" not in said
