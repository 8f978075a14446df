"""The notebook is its paired script, cell by cell, and a kernel runs it."""

import json
import os
import re
import sys
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


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A working folder with what a clone has, in which runs are written."""
    for name in ("configs", "pyproject.toml"):
        (tmp_path / name).symlink_to(COLAB.parent / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPOCHS", "1")
    monkeypatch.setenv("VAD_JAX", os.fspath(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.fspath, (COLAB.parent, *sys.path))))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_shows_messages_bars_and_pictures(script, repository):
    """In a kernel as Jupyter and Colab have it, whose plots appear below their cells."""
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
    read = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    nbclient.NotebookClient(read, timeout=900, kernel_name="python3").execute(cwd=repository)
    outputs = [output for cell in read.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == script.read_text().count("plt.show()")
    assert min(len(picture.data["image/png"]) for picture in pictures) > 10_000
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "train: epoch 1/1, loss" in said
    assert re.search(r"train: 100%.*\d+/\d+ \[", said)
    assert "AUC micro" in said
    assert "same scores: True" in said


if __name__ == "__main__":
    for script in SCRIPTS:
        text = json.dumps(notebook(script.read_text()), indent=1, ensure_ascii=False)
        script.with_suffix(".ipynb").write_text(text + "\n")
