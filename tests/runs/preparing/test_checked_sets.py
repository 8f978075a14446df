"""The published sets by name, as tiny copies: what is right in each, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from support import films
from support.raw_sets import KNOWN, SIZE, TRUTH, row, said, write_frames, write_masks

from vad_jax.datasets import open_dataset, published
from vad_jax.datasets.raw import avenue, shanghaitech, ucf_crime
from vad_jax.datasets.raw.counts import Part
from vad_jax.runs.check_report import figures as figures_of
from vad_jax.runs.check_report import report
from vad_jax.runs.examining import check, examine


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
    assert "differ on 2 frames of 1 video, first 01, frame 3" in "\n".join(found.notes)
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
    assert "test: 1 video, 2 published" in found.faults


def test_ucf_crimes_list_and_annotation_must_name_the_same_videos(ucf):
    path = ucf / "Temporal_Anomaly_Annotation.txt"
    path.write_text(path.read_text().replace("Arson011", "Arson012"))
    faults = said(ucf_examined(ucf))
    file = path.name
    assert "1 video of the list of test videos without a line in" in faults
    assert f"{file}: Arson011_x264." in faults
    assert "1 video outside the list of test videos with a line in" in faults
    assert f"{file}: Arson012_x264." in faults
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
