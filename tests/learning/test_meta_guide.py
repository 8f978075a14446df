"""The guide's code runs as it stands, and finds what the paper found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "meta.md"


@pytest.mark.slow
def test_the_guide_runs_and_maml_needs_one_step(tmp_path):
    script = tmp_path / "guide.py"
    script.write_text(
        "\n".join(re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.M | re.S))
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors = {}  # name → mean query error after 0, 1, 5, 10 steps
    for line in done.stdout.splitlines():
        name, *figures = re.split(r"  +", line.strip())
        errors[name] = [float(figure) for figure in figures]
    assert errors.keys() == {"joint", "MAML", "first order", "Meta-SGD"}
    assert errors["joint"][1] > 1.7
    assert errors["MAML"][1] < 0.6
    assert errors["MAML"][3] < 0.25  # and goes on improving, though trained for one step
    assert errors["first order"][1] < 1.0
    assert errors["Meta-SGD"][1] < 0.35
