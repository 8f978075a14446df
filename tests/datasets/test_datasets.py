import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vad_jax.datasets import open_dataset
from vad_jax.datasets.raw.ucsd import COUNTS
from vad_jax.types import DataError

PED2 = Path(__file__).parents[2].parent / "shared" / "data" / "ped2"


def write_images(folder, names, *, value=100, shape=(12, 16)):
    folder.mkdir(parents=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), np.full(shape, value, np.uint8))


def write_video(path, frames, *, rate=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter_fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), fourcc, rate, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 10 * number, np.uint8))
    writer.release()


@pytest.fixture
def official(tmp_path):
    """UCSD Ped2 as its makers pack it, two frames a video, with the junk that circulates."""
    root = tmp_path / "UCSD_Anomaly_Dataset.v1p2" / "UCSDped2"
    for split, count in (("Train", 16), ("Test", 12)):
        for number in range(1, count + 1):
            write_images(root / split / f"{split}{number:03d}", ["001.tif", "002.tif"])
    for number in range(1, 13):
        first = "frame00" if number in (6, 9, 12) else "00"
        names = [f"{first}{n}.bmp" for n in (1, 2)]
        write_images(root / "Test" / f"Test{number:03d}_gt", names)
    for junk in (".DS_Store", "._UCSDped2.m", "UCSDped2.m~", "Test001/Thumbs.db"):
        (root / "Test" / junk).write_bytes(b"junk")
    (root / "Test" / "UCSDped2.m").write_text("TestVideoFile = {};\n")
    return root


@pytest.fixture
def repacked(tmp_path):
    root = tmp_path / "ped2"
    for split, count in (("training", 16), ("testing", 12)):
        for number in range(1, count + 1):
            write_images(root / split / "frames" / f"{number:02d}", ["000.jpg", "001.jpg"])
    return root


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mine"
    write_images(root / "training" / "frames" / "a", ["0.png", "1.png"])
    write_images(root / "testing" / "frames" / "b", ["0.png", "1.png"])
    return root


def names(sources):
    return [source.name for source in sources]


def test_the_official_layout_is_found_from_the_folder_and_from_its_parents(official):
    for root in (official, official.parent, official.parent.parent):
        dataset = open_dataset("ucsd_ped2", root)
        assert (dataset.layout, dataset.root, dataset.fps) == ("official", official, 10.0)
        assert names(dataset.testing) == [f"Test{n:03d}" for n in range(1, 13)]
        assert names(dataset.training) == [f"Train{n:03d}" for n in range(1, 17)]


def test_masks_and_junk_are_no_videos_but_are_counted(official):
    dataset = open_dataset("ucsd_ped2", official)
    assert dataset.masks == official / "Test"
    assert dataset.ignored == 12 + 4
    assert not [note for note in dataset.notes if "unknown" in note]


def test_only_the_exact_name_is_the_label_file(official):
    labels = official / "Test" / "UCSDped2.m"
    assert open_dataset("ucsd_ped2", official).labels == labels
    labels.unlink()
    assert open_dataset("ucsd_ped2", official).labels is None


def test_a_count_unlike_the_published_one_is_noted_with_the_first_missing_name(official):
    notes = open_dataset("ucsd_ped2", official).notes
    assert "Train Train001: 2 frames, 120 published, first missing 003.tif" in notes
    assert sum(" published" in note for note in notes) == 28


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        (range(1, 121), "077.jpg"),  # repacked from 1
        (range(120), "077.jpg"),
        (range(1, 120), "000.jpg"),  # from 0, its first is missing
        (range(119), "119.jpg"),
    ],
)
def test_the_first_missing_name_is_found_whether_names_count_from_0_or_1(
    tmp_path, numbers, missing
):
    names = [f"{n:03d}.jpg" for n in numbers if f"{n:03d}.jpg" != missing]
    write_images(tmp_path / "training" / "frames" / "01", names)
    notes = open_dataset("ucsd_ped2", tmp_path).notes
    assert f"training 01: 119 frames, 120 published, first missing {missing}" in notes


def test_official_names_that_count_from_0_are_read_as_such(official):
    folder = official / "Train" / "Train001"
    (folder / "002.tif").rename(folder / "000.tif")
    notes = open_dataset("ucsd_ped2", official).notes
    assert "Train Train001: 2 frames, 120 published, first missing 002.tif" in notes


def test_a_missing_video_is_noted(repacked):
    for image in (repacked / "testing" / "frames" / "12").iterdir():
        image.unlink()
    notes = open_dataset("ucsd_ped2", repacked).notes
    assert "testing: 11 videos, 12 published" in notes
    assert "testing/frames/12 is empty: no video" in notes


def test_the_repacked_layout_is_found_from_the_folder_and_from_its_parent(repacked):
    for root in (repacked, repacked.parent):
        dataset = open_dataset("ucsd_ped2", root)
        assert (dataset.layout, dataset.root) == ("repacked", repacked)
        assert names(dataset.testing) == [f"{n:02d}" for n in range(1, 13)]


def test_labels_of_ucsd_are_taken_by_name_then_by_place(repacked):
    (repacked.parent / "frame_labels_ped2.npy").touch()
    assert open_dataset("ucsd_ped2", repacked).labels.name == "frame_labels_ped2.npy"
    (repacked / "ped2.mat").touch()
    assert open_dataset("ucsd_ped2", repacked).labels.name == "ped2.mat"
    (repacked / "labels").mkdir()
    (repacked / "labels" / "UCSDped2.m").touch()
    assert open_dataset("ucsd_ped2", repacked).labels == repacked / "labels" / "UCSDped2.m"


def test_labels_that_the_user_names_win_and_must_exist(repacked, tmp_path):
    (repacked / "ped2.mat").touch()
    own = tmp_path / "own.csv"
    with pytest.raises(DataError, match=r"own\.csv do not exist"):
        open_dataset("ucsd_ped2", repacked, labels=own)
    own.touch()
    assert open_dataset("ucsd_ped2", repacked, labels=own).labels == own


@pytest.mark.skipif(not PED2.is_dir(), reason="no shared folder beside the repository")
def test_the_real_ped2_has_the_published_counts():
    dataset = open_dataset("ucsd_ped2", PED2)
    lengths = tuple(
        tuple(len(s.images) for s in part) for part in (dataset.training, dataset.testing)
    )
    assert lengths == COUNTS["ped2"]
    assert [sum(part) for part in lengths] == [2550, 2010]
    assert dataset.notes == ()
    assert dataset.labels.name == "UCSDped2.m"


def test_a_generic_folder_may_hold_files_and_images_with_or_without_frames(tmp_path):
    write_video(tmp_path / "training" / "walk.avi", 3)
    write_video(tmp_path / "training" / "gate" / "Run.MP4".lower(), 3)
    write_images(tmp_path / "testing" / "frames" / "cam" / "day1", ["1.bmp", "2.bmp"])
    dataset = open_dataset("folder", tmp_path)
    assert dataset.layout == "folder"
    assert names(dataset.training) == ["gate/run", "walk"]
    assert names(dataset.testing) == ["cam/day1"]
    assert dataset.training[1].file == tmp_path / "training" / "walk.avi"
    assert dataset.training[1].images is None


def test_one_folder_is_only_scored(tmp_path):
    write_video(tmp_path / "a.avi", 2, rate=25.0)
    dataset = open_dataset("folder", tmp_path)
    assert (dataset.layout, dataset.training, names(dataset.testing)) == ("scoring", (), ["a"])
    assert dataset.fps == 25.0
    assert "all videos are scored" in dataset.notes[0]


def test_a_folder_of_images_is_a_video_of_its_own_name(tmp_path):
    write_images(tmp_path / "clip", ["0.png", "1.png"])
    assert names(open_dataset("folder", tmp_path / "clip").testing) == ["clip"]


def test_frames_are_in_natural_order(tmp_path):
    write_images(tmp_path / "v", ["frame10.png", "frame9.png", "frame1.png"])
    (video,) = open_dataset("folder", tmp_path).testing
    assert [path.name for path in video.images] == ["frame1.png", "frame9.png", "frame10.png"]


def test_gaps_are_noted_with_the_first_missing_name(tmp_path):
    write_images(tmp_path / "v", ["007.jpg", "008.jpg", "011.jpg", "013.jpg"])
    notes = open_dataset("folder", tmp_path).notes
    assert "Video v: the numbering has 2 gaps, first missing 009.jpg" in notes


@pytest.mark.parametrize("pair", [("1.jpg", "001.jpg"), ("7.jpg", "7.png"), ("a1.png", "A1.png")])
def test_two_frames_of_one_number_are_an_error(tmp_path, pair):
    write_images(tmp_path / "v", pair)
    if len(list((tmp_path / "v").iterdir())) < 2:
        pytest.skip("this file system does not tell case")
    with pytest.raises(DataError, match="two frames of one number") as error:
        open_dataset("folder", tmp_path)
    assert all(name in str(error.value) for name in pair)


def test_two_videos_of_one_name_are_an_error(tmp_path):
    write_video(tmp_path / "a.avi", 2)
    write_video(tmp_path / "A.mp4", 2)
    with pytest.raises(DataError, match=r"A\.mp4 and a\.avi"):
        open_dataset("folder", tmp_path)


def test_two_videos_of_one_number_are_an_error(tmp_path):
    for name in ("cam1/2", "cam01/02"):
        write_images(tmp_path / name, ["0.png"])
    with pytest.raises(DataError, match=r"cam01/02/ and cam1/2/.*leading zeros"):
        open_dataset("folder", tmp_path)


def test_unknown_files_are_named_and_junk_is_not(folder):
    video = folder / "testing" / "frames" / "b"
    for name in ("notes.docx", ".hidden", "0.png~", "1.png.part", "x.tmp"):
        (video / name).touch()
    dataset = open_dataset("folder", folder)
    assert dataset.notes == ("unknown in testing/frames/b: notes.docx",)
    assert dataset.ignored == 4


def test_links_that_leave_the_root_are_refused(folder, tmp_path):
    write_images(tmp_path / "elsewhere", ["0.png"])
    link = folder / "testing" / "frames" / "c"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"frames/c is a link to .*elsewhere, outside"):
        open_dataset("folder", folder)
    link.unlink()
    link.symlink_to(folder / "testing" / "frames" / "b")
    assert names(open_dataset("folder", folder).testing) == ["b", "c"]


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("testing/frames/again", "..", "link to .*testing, which holds it"),
        ("testing/frames/again", ".", "link to .*frames, which holds it"),
        ("testing/frames/none", "nowhere", "link to nowhere, which is not there"),
        ("testing/frames/b/2.png", "2.png", r"link to 2\.png, which is not there"),
        ("testing/frames/b/2.png", "gone.png", r"link to gone\.png, which is not there"),
        ("masks/b", "../../elsewhere", r"masks/b is a link to .*elsewhere, outside"),
        ("masks/c/0.png", "../../../elsewhere/0.png", r"0\.png is a link to .*0\.png, outside"),
        ("labels/b.npy", "../../elsewhere/0.png", r"b\.npy is a link to .*0\.png, outside"),
        ("labels.npy", "../elsewhere/0.png", r"labels\.npy is a link to .*0\.png, outside"),
    ],
)
def test_links_that_lead_back_or_nowhere_or_outside_are_refused(
    folder, tmp_path, link, target, said
):
    write_images(tmp_path / "elsewhere", ["0.png"])
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    (folder / link).symlink_to(target)
    with pytest.raises(DataError, match=said):
        open_dataset("folder", folder)


def test_two_links_that_hold_each_other_are_refused(folder):
    frames = folder / "testing" / "frames"
    for name, other in (("x", "y"), ("y", "x")):
        (frames / name).mkdir()
        (frames / name / "to").symlink_to(frames / other)
    with pytest.raises(DataError, match=r"to is a link to .*, which holds it"):
        open_dataset("folder", folder)


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb"])
def test_names_that_are_no_text_are_refused(folder, name):
    odd = Path(os.fsdecode(os.fsencode(folder / "testing" / "frames") + b"/" + name))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(DataError, match="rename it, a name must be text") as error:
        open_dataset("folder", folder)
    str(error.value).encode()


def test_labels_of_a_folder_are_the_first_form_present(folder):
    def labels():
        found = open_dataset("folder", folder).labels
        return found and found.relative_to(folder).as_posix()

    assert labels() is None
    (folder / "tracks").mkdir()
    assert labels() is None  # tracks are boxes, no reader makes labels of them
    (folder / "masks").mkdir()
    assert labels() == "masks"
    assert open_dataset("folder", folder).masks == folder / "masks"
    (folder / "gt.mat").touch()
    assert labels() == "gt.mat"
    (folder / "gt.m").touch()
    assert labels() == "gt.m"
    (folder / "labels.npy").touch()
    assert labels() == "labels.npy"
    (folder / "testing" / "frames" / "b.npy").touch()
    assert labels() == "testing/frames"
    (folder / "labels").mkdir()
    (folder / "labels" / "b.npy").touch()
    assert labels() == "labels"
    (folder / "labels.csv").touch()
    assert labels() == "labels.csv"


def test_several_label_files_of_one_form_are_not_guessed_between(folder):
    (folder / "a.mat").touch()
    (folder / "b.mat").touch()
    with pytest.raises(DataError, match=r"a\.mat, b\.mat.*--labels"):
        open_dataset("folder", folder)


def test_a_missing_folder_is_named(tmp_path):
    for name in ("ucsd_ped1", "folder"):
        with pytest.raises(DataError, match=r"nowhere does not exist.*data\.root"):
            open_dataset(name, tmp_path / "nowhere")


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / ".DS_Store").touch()
    for name in ("ucsd_ped2", "folder"):
        with pytest.raises(DataError, match="is empty"):
            open_dataset(name, tmp_path)


def test_an_unknown_layout_says_what_was_looked_for_and_the_first_five_names(tmp_path):
    for number in range(1, 13):
        (tmp_path / f"{number}.docx").touch()
    found = r"found 1\.docx, 2\.docx, 3\.docx, 4\.docx, 5\.docx and 7 more"
    with pytest.raises(DataError, match=rf"Looked for Train/ and Test/.*{found}"):
        open_dataset("ucsd_ped1", tmp_path)
    with pytest.raises(DataError, match=rf"Looked for training/ and testing/.*{found}"):
        open_dataset("folder", tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match="ucsd_ped1, ucsd_ped2, folder, synthetic"):
        open_dataset("ped3", tmp_path)
