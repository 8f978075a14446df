"""Labels of a raw set: lengths, values, sources that differ, and what is said of each."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from support.raw_sets import (
    JOINED,
    KNOWN,
    SIZE,
    TRUTH,
    examined,
    row,
    said,
)

from vad_jax.datasets import open_dataset
from vad_jax.evaluation.truth.agreement import compare
from vad_jax.runs.check_report import report
from vad_jax.runs.examining import examine


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
    line = "labels.npy and masks differ on 1 frame of 1 video, first 01, frame 0 (0-based)"
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


def test_without_any_labels_only_a_published_set_is_wrong(root):
    (root / "labels.npy").unlink()
    (root / "masks").rename(root.parent / "elsewhere")
    assert "No labels of the test videos were found" in said(examined(root))
    found = examined(root, None)
    assert found.right
    assert "Note: No labels of the test videos" in report(found)


def test_disagreement_of_two_sources_is_found_and_shifts_are_seen():
    one = {"01": np.array([0, 1, 1, 0, 0]), "02": np.array([0, 0, 0, 0, 0])}
    assert compare(one, one) is None
    two = {"01": np.array([0, 0, 1, 1, 0]), "02": np.array([0, 0, 0, 0, 0])}
    found = compare(one, two)
    assert found == ({"01": 2}, "01", 1, 1)
    assert compare(two, one).shift == -1
    assert found.total == 2
    assert compare(one, {"01": np.array([0, 1])}) is None  # nothing that both label
