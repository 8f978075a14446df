"""The command: what it prints, its exit codes, what it builds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.raw_sets import (
    JOINED,
    examined,
    frame,
)

from vad_jax.runs import preparing
from vad_jax.runs.check_report import report
from vad_jax.runs.examining import check
from vad_jax.types import DataError

HOUSE = Path(__file__).parents[3]


def started(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "vad_jax.prepare", *arguments],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        timeout=120,
        check=False,
    )


def test_where_all_is_right_a_split_has_one_line(root):
    found = examined(root)
    assert found.right
    header, train, test, _, *rest = report(found).splitlines()[2:]
    assert header.split()[:5] == ["split", "video", "frames", "/", "published"]
    assert train.split() == [
        "train",
        "2",
        "videos",
        "12",
        "/",
        "12",
        "12x16",
        "colour",
        "-",
        "-",
        "-",
        "ok",
    ]
    assert test.split() == [
        "test",
        "2",
        "videos",
        "12",
        "/",
        "12",
        "12x16",
        "colour",
        "5",
        "2",
        "of",
        "2",
        "agree",
        "12",
        "ok",
    ]
    assert "test: 2 videos, 12 frames, 5 anomalous" in rest
    assert "Labels used: labels.npy; also there: masks" in rest
    assert rest[-1].startswith("All is right. ")


def test_a_folder_of_ones_own_is_right_without_published_figures(root):
    found = check("folder", root, progress=False)
    assert found.right
    assert [row.expected for row in found.rows] == [None] * 4


def test_the_digest_knows_names_sizes_and_labels(root):
    digests = [examined(root).digest]
    assert examined(root).digest == digests[0]
    np.save(root / "labels.npy", 1 - JOINED)
    digests.append(examined(root, None).digest)
    np.save(root / "labels.npy", JOINED)
    frame(root, 5).unlink()
    digests.append(examined(root, None).digest)
    assert len(set(digests)) == 3


def test_the_command_says_by_its_exit_code_whether_all_is_right(root, command):
    given = ("--data=folder", f"--root={root}", "--check", "--json")
    for done in (started(*given), command(*given)):
        assert done.returncode == 0, done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
        assert (figures["right"], figures["used"], figures["built"]) == (True, "labels.npy", None)
        totals = {"videos": 2, "frames": 12, "anomalous": 5, "broken": 0}
        assert figures["splits"]["test"] == totals
    frame(root, 2).unlink()
    done = command(*given)
    assert done.returncode == 2
    assert "Wrong: test 02: 5 frames, but their names run from 000.png to 005.png" in done.stdout
    assert "Something is wrong" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["right"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give the data set's name: --data"),
        (("--data=folder",), "Give its folder: --root"),
        (("--data=folder", "--root=nowhere"), "--out=FOLDER, or give --check"),
        (("--data=folder", "--root=docs", "--check", "--out=x"), "--check, which builds nothing"),
        (("--data=folder", "--root=docs", "--out=docs/built"), "lies in docs, which is only read"),
        (("--data=folder", "--root=docs", "--out=README.md/x"), "README.md is a file"),
        (("--data=folder", "--root=nowhere", "--check"), "nowhere does not exist"),
        (("--data=ped3", "--root=.", "--check"), "No data set is called 'ped3'"),
        (("--data=avenue", "--root=docs", "--check"), "is not CUHK Avenue. Looked for"),
    ],
)
def test_the_command_names_what_it_lacks(arguments, said, command, monkeypatch):
    monkeypatch.chdir(HOUSE)
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        check("shanghaitech", tmp_path)


def test_names_that_cannot_be_ordered_end_the_check(root, command):
    frame(root, 0).with_name("0.png").write_bytes(frame(root, 0).read_bytes())
    done = command("--data=folder", f"--root={root}", "--check")
    assert done.returncode == 2
    assert "two frames of one number: 0.png and 000.png" in done.stderr


def test_what_is_right_is_built_and_what_is_not_is_not(root, tmp_path):
    found = examined(root)
    built = preparing.build(found, tmp_path / "built", progress=False)
    assert built.is_dir()
    assert built.is_relative_to(tmp_path / "built" / "vad_folder")
    frame(root, 2).unlink()
    with pytest.raises(DataError, match="nothing is built from it"):
        preparing.build(examined(root), tmp_path / "other", progress=False)
    assert not (tmp_path / "other").exists()


def test_the_command_builds_where_it_is_told_to(root, tmp_path, command):
    given = ("--data=folder", f"--root={root}", f"--out={tmp_path / 'built'}", "--size=64")
    done = command(*given, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["built"].endswith("vad_folder/64/1.0.0")
    (root / "labels.npy").write_bytes(b"")
    done = command(*given)
    assert done.returncode == 2
    assert "Built" not in done.stdout
