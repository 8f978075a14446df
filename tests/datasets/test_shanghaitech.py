"""ShanghaiTech in both layouts, its masks by frame and by pixel, and the tracks."""

import cv2
import numpy as np
import pytest
from support import films

from vad_jax.datasets import open_dataset, truths
from vad_jax.datasets.raw import shanghaitech
from vad_jax.datasets.raw.shanghaitech_counts import ANOMALOUS, FRAMES
from vad_jax.evaluation import read_labels, read_masks
from vad_jax.types import DataError

TRUTH = {"01_0014": [0, 1, 1, 0], "01_0015": [0, 0, 0], "12_0175": [1, 0, 0, 0, 0]}
LENGTHS = {name: len(labels) for name, labels in TRUTH.items()}
SIZE = (12, 16)


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for number in range(frames):
        frame = np.full((*SIZE, 3), (10, 20, 30 + number), np.uint8)
        assert cv2.imwrite(str(folder / f"{number:03d}.jpg"), frame)


def write_frame_masks(folder):
    folder.mkdir(parents=True)
    for name, labels in TRUTH.items():
        np.save(folder / f"{name}.npy", np.array(labels, np.uint8))
    return folder


def write_pixel_masks(folder):
    folder.mkdir(parents=True)
    for name, labels in TRUTH.items():
        masks = np.zeros((len(labels), *SIZE), np.uint8)
        masks[:, 2, 7] = labels
        np.save(folder / f"{name}.npy", masks)
    return folder


def write_tracks(folder):
    folder.mkdir(parents=True)
    for name, labels in TRUTH.items():
        rows = [f"0,{frame},1,2,3,4" for frame in np.flatnonzero(labels)]
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "shanghaitech"
    (root / "training" / "videos").mkdir(parents=True)
    for name in ("01_001", "01_002", "13_007"):
        films.write(root / "training" / "videos" / f"{name}.avi", frames=3)
    for name, frames in LENGTHS.items():
        write_frames(root / "testing" / "frames" / name, frames)
    (root / "testing" / ".DS_Store").touch()
    (root / "testing" / "frames" / ".DS_Store").touch()
    write_frame_masks(root / "testing" / "test_frame_mask")
    write_pixel_masks(root / "testing" / "test_pixel_mask")
    return root


def names(sources):
    return [source.name for source in sources]


def as_lists(labels):
    return {name: values.tolist() for name, values in labels.values.items()}


def test_the_table_sums_to_the_published_totals():
    assert (len(FRAMES), sum(FRAMES.values()), sum(ANOMALOUS.values())) == (107, 40_791, 17_326)
    assert {name[:2] for name in FRAMES} == {f"{scene:02d}" for scene in range(1, 13)}
    assert FRAMES["04_0011"] == ANOMALOUS["04_0011"] == 313
    assert (FRAMES["01_0014"], ANOMALOUS["12_0175"]) == (265, 157)
    known = shanghaitech.published()
    assert (known.training.videos, known.training.frames) == (330, 274_515)


def test_the_official_layout_has_films_to_train_on_and_frames_to_test(official):
    for root in (official, official.parent):
        dataset = open_dataset("shanghaitech", root)
        assert (dataset.layout, dataset.root, dataset.fps) == ("official", official, 24.0)
        assert names(dataset.training) == ["01_001", "01_002", "13_007"]
        assert dataset.training[0].file.suffix == ".avi"
        assert names(dataset.testing) == list(LENGTHS)
        assert len(dataset.testing[0].images) == 4
        assert dataset.masks == official / "testing" / "test_pixel_mask"
        assert dataset.ignored == 2


def test_repacked_frames_are_taken_where_they_are_there(official):
    write_frames(official / "training" / "frames" / "01_001", 2)
    dataset = open_dataset("shanghaitech", official)
    assert (dataset.layout, names(dataset.training)) == ("repacked", ["01_001"])
    assert "training/ holds videos/ and frames/: the frames are taken" in dataset.notes


def test_names_alone_say_what_is_missing(official):
    notes = open_dataset("shanghaitech", official).notes
    assert "training: 3 videos, 330 published" in notes
    assert "testing 01_0014: 4 frames, 265 published, first missing 004.jpg" in notes


def test_frame_masks_are_the_labels_before_the_joined_array(official):
    joined = np.concatenate(list(TRUTH.values()))
    np.save(official / "frame_labels_shanghai.npy", joined)
    dataset = open_dataset("shanghaitech", official)
    assert dataset.labels == official / "testing" / "test_frame_mask"
    write_tracks(official / "testing" / "tracks")
    found = [(truth.kind, truth.path.name) for truth in truths(dataset)]
    assert found == [
        ("labels", "test_frame_mask"),
        ("masks", "test_pixel_mask"),
        ("labels", "frame_labels_shanghai.npy"),
        ("tracks", "tracks"),
    ]
    for truth in truths(dataset):
        assert as_lists(read_labels(truth.path, LENGTHS)) == TRUTH


def test_pixel_masks_are_read_frame_by_frame(official):
    masks = list(read_masks(official / "testing" / "test_pixel_mask", "01_0014", 4))
    assert [(mask.shape, mask.dtype, mask.any()) for mask in masks[:2]] == [
        (SIZE, bool, False),
        (SIZE, bool, True),
    ]
    with pytest.raises(DataError, match=r"01_0014 has 5 frames but 4 masks"):
        list(read_masks(official / "testing" / "test_pixel_mask", "01_0014", 5))


@pytest.mark.parametrize("shape", [(12,), (1, 12)])
def test_the_joined_array_is_read_in_both_ranks(tmp_path, shape):
    joined = np.concatenate(list(TRUTH.values())).reshape(shape)
    np.save(tmp_path / "frame_labels_shanghai.npy", joined)
    assert as_lists(read_labels(tmp_path, LENGTHS)) == TRUTH


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,4,1,2,3,4", r"01_0014\.txt, line 1 has a box in frame 4 .* which has 4 frames"),
        ("0,-1,1,2,3,4", "frame -1"),
        ("0,1,1,2,3", "six numbers"),
        ("0,1.5,1,2,3,4", "six numbers"),
        ("track,frame,x0,y0,x1,y1", "six numbers"),
    ],
)
def test_a_bad_row_of_a_track_is_named(tmp_path, row, said):
    tracks = write_tracks(tmp_path / "tracks")
    (tracks / "01_0014.txt").write_text(row + "\n")
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path, LENGTHS)


def test_a_video_without_its_file_of_tracks_is_named(tmp_path):
    (write_tracks(tmp_path / "tracks") / "01_0015.txt").unlink()
    with pytest.raises(DataError, match="no labels of 01_0015"):
        read_labels(tmp_path, LENGTHS)


def test_another_layout_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.docx").touch()
    with pytest.raises(DataError, match=r"is not ShanghaiTech.*found notes\.docx"):
        open_dataset("shanghaitech", tmp_path)
    (tmp_path / "training").mkdir()
    with pytest.raises(DataError, match=r"no video of ShanghaiTech.*training/videos/"):
        open_dataset("shanghaitech", tmp_path)
