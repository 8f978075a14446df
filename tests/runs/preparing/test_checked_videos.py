"""Videos of a raw set: missing, cut, broken, of another size, and what is said of each."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import films
from support.raw_sets import (
    KNOWN,
    examined,
    frame,
    row,
    said,
    write_frames,
)

from vad_jax.datasets import open_dataset
from vad_jax.datasets.raw.counts import Part, Published
from vad_jax.runs.check_report import report
from vad_jax.runs.examining import check, examine


def test_a_video_short_by_frames_names_found_expected_and_first_missing(root):
    frame(root, 2).unlink()
    found = examined(root)
    assert row(found, "02").verdict == "missing"
    assert row(found, "02").faults[0] == "5 frames, 6 published, first missing 002.png"
    line = next(line for line in report(found).splitlines() if line.startswith("test   02"))
    assert line.split()[:5] == ["test", "02", "5", "/", "6"]


def test_a_gap_is_seen_where_nothing_is_published(root):
    frame(root, 2, part="training").unlink()
    found = examined(root, None)
    assert row(found, "02", "train").verdict == "missing"
    assert "from 000.png to 005.png, first missing 002.png" in said(found)


@pytest.mark.parametrize("name", ["{0:02d}0.png", "1700000{0:03d}033.png", "{0:03d}_cam2.png"])
def test_names_that_do_not_count_frames_are_noted_and_no_gap_is_claimed(tmp_path, name):
    write_frames(tmp_path / "testing" / "a", 20, name=name)
    found = check("folder", tmp_path, progress=False)
    assert found.right, said(found)
    (note,) = row(found, "a").notes
    first, second = name.format(0), name.format(1)
    assert f"names do not count frames one by one ({first}, {second} …)" in note


def test_a_video_too_long_missing_or_unknown_is_told_apart(root):
    lengths = {"01": 5, "02": 6, "03": 7}
    found = examined(root, replace(KNOWN, training=Part(3, 18, lengths)))
    assert row(found, "01", "train").verdict == "different"
    assert "6 frames, 5 published" in row(found, "01", "train").faults
    assert (row(found, "03", "train").verdict, row(found, "03", "train").frames) == (
        "missing",
        None,
    )
    assert "train: 2 videos, 3 published" in found.faults
    assert "Wrong: train: video 03 is not there" in report(found)
    many = {**lengths, "04": 1, "05": 1}
    text = report(examined(root, replace(KNOWN, training=Part(5, 20, many))))
    assert "Wrong: train: 3 videos are not there: 03, 04, 05\n" in text
    found = examined(root, replace(KNOWN, training=Part(1, 6, {"1": 6})))
    assert [r.verdict for r in found.rows if r.split == "train"] == ["ok", "unknown"]


def test_a_sum_is_compared_where_only_the_sum_is_published(root):
    found = examined(root, replace(KNOWN, training=Part(2, 13)))
    assert found.faults == ["train: 12 frames in all videos, 13 published"]


def test_two_sizes_in_a_video_name_the_frame_and_both(root):
    cv2.imwrite(str(frame(root, 4)), np.zeros((6, 8, 3), np.uint8))
    found = examined(root)
    assert row(found, "02").verdict == "different"
    assert "Video 02, frame 4: 6x8 pixels, the frames before 12x16" in said(found)


def test_a_video_of_another_size_than_the_set_is_named(root):
    for number in range(6):
        cv2.imwrite(str(frame(root, number)), np.zeros((6, 8, 3), np.uint8))
    for known in (KNOWN, None):
        found = examined(root, known)
        assert "frame 0 is 6x8 pixels, the set's are 12x16 pixels" in row(found, "02").faults


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", r"0 bytes\) is empty"), (b"text", r"4 bytes\) is no picture"), (None, "is cut off")],
)
def test_a_file_that_is_no_frame_is_named_with_its_bytes(root, content, what):
    path = frame(root, 3, part="training")
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    found = examined(root)
    assert row(found, "02", "train").verdict == "different"
    assert row(found, "02", "train").frames == 6
    with pytest.raises(AssertionError, match=r"frame 3: .*003\.png \(\d+ bytes\)"):
        raise AssertionError(said(found))
    with pytest.raises(AssertionError, match=what):
        raise AssertionError(said(found))


def test_skipped_frames_are_noted_and_counted_and_nothing_is_wrong(root, tmp_path, command):
    for number in range(4):
        frame(root, number, part="training").write_bytes(b"")
    given = ("--data=folder", f"--root={root}", f"--out={tmp_path / 'built'}", "--size=64")
    assert command(*given).returncode == 2
    done = command(*given, "--on_bad_frame=skip", "--json")
    assert done.returncode == 0, done.stderr
    assert "Note: train 02: Video 02, frame 0: " in done.stdout
    assert "Note: train 02: 4 frames cannot be read, 3 of them named here" in done.stdout
    assert "train: 2 videos, 12 frames, 4 cannot be read" in done.stdout
    figures = json.loads(done.stdout.splitlines()[-1])
    about = json.loads((Path(figures["built"]) / "metadata.json").read_text())
    assert about["skipped"] == {"train/02": [0, 1, 2, 3]}
    for number in range(6):
        frame(root, number, part="training").write_bytes(b"")
    done = command(*given, "--on_bad_frame=skip")
    assert done.returncode == 2
    assert "Wrong: train 02: Video 02 has no frame that can be read" in done.stdout


def test_many_broken_frames_are_counted_not_listed(root):
    for number in range(5):
        frame(root, number).write_bytes(b"")
    faults = row(examined(root), "02").faults
    assert sum("is empty" in fault for fault in faults) == 3
    assert faults[-1] == "5 frames cannot be read, 3 of them named here"


def test_a_short_video_is_noted_with_the_frames_that_windows_need(root):
    for number in range(1, 6):
        frame(root, number, part="training").unlink()
    found = examined(root, None)
    assert found.right
    note = "1 frame: no score by a method whose window is longer (2 to 16 frames)"
    assert row(found, "02", "train").notes == [note]
    assert f"Note: train 02: {note}" in report(found)


def test_a_film_that_cannot_be_read_and_one_that_is_cut_off(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "broken.avi").write_bytes(b"no film")
    film = films.write(tmp_path / "training" / "cut.avi", frames=12)
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * 0.7)])
    films.write(tmp_path / "training" / "whole.avi", frames=12)
    found = check("folder", tmp_path, progress=False)
    broken, cut, whole = found.rows
    assert broken.verdict == "different"
    assert "(7 bytes) holds no readable frame" in broken.faults[0]
    assert 0 < cut.frames < 12
    assert cut.verdict == "different"
    assert str(tmp_path / "training" / "cut.avi") in cut.faults[0]
    assert (whole.frames, whole.verdict, whole.notes[1:]) == (12, "ok", [])


def test_a_film_that_is_as_it_is_published_is_right_whatever_its_container_says(tmp_path):
    (tmp_path / "testing").mkdir()
    film = films.write(tmp_path / "testing" / "01.avi", frames=12)
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * 0.7)])
    dataset = open_dataset("folder", tmp_path)
    (seen,) = examine(dataset, None, progress=False).rows
    known = Published(Part(0), Part(1, seen.frames, {"01": seen.frames}))
    (row,) = examine(dataset, known, progress=False).rows
    assert (row.verdict, row.faults) == ("ok", [])
    assert str(film) in row.notes[0]
