"""Classes and events of a set: what names and labels tell, and when they are read."""

import pytest
from support import films

from vad_jax.datasets import Event, open_dataset, synthetic
from vad_jax.datasets.synthetic import TEST
from vad_jax.types import DataError

ANNOTATION = "Temporal_Anomaly_Annotation.txt"


@pytest.fixture
def ucf(tmp_path):
    """UCF-Crime in small; a film's bytes are not looked at here."""
    lists = {
        "Anomaly_Train.txt": ("Abuse/Abuse001_x264.mp4", "Normal/Normal_Videos001_x264.mp4"),
        "Anomaly_Test.txt": ("Arson/Arson011_x264.mp4", "Normal/Normal_Videos_003_x264.mp4"),
    }
    for name, videos in lists.items():
        (tmp_path / name).write_text("\n".join(videos))
        for video in videos:
            (tmp_path / video).parent.mkdir(exist_ok=True)
            (tmp_path / video).write_bytes(b"film")
    (tmp_path / ANNOTATION).write_text(
        "Arson011_x264.mp4  Arson  3  5  8  20  \n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
    )
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    """A function that writes a folder with the test films `a` and `b`, and opens it."""

    def opened(labels, training="t"):
        for name in (f"training/{training}.avi", "testing/a.avi", "testing/b.avi"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            films.write(tmp_path / name, frames=6)
        (tmp_path / "labels.csv").write_text(labels)
        return open_dataset("folder", tmp_path)

    return opened


def test_names_of_ucf_crime_tell_the_classes_of_both_parts(ucf):
    dataset = open_dataset("ucf_crime", ucf)
    assert dataset.classes == {"Abuse001_x264": "Abuse", "Arson011_x264": "Arson"}
    assert dataset.anomalous == {"Abuse001_x264": "Abuse"}


def test_the_annotation_becomes_events_that_count_from_zero_and_end_before_their_end(ucf):
    assert open_dataset("ucf_crime", ucf).events == {
        "Arson011_x264": (Event(2, 5, "Arson"), Event(7, 20, "Arson")),
        "Normal_Videos_003_x264": (),
    }


def test_a_spoilt_annotation_is_named_when_events_are_asked_for_and_not_before(ucf):
    (ucf / ANNOTATION).write_text("Arson011_x264.mp4  Arson  5  3  -1  -1  \n")
    dataset = open_dataset("ucf_crime", ucf)
    assert dataset.anomalous == {"Abuse001_x264": "Abuse"}
    with pytest.raises(DataError, match=r"Annotation\.txt, line 1 has an interval from 5 to 3"):
        dataset.events["Arson011_x264"]


def test_a_test_video_without_a_line_has_no_events_that_are_known(ucf):
    (ucf / ANNOTATION).write_text("Arson011_x264.mp4  Arson  3  5  -1  -1  \n")
    with pytest.raises(DataError, match="has no line for Normal_Videos_003_x264"):
        len(open_dataset("ucf_crime", ucf).events)


def test_without_an_annotation_classes_are_known_and_events_are_not(ucf):
    (ucf / ANNOTATION).unlink()
    dataset = open_dataset("ucf_crime", ucf)
    assert dataset.events is None
    assert dataset.classes["Arson011_x264"] == "Arson"


def test_the_fourth_column_of_a_table_tells_classes(folder):
    rows = "a,4,6,run\na,0,2,fall\na,2,3,run\n"
    dataset = folder("video,start,end,class\n" + rows)
    assert dataset.events["a"] == (Event(4, 6, "run"), Event(0, 2, "fall"), Event(2, 3, "run"))
    assert dataset.events["b"] == ()
    assert dataset.classes == {"a": "run,fall"}


def test_times_become_frames_by_the_rate_of_the_films(folder):
    dataset = folder("video,start,end,class\nb,0.2s,0.5s,run\n")
    start, end = (round(second * dataset.fps) for second in (0.2, 0.5))
    assert dataset.events["b"] == (Event(start, end, "run"),)


def test_a_table_without_classes_tells_neither(folder):
    dataset = folder("video,start,end\na,0,2\n")
    assert (dataset.classes, dataset.events) == (None, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c,0,2,run", "line 2 labels 'c', which is no test video"),
        ("a,3,3,run", r"line 2 labels frames 3 to 3 \(end exclusive\) of a"),
        ("a,0,run", "line 2 has 3 fields, its header 4"),
        ("a,0,2s ago,run", "line 2 has '2s ago': write a frame, or a time"),
    ],
)
def test_a_bad_row_is_named_when_it_is_asked_for_and_not_before(folder, row, said):
    dataset = folder(f"video,start,end,class\n{row}\n")
    assert "t" not in dataset.classes
    for told in (dataset.classes, dataset.events):
        with pytest.raises(DataError, match=said):
            told["a"]


def test_a_training_video_called_like_an_anomalous_test_video_is_normal(folder):
    dataset = folder("video,start,end,class\na,0,2,run\n", training="a")
    assert dataset.classes == {"a": "run"}
    assert dataset.anomalous == {}


def test_the_synthetic_set_tells_the_kinds_that_were_drawn(synthetic_root):
    dataset = open_dataset("synthetic", synthetic_root)
    for index, source in enumerate(dataset.testing):
        made = synthetic.video(0, 0, TEST, index)
        assert dataset.events[source.name] == tuple(synthetic.runs(made))
        assert dataset.classes[source.name].split(",") == [
            kind for *_, kind in synthetic.runs(made)
        ]
    assert dataset.anomalous == {}
