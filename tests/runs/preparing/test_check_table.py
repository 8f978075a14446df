"""The table and the lines below it: short, narrow, and true of every video."""

from dataclasses import replace

import numpy as np
import pytest
from support.raw_sets import KNOWN, TRUTH, examined, frame, write_frames

from vad_jax.datasets.check import Row
from vad_jax.datasets.check_table import WIDEST, table
from vad_jax.datasets.raw.counts import Part
from vad_jax.runs.check_report import report


def row(video, agreeing=None, *, verdict="ok", split="test", frames=1_000_000, **more):
    size = (1080, 1920)
    return Row(
        split, video, frames, 1_000_000, size, False, 999_999, agreeing, 999_999, 0, verdict, **more
    )


def lines_of(rows, split="test"):
    return [line for line in table(rows, None).splitlines() if line.startswith(split)]


@pytest.mark.parametrize("name", ["01", "camera/of/the/north/gate/2024-05-01T12-00-00/part_0001"])
def test_no_line_is_wider_than_a_terminal_and_no_columns_touch(name):
    rows = [row(name, (2, 3), verdict="different"), row(f"{name}b", (3, 3))]
    header, *lines = table(rows, None).splitlines()
    assert max(map(len, [header, *lines])) <= WIDEST == 100
    starts = [header.index(title) for title in ("frames", "height", "anomalous", "verdict")]
    for line in lines:
        for start in starts:
            assert line[start - 2 : start] == "  "
            assert line[start] != " "


def test_a_name_that_is_cut_keeps_both_ends():
    (line,) = lines_of([row("a" * 40 + "MIDDLE" + "z" * 40, verdict="different")])
    assert "aaaa…zzzz" in line


def test_videos_with_unlike_numbers_of_sources_that_all_agree_do_agree():
    """Ped1 has masks of 10 of its 36 test videos."""
    rows = [row("1", (2, 2)), row("2", (3, 3))]
    assert "2 to 3 agree" in lines_of(rows)[0]
    assert "3 of 3 agree" in lines_of(rows[1:])[0]
    rows.append(row("3", (1, 2)))
    assert "1 of 2 agree" in lines_of(rows)[0]


def test_videos_that_are_not_there_are_one_line(root):
    names = {f"{number:02d}": 6 for number in range(1, 151)}
    text = report(examined(root, replace(KNOWN, testing=Part(150, 900, names))))
    assert len(text.splitlines()) < 20
    (line,) = [line for line in text.splitlines() if line.endswith("missing")]
    assert line.split() == ["test", "148", "videos", "-", "/", "888", "-", "-", "-", "-", "missing"]
    assert "Wrong: test: 148 videos are not there: 03, 04, 05, 06, 07 and 143 more" in text


def test_what_is_wrong_with_many_videos_alike_is_said_once(root):
    for number in range(30):
        write_frames(root / "testing" / "frames" / f"own{number}", 6)
    text = report(examined(root))
    said = (
        "test, 30 videos: no video of this name is published (own0, own1, own2, own3, own4 and 25"
    )
    assert text.count("no video of this name") == text.count(said) == 1
    notes = [line for line in text.splitlines() if "no score by a method" in line]
    assert [note.split(":")[1] for note in notes] == [" train, 2 videos", " test, 32 videos"]
    (line,) = [line for line in text.splitlines() if line.startswith("test   30 videos")]
    assert line.split()[3:] == ["180", "/", "-", "12x16", "colour", "-", "-", "-", "missing"]


def test_one_video_is_no_plural(root):
    for part in ("training", "testing"):
        for number in range(6):
            frame(root, number, part=part).unlink()
        (root / part / "frames" / "02").rmdir()
    (root / "masks").rename(root.parent / "elsewhere")
    np.save(root / "labels.npy", np.uint8(TRUTH["01"]))
    text = report(examined(root))
    assert "train: 1 video, 6 frames\ntest: 1 video, 6 frames, 3 anomalous\n" in text
    assert "1 videos" not in text
