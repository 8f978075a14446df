"""Footage: tables that do not fit their videos are named with both sizes."""

import numpy as np
import pytest
from support.footage import Length

from vad_jax.data.footage import Footage, Table
from vad_jax.types import DataError

VIDEOS = [Length(5, (2,), "gate"), Length(3, (), "yard")]


def boxes(*numbers):
    return [np.zeros((number, 4), np.float32) for number in numbers]


def test_lengths_and_broken_frames_are_those_of_the_videos():
    footage = Footage(VIDEOS)
    assert footage.lengths == [5, 3]
    assert footage.broken == [(2,), ()]


def test_tables_that_fit_are_taken():
    ragged = Table(boxes(4, 0), [np.array([0, 0, 2, 4]), np.array([], int)])
    Footage(VIDEOS, {"boxes": ragged, "teacher": Table(boxes(5, 3))})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (Table(boxes(5, 4)), r"Table boxes, video yard: 4 entries, but the video has 3 frames"),
        (Table(boxes(5)), r"Table boxes has an array for 1 videos, but there are 2"),
        (
            Table(boxes(1, 1), [np.array([0])]),
            r"Table boxes has an array of frame numbers for 1 videos, but there are 2",
        ),
        (
            Table(boxes(2, 1), [np.array([0]), np.array([0])]),
            r"Table boxes, video gate: 2 entries, but 1 frame numbers",
        ),
        (
            Table(boxes(1, 1), [np.array([4]), np.array([3])]),
            r"Table boxes, video yard: its frame numbers go from 3 to 3.*has 3 frames",
        ),
        (
            Table(boxes(1, 1), [np.array([-1]), np.array([0])]),
            r"Table boxes, video gate: its frame numbers go from -1 to -1.*has 5 frames",
        ),
        (
            Table(boxes(3, 1), [np.array([0, 2, 1]), np.array([0])]),
            r"Table boxes, video gate: its frame numbers fall\. Sort",
        ),
        (
            Table([np.zeros((5, 4)), np.zeros((3, 2))]),
            r"video yard: an entry is float64 \[2\], but in video gate float64 \[4\]",
        ),
        (
            Table([np.zeros((5, 4)), np.zeros((3, 4), np.int32)]),
            r"video yard: an entry is int32 \[4\], but in video gate float64 \[4\]",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_its_video_and_both_sizes(table, said):
    with pytest.raises(DataError, match=said):
        Footage(VIDEOS, {"boxes": table})


def test_a_table_cannot_have_the_name_of_what_videos_hold():
    with pytest.raises(DataError, match="named `frames`"):
        Footage(VIDEOS, {"frames": Table(boxes(5, 3))})
