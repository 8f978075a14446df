"""Raw data sets examined: what is right, and for every fault what is said of it."""

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import scipy.io
from support import films

from vad_jax import prepare
from vad_jax.datasets import open_dataset, published
from vad_jax.datasets.raw import avenue, shanghaitech, ucf_crime
from vad_jax.datasets.raw.counts import Part, Published
from vad_jax.evaluation.truth.agreement import compare
from vad_jax.runs import preparing
from vad_jax.runs.check_report import figures as figures_of
from vad_jax.runs.check_report import report
from vad_jax.runs.examining import check, examine
from vad_jax.types import DataError

HOUSE = Path(__file__).parents[2]
SIZE = (12, 16)
TRUTH = {"01": [0, 1, 1, 0, 0, 1], "02": [0, 0, 1, 1, 0, 0]}
JOINED = np.concatenate(list(TRUTH.values())).astype(np.uint8)


def write_frames(folder, frames, *, name="{:03d}.png", size=SIZE):
    folder.mkdir(parents=True)
    for number in range(frames):
        pixels = np.full((*size, 3), (10, 20, 30 + number), np.uint8)
        assert cv2.imwrite(str(folder / name.format(number)), pixels)


def write_masks(folder, labels, *, value=255, name="{:03d}.png", size=SIZE):
    folder.mkdir(parents=True)
    for number, label in enumerate(labels):
        mask = np.zeros(size, np.uint8)
        mask[3, 4] = value * label
        assert cv2.imwrite(str(folder / name.format(number)), mask)


@pytest.fixture
def root(tmp_path):
    """A folder of the generic form: two training and two test videos of six frames, and masks."""
    root = tmp_path / "mine"
    for name, labels in TRUTH.items():
        write_frames(root / "training" / "frames" / name, 6)
        write_frames(root / "testing" / "frames" / name, 6)
        write_masks(root / "masks" / name, labels)
    np.save(root / "labels.npy", JOINED)
    return root


KNOWN = Published(
    training=Part(2, 12, {"01": 6, "02": 6}),
    testing=Part(2, 12, {"01": 6, "02": 6}),
    size=SIZE,
    anomalous={"labels": {"01": 3, "02": 2}, "masks": {"01": 3, "02": 2}},
)


def examined(root, known=KNOWN, **options):
    return examine(open_dataset("folder", root, **options), known, progress=False)


def said(found):
    """Everything that is wrong, in one text."""
    return "\n".join([*found.faults, *(fault for row in found.rows for fault in row.faults)])


def row(found, video, split="test"):
    (one,) = [row for row in found.rows if (row.split, row.video) == (split, video)]
    return one


def frame(root, number, *, video="02", part="testing"):
    return root / part / "frames" / video / f"{number:03d}.png"


class Done(NamedTuple):
    """What a command did: its exit code, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capsys):
    """Calls the command in this process."""

    def command(*arguments):
        capsys.readouterr()
        return Done(prepare.main(arguments), *capsys.readouterr())

    return command


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


def test_truth_folders_and_junk_are_ignored_and_counted(tmp_path):
    root = tmp_path / "UCSDped2"
    for name, labels in TRUTH.items():
        write_frames(root / "Train" / f"Train0{name}", 6, name="{:03d}.tif")
        write_frames(root / "Test" / f"Test0{name}", 6, name="{:03d}.tif")
        write_masks(root / "Test" / f"Test0{name}_gt", labels, name="frame{:03d}.bmp")
    lines = ("TestVideoFile = {};", "[2:3, 6]", "[3:4]")
    text = "\n".join(f"TestVideoFile{{end+1}}.gt_frame = {line};" for line in lines[1:])
    (root / "Test" / "UCSDped2.m").write_text(f"{lines[0]}\n{text}\n")
    for junk in (".DS_Store", "UCSDped2.m~", "Test001/Thumbs.db", "._README.txt"):
        (root / "Test" / junk).touch()
    known = replace(KNOWN, anomalous={}, testing=Part(2), training=Part(2))
    found = examine(open_dataset("ucsd_ped2", root), known, progress=False)
    assert found.right, said(found)
    assert found.dataset.ignored == 2 + 4
    assert [row.agreeing for row in found.rows if row.split == "test"] == [(2, 2)] * 2
    assert "Ignored: 6 entries" in report(found)


def test_frames_beside_truth_folders_are_no_masks(tmp_path):
    """Ped1: 26 of its 36 test videos have no masks, only their frames in a folder of their name."""
    root = tmp_path / "UCSDped1"
    for name in TRUTH:
        write_frames(root / "Test" / f"Test0{name}", 6, name="{:03d}.tif")
    write_masks(root / "Test" / "Test001_gt", labels=TRUTH["01"], name="{:03d}.bmp")
    dataset = open_dataset("ucsd_ped1", root)
    assert published(dataset).masked[:2] == ("Test3", "Test4")
    known = replace(KNOWN, training=Part(0), testing=Part(2), masked=("Test1",), anomalous={})
    found = examine(dataset, known, progress=False)
    assert [row.masks for row in found.rows] == [6, None]


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


@pytest.mark.parametrize("length", [11, 13])
def test_labels_of_wrong_length_name_both_lengths_and_where_they_part(root, length):
    np.save(root / "labels.npy", np.zeros(length, np.uint8))
    found = examined(root)
    assert not found.right
    assert f"holds {length} labels, but the 2 test videos have 12 frames" in said(found)
    assert "they part in 02" in said(found)


def test_a_video_of_labels_of_wrong_length_is_named(root):
    (root / "labels").mkdir()
    for name, labels in TRUTH.items():
        np.save(root / "labels" / f"{name}.npy", np.array(labels[:5] if name == "02" else labels))
    assert "02 has 6 frames but 5 labels" in said(examined(root))


@pytest.mark.parametrize("by", [1, -1])
def test_labels_off_by_one_are_told_how_far(root, by):
    moved = [np.roll(np.pad(labels, 2), by)[2:-2] for labels in TRUTH.values()]
    np.save(root / "labels.npy", np.concatenate(moved).astype(np.uint8))
    found = examined(root)
    assert "labels.npy and masks differ on " in said(found)
    assert "first 01, frame " in said(found)
    assert f"labels agree with the masks when shifted by {-by}" in said(found)
    assert row(found, "01").verdict == "different"
    assert row(found, "01").agreeing == (1, 2)


def test_labels_that_differ_otherwise_get_no_such_hint(root):
    labels = JOINED.copy()
    labels[0] = 1
    np.save(root / "labels.npy", labels)
    found = examined(root)
    line = "labels.npy and masks differ on 1 frames of 1 videos, first 01, frame 0 (0-based)"
    assert found.faults == [line]
    assert (row(found, "01").verdict, row(found, "02").verdict) == ("different", "ok")
    assert "4 anomalous frames, 3 published (labels.npy)" in row(found, "01").faults


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.where(np.arange(12) == 7, 2, JOINED), "the label 2 at position 7"),
        (np.where(np.arange(12) == 7, np.nan, JOINED), "the label nan at position 7"),
        (JOINED.astype(object), "is no plain array of numbers"),
        (JOINED.astype(str), "holds <U"),
    ],
)
def test_labels_that_are_not_0_and_1_are_named(root, labels, what):
    np.save(root / "labels.npy", labels, allow_pickle=True)
    assert what in said(examined(root))


def test_a_pickle_is_refused(root):
    (root / "labels.npy").write_bytes(pickle.dumps(JOINED.tolist()))
    found = examined(root)
    assert "Pickles and object arrays are never loaded" in said(found)
    assert not found.right


def test_masks_of_another_size_name_frame_and_sizes(root):
    cv2.imwrite(str(root / "masks" / "02" / "004.png"), np.zeros((6, 8), np.uint8))
    faults = row(examined(root), "02").faults
    assert len(faults) == 1
    assert faults[0].startswith("frame 4: the mask is 6x8 pixels, the frame 12x16")


def test_masks_of_more_than_two_values_name_frame_and_values(root):
    for number in range(6):
        (root / "masks" / "02" / f"{number:03d}.png").unlink()
    (root / "masks" / "02").rmdir()
    write_masks(root / "masks" / "02", TRUTH["02"], name="{:03d}.jpg")
    faults = row(examined(root), "02").faults
    assert any("frame 2: masks hold the values 0, 1, 2" in fault for fault in faults)
    assert any("Masks saved as JPEG" in fault for fault in faults)


@pytest.mark.parametrize(
    "masks", [b"", b"\x93NUMPY", np.zeros((6, *SIZE, 3)), np.array([None] * 6)]
)
def test_an_array_that_holds_no_masks_is_named(root, masks):
    for path in (root / "masks" / "02").iterdir():
        path.unlink()
    path = root / "masks" / "02.npy"
    path.write_bytes(masks) if isinstance(masks, bytes) else np.save(path, masks, allow_pickle=True)
    assert row(examined(root), "02").faults == [
        f"{path} is no whole array of masks, [F, H, W]: replace it"
    ]


def test_missing_masks_are_counted(root):
    (root / "masks" / "02" / "005.png").unlink()
    found = examined(root)
    assert (row(found, "02").masks, row(found, "02").verdict) == (5, "missing")
    assert [row(found, video).agreeing for video in TRUTH] == [(2, 2), (1, 2)]
    assert "6 frames but 5 masks" in said(found)
    for number in range(5):
        (root / "masks" / "02" / f"{number:03d}.png").unlink()
    assert "it has no masks in" in said(examined(root))


def test_masks_that_only_some_videos_are_known_to_have(root):
    for path in (root / "masks" / "02").iterdir():
        path.unlink()
    found = examined(root, replace(KNOWN, masked=("1",)))
    assert found.right
    assert [row.masks for row in found.rows if row.split == "test"] == [6, None]


def test_ranges_beyond_the_video_or_turned_name_file_cell_range_and_length(root):
    (root / "labels.npy").unlink()
    gt = np.empty((1, 2), object)
    gt[0, 0], gt[0, 1] = np.array([[2], [3]]), np.array([[5], [7]])
    scipy.io.savemat(root / "gt.mat", {"gt": gt})
    assert "gt.mat, cell 2 labels frames 5 to 7 (1-based, both included) of 02" in said(
        examined(root)
    )
    (root / "gt.mat").unlink()
    text = "TestVideoFile{end+1}.gt_frame = [2:3];\nTestVideoFile{end+1}.gt_frame = [5:4];\n"
    (root / "gt.m").write_text(text)
    assert "gt.m, line 2 labels frames 5 to 4" in said(examined(root))


def test_a_test_video_without_labels_is_never_normal(root):
    (root / "labels.npy").unlink()
    (root / "labels").mkdir()
    np.save(root / "labels" / "01.npy", np.array(TRUTH["01"]))
    assert "holds no labels of 02" in said(examined(root))


def test_truth_of_a_video_that_is_not_there_is_unknown(root):
    (root / "labels").mkdir()
    (root / "tracks").mkdir()
    for name, labels in TRUTH.items():
        np.save(root / "labels" / f"{name}.npy", np.array(labels, np.uint8))
        rows = [f"0,{at},1,2,3,4" for at in np.flatnonzero(labels)]
        (root / "tracks" / f"{name}.txt").write_text("\n".join(rows))
    assert examined(root).right
    np.save(root / "labels" / "03.npy", np.zeros(6, np.uint8))
    (root / "tracks" / "04.txt").write_text("0,1,1,2,3,4")
    np.save(root / "labels" / ".03.npy", np.zeros(6, np.uint8))
    labels, tracks = examined(root).faults
    assert labels.startswith("labels knows 03, unknown here: no video has that name.")
    assert tracks.startswith("tracks knows 04, unknown here: no video has that name.")


def test_scenes_of_other_sets_in_the_same_folder_are_no_fault(root):
    np.save(root / "masks" / "03.npy", np.zeros((6, *SIZE), np.uint8))
    scenes = replace(open_dataset("folder", root), name="synthetic_scenes_held_out")
    assert examine(scenes, KNOWN, progress=False).right


def test_truth_folders_of_no_video_are_unknown(root):
    write_masks(root / "masks" / "05_gt", TRUTH["01"])
    assert "masks knows 05, unknown here" in said(examined(root))


def test_without_any_labels_only_a_published_set_is_wrong(root):
    (root / "labels.npy").unlink()
    (root / "masks").rename(root.parent / "elsewhere")
    assert "No labels of the test videos were found" in said(examined(root))
    found = examined(root, None)
    assert found.right
    assert "Note: No labels of the test videos" in report(found)


def test_names_that_cannot_be_ordered_end_the_check(root, command):
    frame(root, 0).with_name("0.png").write_bytes(frame(root, 0).read_bytes())
    done = command("--data=folder", f"--root={root}", "--check")
    assert done.returncode == 2
    assert "two frames of one number: 0.png and 000.png" in done.stderr


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
    assert f"{cut.frames} frames decoded, its container says 12" in cut.notes[0]
    assert (whole.frames, whole.verdict, whole.notes[1:]) == (12, "ok", [])


def test_disagreement_of_two_sources_is_found_and_shifts_are_seen():
    one = {"01": np.array([0, 1, 1, 0, 0]), "02": np.array([0, 0, 0, 0, 0])}
    assert compare(one, one) is None
    two = {"01": np.array([0, 0, 1, 1, 0]), "02": np.array([0, 0, 0, 0, 0])}
    found = compare(one, two)
    assert found == ({"01": 2}, "01", 1, 1)
    assert compare(two, one).shift == -1
    assert found.total == 2
    assert compare(one, {"01": np.array([0, 1])}) is None  # nothing that both label


# The sets by name


def test_avenue_with_both_sources_is_right_as_it_is_published(tmp_path):
    root = tmp_path / "avenue"
    bridged = {"01": [0, 1, 1, 1, 1, 1], "02": [0, 0, 1, 1, 0, 0]}
    for name, labels in TRUTH.items():
        write_frames(root / "training" / "frames" / name, 6)
        write_frames(root / "testing" / "frames" / name, 6)
        cell = np.empty((1, 6), object)
        for number, label in enumerate(labels):
            cell[0, number] = np.zeros(SIZE, np.uint8)
            cell[0, number][2, 2] = label
        folder = root / "ground_truth_demo" / "testing_label_mask"
        folder.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(folder / f"{int(name)}_label.mat", {"volLabel": cell})
    np.save(root / "frame_labels_avenue.npy", np.int8([np.concatenate(list(bridged.values()))]))
    known = replace(
        KNOWN,
        anomalous={"labels": {"01": 5, "02": 2}, "masks": {"01": 3, "02": 2}},
        disagreements={frozenset(("labels", "masks")): 2},
        remarks=avenue.published().remarks,
    )
    found = examine(open_dataset("avenue", root), known, progress=False)
    assert found.right, said(found)
    assert found.used == "ground_truth_demo/testing_label_mask"
    assert [row.anomalous for row in found.rows if row.split == "test"] == [3, 2]
    assert "differ on 2 frames of 1 videos, first 01, frame 3" in "\n".join(found.notes)
    assert "Training video 02 is not clean: frames 311 to 521" in report(found)
    other = examine(open_dataset("avenue", root, labels="intervals"), known, progress=False)
    assert (other.right, other.used) == (True, "frame_labels_avenue.npy")
    assert [row.anomalous for row in other.rows if row.split == "test"] == [5, 2]
    assert other.digest != found.digest
    wrong = examine(open_dataset("avenue", root), replace(known, disagreements={}), progress=False)
    assert not wrong.right


def test_avenue_of_films_is_counted_by_decoding(tmp_path):
    for name in TRUTH:
        for part in ("training_videos", "testing_videos"):
            (tmp_path / part).mkdir(exist_ok=True)
            films.write(tmp_path / part / f"{name}.avi", frames=6, size=SIZE)
    found = examine(open_dataset("avenue", tmp_path), replace(KNOWN, size=SIZE), progress=False)
    assert [row.verdict for row in found.rows] == ["ok"] * 4
    assert [row.frames for row in found.rows] == [6] * 4
    assert found.faults == [
        "No labels of the test videos were found: give --labels, or the videos are only scored."
    ]


def test_shanghaitech_refuses_a_video_in_both_splits_and_knows_its_tracks(tmp_path):
    root = tmp_path / "shanghaitech"
    (root / "testing" / "test_frame_mask").mkdir(parents=True)
    (root / "testing" / "test_pixel_mask").mkdir()
    (root / "tracks").mkdir()
    truth = {"01_0014": TRUTH["01"], "01_0015": TRUTH["02"]}
    for name, labels in truth.items():
        write_frames(root / "testing" / "frames" / name, 6, name="{:03d}.jpg")
        np.save(root / "testing" / "test_frame_mask" / f"{name}.npy", np.array(labels, np.uint8))
        masks = np.zeros((6, *SIZE), np.uint8)
        masks[:, 1, 1] = labels
        np.save(root / "testing" / "test_pixel_mask" / f"{name}.npy", masks)
        rows = [f"0,{at},1,2,3,4" for at in np.flatnonzero(labels)[1:]]
        (root / "tracks" / f"{name}.txt").write_text("\n".join(rows))
    write_frames(root / "training" / "frames" / "01_001", 6)
    known = replace(
        shanghaitech.published(),
        training=Part(1),
        testing=Part(2, 12, dict.fromkeys(truth, 6)),
        size=SIZE,
        anomalous={kind: {"01_0014": 3, "01_0015": 2} for kind in ("labels", "masks")},
        disagreements={frozenset((kind, "tracks")): 2 for kind in ("labels", "masks")},
    )
    found = examine(open_dataset("shanghaitech", root), known, progress=False)
    assert found.right, said(found)
    assert [row.agreeing for row in found.rows if row.split == "test"] == [(2, 3)] * 2
    write_frames(root / "training" / "frames" / "01_0015", 6)
    found = examine(open_dataset("shanghaitech", root), known, progress=False)
    assert "01_0015 is a training video and a test video" in found.faults


@pytest.fixture
def ucf(tmp_path):
    lines = {
        "Anomaly_Train.txt": ("Abuse/Abuse001_x264.mp4",),
        "Anomaly_Test.txt": ("Arson/Arson011_x264.mp4", "Normal/Normal_Videos_003_x264.mp4"),
    }
    for name, videos in lines.items():
        (tmp_path / name).write_text("\n".join(videos))
        for video in videos:
            path = tmp_path / video
            path.parent.mkdir(exist_ok=True)
            films.write(path, frames=6)
    annotation = "Arson011_x264.mp4  Arson  2  3  6  9  \n"
    annotation += "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
    (tmp_path / "Temporal_Anomaly_Annotation.txt").write_text(annotation)
    return tmp_path


def ucf_examined(root):
    dataset = open_dataset("ucf_crime", root)
    known = replace(published(dataset), faults=(), size=(32, 48))
    return examine(dataset, known, progress=False)


def test_ucf_crime_is_compared_with_its_lists(ucf):
    found = ucf_examined(ucf)
    assert found.right, said(found)
    assert [row.anomalous for row in found.rows if row.split == "test"] == [3, 0]
    assert len(published(found.dataset).faults) == 2 * len(ucf_crime.VIDEOS_OF)
    (ucf / "Arson" / "Arson011_x264.mp4").unlink()
    found = ucf_examined(ucf)
    assert row(found, "Arson011_x264").verdict == "missing"
    assert "test: 1 videos, 2 published" in found.faults


def test_ucf_crimes_list_and_annotation_must_name_the_same_videos(ucf):
    path = ucf / "Temporal_Anomaly_Annotation.txt"
    path.write_text(path.read_text().replace("Arson011", "Arson012"))
    faults = said(ucf_examined(ucf))
    assert "1 videos are in the list of test videos and not in" in faults
    assert "Temporal_Anomaly_Annotation.txt: Arson011_x264." in faults
    assert "1 videos are not in the list of test videos, but in" in faults
    assert "has no line for Arson011_x264" in faults


def test_the_real_ped2_is_right(ped2_root):
    found = check("ucsd_ped2", ped2_root, progress=False)
    assert found.right, said(found)
    assert found.used == "labels/UCSDped2.m"
    assert set(found.labels) == {
        "labels/UCSDped2.m",
        "labels/ped2.mat",
        "labels/frame_labels_ped2.npy",
        "testing/masks",
    }
    figures = figures_of(found)
    train, test = ((2550, 16, None), (2010, 12, 1648))
    for split, (frames, videos, anomalous) in {"train": train, "test": test}.items():
        expected = {"videos": videos, "frames": frames, "anomalous": anomalous, "broken": 0}
        assert figures["splits"][split] == expected
    assert {row.agreeing for row in found.rows if row.split == "test"} == {(4, 4)}
    assert {(row.size, row.grey) for row in found.rows} == {((240, 360), True)}
    assert sum(row.masks for row in found.rows if row.split == "test") == 2010


# Building


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
