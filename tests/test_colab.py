"""The notebook is its paired script, cell by cell, and the script runs."""

import json
import os
import re
import runpy
from pathlib import Path

import pytest

COLAB = Path(__file__).resolve().parents[1] / "colab"
SCRIPTS = sorted(COLAB.glob("*.py"))


def cells(text):
    """(kind, source) of each cell of a script in percent format."""
    found = []
    for block in re.split(r"^# %%", text, flags=re.M)[1:]:
        head, _, body = block.partition("\n")
        body = body.strip("\n")
        if "[markdown]" in head:
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.split("\n"))
            found.append(("markdown", body))
        else:
            found.append(("code", body))
    return found


def notebook(text):
    """The notebook of a script, without outputs."""
    shared = {"metadata": {}}
    code = {"execution_count": None, "outputs": []}
    return {
        "cells": [
            {
                "cell_type": kind,
                "id": f"cell-{number}",
                **shared,
                **(code if kind == "code" else {}),
                "source": source.splitlines(keepends=True),
            }
            for number, (kind, source) in enumerate(cells(text))
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_its_script(script):
    stored = json.loads(script.with_suffix(".ipynb").read_text())
    assert stored == notebook(script.read_text()), "make it anew: python tests/test_colab.py"


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_runs(script, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    for name in ("configs", "pyproject.toml"):
        (tmp_path / name).symlink_to(COLAB.parent / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPOCHS", "1")
    monkeypatch.setenv("VAD_JAX", os.fspath(tmp_path))
    runpy.run_path(os.fspath(script))


if __name__ == "__main__":
    for script in SCRIPTS:
        text = json.dumps(notebook(script.read_text()), indent=1, ensure_ascii=False)
        script.with_suffix(".ipynb").write_text(text + "\n")
