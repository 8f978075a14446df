"""What a run keeps of normal footage comes back as it was, and is that of its rows."""

import numpy as np
import pytest
from support.toys import Clip, spec, toy

from vad_jax.learning import statistics
from vad_jax.runs import normal
from vad_jax.runs.workdir import Workdir
from vad_jax.scoring import frames_of
from vad_jax.types import CheckpointError, VideoScores

SPEC = spec(frames=4, sees=(0, 1, 2, 3), scored=(1, 2, 3), stride=2)


@pytest.fixture
def files(tmp_path):
    return Workdir(tmp_path)


def video(name, count, *, boxes=False):
    """Rows that score three frames, with two labels in one of the parts."""
    rng = np.random.default_rng(count)
    first = np.arange(count, dtype=np.int32)
    parts = {"a": rng.random((count, 3)), "b": rng.random((count, 3, 2))}
    parts["b"][:1, 0] = np.nan
    found = rng.random((count, 4)) if boxes and count else None
    frame = frames_of(SPEC, first)
    return VideoScores(name, 90, first, frame, parts if count else {}, found)


@pytest.mark.parametrize("fps", [None, 12.5])
def test_the_rate_of_normal_videos_is_kept_where_it_is_known(files, fps):
    assert normal.rate(files) is None
    normal._write_rows(files.normal_windows, [video("x", 3)], "training", fps)
    assert normal.rate(files) == fps


@pytest.mark.parametrize("boxes", [False, True])
def test_rows_come_back_as_they_were(files, boxes):
    given = [video(name, count, boxes=boxes) for name, count in (("x", 3), ("short", 0), ("z", 1))]
    normal._write_rows(files.normal_windows, given, "training")
    found, source = normal.read_rows(files, SPEC)
    assert source == "training"
    for mine, theirs in zip(found, given, strict=True):
        assert (mine.name, mine.length) == (theirs.name, theirs.length)
        np.testing.assert_array_equal(mine.first, theirs.first)
        np.testing.assert_array_equal(mine.frame, theirs.frame)
        for part in theirs.parts:
            np.testing.assert_array_equal(mine.parts[part], theirs.parts[part])
        if theirs.boxes is not None:
            np.testing.assert_array_equal(mine.boxes, theirs.boxes)
    assert (found[0].boxes is None) is not boxes


def test_videos_of_which_none_has_a_row_come_back_too(files):
    normal._write_rows(files.normal_windows, [video("a", 0), video("b", 0)], "held-out")
    found, _ = normal.read_rows(files, SPEC)
    assert [(v.name, len(v.first), v.frame.shape) for v in found] == [
        ("a", 0, (0, 3)), ("b", 0, (0, 3)),
    ]  # fmt: skip


def test_where_no_rows_were_kept_there_are_none(files):
    assert normal.read_rows(files, SPEC) is None


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The files of a toy's normal videos, and their scores."""
    files, method = Workdir(tmp_path_factory.mktemp("measured")), toy(labels=2)
    clips = [Clip("a", 40), Clip("short", 3), Clip("b", 32, seed=1)]
    normal.measure(method, method.init(None), clips, files, "held-out")
    return files, method, statistics.normal(method, method.init(None), clips)


def test_statistics_come_back_to_the_bit(measured):
    files, _, expected = measured
    parts, map_99 = normal.read(files)
    assert parts == expected.parts
    assert map_99 == expected.map_99 > 0
    with np.load(files.normal) as arrays:
        assert str(arrays["source"]) == "held-out"


def test_the_rows_are_those_of_the_statistics(measured):
    files, method, expected = measured
    videos, source = normal.read_rows(files, method.inputs)
    assert source == "held-out"
    assert [(v.name, v.length, len(v.first)) for v in videos] == [
        ("a", 40, 4), ("short", 3, 0), ("b", 32, 3),
    ]  # fmt: skip
    for mine, theirs in zip(videos, expected.videos, strict=True):
        np.testing.assert_array_equal(mine.frame, theirs.frame)
        assert mine.boxes is None
    kept = [v.parts["excess"] for v in videos if len(v.first)]
    assert kept[0].shape == (4, 16, 2)
    assert statistics.summary(kept) == expected.parts["excess"]


def test_a_run_keeps_the_statistics_of_its_held_out_video(finished_run):
    files = Workdir(finished_run[0])
    parts, _ = normal.read(files)
    assert {"psnr", "distance", "point_score", "updated"} <= set(parts)
    assert parts["psnr"]["count"] == 29  # windows of 5 at step 4 in 120 frames
    assert parts["psnr"]["min"] <= parts["psnr"]["mean"] <= parts["psnr"]["max"]
    five = spec(frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), step=4)
    ((name, length, first, frame, rows, boxes),), source = normal.read_rows(files, five)
    assert (name, length, boxes, source) == ("05", 120, None, "held-out")
    np.testing.assert_array_equal(first, np.arange(0, 116, 4))
    np.testing.assert_array_equal(frame[:, 0], first + 4)
    for part, row in parts.items():
        assert statistics.summary([rows[part]]) == row


def test_a_method_without_maps_keeps_no_percentile_and_is_read(files):
    with files.normal.open("wb") as file:
        np.savez(file, **{"a/mean": 1.0, "a/std": 2.0, "map_99": np.nan, "source": "training"})
    parts, map_99 = normal.read(files)
    assert parts == {"a": {"mean": 1.0, "std": 2.0}}
    assert np.isnan(map_99)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_a_damaged_file_is_named_with_the_remedy(files, content):
    for path, read in (
        (files.normal, lambda: normal.read(files)),
        (files.normal_windows, lambda: normal.read_rows(files, SPEC)),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{path.name} is damaged.*measured anew"):
            read()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part/a": np.zeros((3, 3))}, "part/a has 3 windows of 4"),
        ({"boxes": np.zeros((5, 4))}, "boxes has 5 windows of 4"),
        ({"lengths": np.array([90])}, "zip"),
        ({"part/a": np.array([None] * 4, object)}, "pickle"),
    ],
)
def test_rows_that_do_not_fit_are_damage(files, changes, said):
    normal._write_rows(files.normal_windows, [video("x", 3), video("z", 1)], "training")
    with np.load(files.normal_windows) as arrays:
        whole = dict(arrays)
    np.savez(files.normal_windows, **(whole | changes))
    with pytest.raises(CheckpointError, match=rf"normal_windows.npz is damaged .*{said}"):
        normal.read_rows(files, SPEC)


def test_a_statistic_that_is_no_single_value_is_damage(files):
    np.savez(files.normal, **{"a/mean": np.zeros(2), "map_99": 0.0})
    with pytest.raises(CheckpointError, match="a/mean is no single value"):
        normal.read(files)
