"""UCF-Crime: lists, films found by name, classes, and the temporal annotation with its faults."""

import numpy as np
import pytest

from vad_jax.datasets import open_dataset, published
from vad_jax.datasets.raw import ucf_crime
from vad_jax.evaluation import read_labels
from vad_jax.evaluation.truth.temporal import read_annotations, read_temporal
from vad_jax.types import DataError

TRAIN = ("Abuse/Abuse001_x264.mp4", "Training_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4")
TEST = (
    "Arson/Arson011_x264.mp4",
    "Burglary/Burglary035_x264.mp4",
    "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4",
)
ANNOTATION = (  # as the file has it: two spaces between, two behind
    "Arson011_x264.mp4  Arson  3  5  8  20  \n"
    "Burglary035_x264.mp4  Burglary  1  2  -1  -1  \n"
    "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
)
LENGTHS = {"Arson011_x264": 10, "Burglary035_x264": 4, "Normal_Videos_003_x264": 3}
TRUTH = {
    "Arson011_x264": [0, 0, 1, 1, 1, 0, 0, 1, 1, 1],  # the end is clipped
    "Burglary035_x264": [1, 1, 0, 0],
    "Normal_Videos_003_x264": [0, 0, 0],
}


@pytest.fixture
def root(tmp_path):
    """The unpacked archives; a film's bytes are not looked at here."""
    root = tmp_path / "UCF_Crimes"
    places = ("Anomaly-Videos-Part-1/Abuse", "Training-Normal-Videos-Part-1")
    places += ("Anomaly-Videos-Part-1/Arson", "Anomaly-Videos-Part-2/Burglary")
    places += ("Testing_Normal_Videos_Anomaly",)
    for place, line in zip(places, TRAIN + TEST, strict=True):
        path = root / place / line.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")
    (root / "Anomaly_Detection_splits").mkdir()
    for name, lines in zip(ucf_crime.LISTS, (TRAIN, TEST), strict=True):
        (root / "Anomaly_Detection_splits" / name).write_text("\n".join(lines) + "\n")
    (root / "Temporal_Anomaly_Annotation.txt").write_text(ANNOTATION)
    (root / ".DS_Store").touch()
    return root


@pytest.fixture
def annotation(tmp_path):
    """A function that writes an annotation and returns its path."""

    def write(text):
        path = tmp_path / "Temporal_Anomaly_Annotation.txt"
        path.write_text(text)
        return path

    return write


def lists(root):
    return root / "Anomaly_Detection_splits"


def names(sources):
    return [source.name for source in sources]


def test_films_are_found_by_name_in_the_order_of_the_lists(root):
    dataset = open_dataset("ucf_crime", root)
    assert (dataset.fps, dataset.ignored, dataset.notes) == (30.0, 1, ())
    assert names(dataset.training) == ["Abuse001_x264", "Normal_Videos001_x264"]
    assert names(dataset.testing) == list(LENGTHS)
    assert dataset.training[0].file.parent.parent.name == "Anomaly-Videos-Part-1"
    assert dataset.labels == root / "Temporal_Anomaly_Annotation.txt"


def test_a_video_keeps_its_class():
    assert ucf_crime.event_class("RoadAccidents017_x264") == "RoadAccidents"
    assert ucf_crime.event_class("Normal_Videos_003_x264") == "Normal"
    assert ucf_crime.event_class("Normal_Videos944_x264") == "Normal"
    with pytest.raises(DataError, match="Video Dancing001_x264 is of no class"):
        ucf_crime.event_class("Dancing001_x264")


def test_published_numbers_are_those_of_the_page():
    train, test = zip(*ucf_crime.VIDEOS_OF.values(), strict=True)
    assert (sum(train), sum(test), len(train)) == (1_610, 290, 14)


def test_lists_unlike_the_published_ones_are_named_by_class(root):
    known = published(open_dataset("ucf_crime", root))
    assert "Anomaly_Train.txt lists 1 video of Abuse, 48 published" in known.faults
    assert "Anomaly_Test.txt lists 0 videos of Shooting, 23 published" in known.faults
    assert len(known.faults) == 2 * 14
    assert list(known.testing.lengths) == list(LENGTHS)


def test_a_listed_film_that_is_not_there_is_noted_and_left_out(root):
    (root / "Anomaly-Videos-Part-1" / "Arson" / "Arson011_x264.mp4").unlink()
    dataset = open_dataset("ucf_crime", root)
    assert names(dataset.testing) == list(LENGTHS)[1:]
    said = "Anomaly_Test.txt lists 3 videos, 2 are there; missing Arson011_x264"
    assert dataset.notes == (said,)


def test_a_video_in_both_lists_is_refused(root):
    test = lists(root) / "Anomaly_Test.txt"
    test.write_text(test.read_text() + TRAIN[0] + "\n")
    with pytest.raises(DataError, match=r"Train.txt and .* both list 1 video: Abuse001_x264"):
        open_dataset("ucf_crime", root)


def test_copies_of_a_film_are_told_apart_by_the_listed_folder_or_their_size(root):
    copy = root / "Normal_Videos_for_Event_Recognition" / "Normal_Videos_003_x264.mp4"
    copy.parent.mkdir()
    copy.write_bytes(b"another film")
    listed = root / "Testing_Normal_Videos_Anomaly" / "Normal_Videos_003_x264.mp4"
    assert open_dataset("ucf_crime", root).testing[2].file == listed
    listed.parent.rename(root / "Normal")
    with pytest.raises(DataError, match=r"Normal_Videos_003_x264 is there as .*different sizes"):
        open_dataset("ucf_crime", root)
    copy.write_bytes(b"film")
    assert open_dataset("ucf_crime", root).testing[2].name == "Normal_Videos_003_x264"


def test_videos_of_neither_list_are_passed_over_and_counted(root):
    (root / "Abuse099_x264.mp4").touch()
    dataset = open_dataset("ucf_crime", root)
    assert dataset.notes == ("in neither list, 1 video: Abuse099_x264",)


def test_the_four_folds_are_read_the_same_way(root):
    folder = root / "Action_Regnition_splits"
    folder.mkdir()
    (folder / "train_001.txt").write_text(TEST[0] + "  \n\n")
    (folder / "test_001.txt").write_text("Normal_Videos_event/Normal_Videos_003_x264.mp4\n")
    dataset = ucf_crime.open_ucf_crime(root, lists=("train_001.txt", "test_001.txt"))
    assert names(dataset.training) == ["Arson011_x264"]
    assert names(dataset.testing) == ["Normal_Videos_003_x264"]
    assert ucf_crime.published(root, lists=("train_001.txt", "test_001.txt")).faults == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Abuse/Abuse001_x264", r"Train\.txt, line 3 reads"),
        ("Abuse/Abuse001_x264.mp4", r"line 3 lists Abuse001_x264 a second time"),
        ("Dance/Dance001_x264.mp4", r"line 3: Video Dance001_x264 is of no class"),
        ("Arrest/Abuse002_x264.mp4", r"line 3 has Abuse002_x264\.mp4 in the folder Arrest"),
    ],
)
def test_a_bad_line_of_a_list_is_named(root, line, said):
    train = lists(root) / "Anomaly_Train.txt"
    train.write_text(train.read_text() + line + "\n")
    with pytest.raises(DataError, match=said):
        open_dataset("ucf_crime", root)


def test_a_list_that_is_no_text_is_named(root):
    (lists(root) / "Anomaly_Train.txt").write_bytes(b"\xff\xfeA\0")
    with pytest.raises(DataError, match=r"Anomaly_Train\.txt is no text in UTF-8"):
        open_dataset("ucf_crime", root)


def test_without_lists_or_films_it_says_what_was_looked_for(root, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ucf_crime.LISTS:
        (tmp_path / "empty" / name).write_bytes((lists(root) / name).read_bytes())
    with pytest.raises(DataError, match=r"holds none of the videos .* like Abuse001_x264\.mp4"):
        open_dataset("ucf_crime", tmp_path / "empty")
    (lists(root) / "Anomaly_Test.txt").unlink()
    with pytest.raises(
        DataError, match=r"Anomaly_Test\.txt must lie in it.*found Anomaly-Videos-Part-1, "
    ):
        open_dataset("ucf_crime", root)


def test_the_annotation_becomes_labels(root):
    found = read_labels(open_dataset("ucf_crime", root).labels, LENGTHS).values
    assert {name: labels.tolist() for name, labels in found.items()} == TRUTH
    assert read_labels(root, LENGTHS).values.keys() == TRUTH.keys()


def test_lines_are_split_on_any_white_space_and_comments_skipped(annotation):
    path = annotation("# video\tclass\nArson011_x264.mp4\tArson 0 2\t-1 -1\r\n\n")
    found = read_annotations(path)["Arson011_x264"]
    assert found == ("Arson", ((0, 2),), 2)  # start 0 reads as 1


def test_names_of_videos_in_folders_are_found_by_their_last_part(annotation):
    path = annotation("Arson011_x264.mp4 Arson 2 2 -1 -1\n")
    labels = read_temporal(path, {"Arson/Arson011_x264": 3})
    assert labels["Arson/Arson011_x264"].tolist() == [0, 1, 0]


BAD = [
    ("Arson011_x264.mp4  Arson  150  420  680", "has 5 fields, expected 6"),
    ("Arson011_x264.mp4  Arson  150  420  680  1267  3", "has 7 fields"),
    ("Arson011_x264.mp4  Arson  1.5  3  -1  -1", r"has '1\.5' where a frame number belongs"),
    ("Arson011_x264.mp4  Arson  a  3  -1  -1", "has 'a'"),
    (f"Arson011_x264.mp4  Arson  1  {'9' * 5000}  -1  -1", "has '9999"),
    ("Arson011_x264.mp4  Arson  5  3  -1  -1", "an interval from 5 to 3"),
    ("Arson011_x264.mp4  Arson  0  0  -1  -1", "an interval from 0 to 0"),
    ("Arson011_x264.mp4  Arson  -1  3  -1  -1", "an interval from -1 to 3"),
    ("Arson011_x264.mp4  Arson  3  -1  -1  -1", "an interval from 3 to -1"),
    ("Arson011_x264.mp4  Arson  1  5  5  8", "overlap: 1 to 5 and 5 to 8"),
    ("Arson011_x264.mp4  Arson  5  8  1  5", "overlap: 1 to 5 and 5 to 8"),
    ("Arson011_x264.mp4  Arson  11  12  -1  -1", "frames 11 to 12 .* 10 frames: .* past the end"),
    ("Arson011_x264.mp4  Arrest  1  2  -1  -1", "says class Arrest .* name says Arson"),
    ("Normal_Videos_003_x264.mp4  Normal  1  2  -1  -1", "is Normal and has an interval"),
    ("Arson011_x264.mp4  Arson  -1  -1  -1  -1", "is Arson and has no interval"),
    ("Burglary035_x264.mp4  Burglary  1  2  -1  -1", "labels Burglary035_x264, which line 1"),
]


@pytest.mark.parametrize(("line", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_line_is_named_by_file_and_number(annotation, line, said):
    path = annotation("Burglary035_x264.mp4  Burglary  1  2  -1  -1  \n" + line + "  \n")
    with pytest.raises(DataError, match=rf"Temporal_Anomaly_Annotation\.txt, line 2.*{said}"):
        read_temporal(path, {"Arson011_x264": 10})


def test_a_class_without_an_interval_is_allowed_where_labels_are_weak(annotation):
    path = annotation("Arson011_x264.mp4  Arson  -1  -1  -1  -1  \n")
    assert read_annotations(path, weak=True)["Arson011_x264"].event == "Arson"
    labels = read_temporal(path, {"Arson011_x264": 4}, weak=True)["Arson011_x264"]
    np.testing.assert_array_equal(labels, np.zeros(4))


def test_a_test_video_without_a_line_is_never_normal(annotation):
    path = annotation(ANNOTATION)
    with pytest.raises(DataError, match="has no line for Abuse030_x264"):
        read_labels(path, LENGTHS | {"Abuse030_x264": 5})
