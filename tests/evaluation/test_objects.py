"""Objects to frames: the largest score, or the largest value of a filtered map."""

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.evaluation import frame_parts, fuse
from vad_jax.evaluation.objects import CELL, map_scores
from vad_jax.types import ConfigError, DataError, Fusion, VideoScores

NAN = np.nan
SIZE = 48, 64  # height and width of the frames


def objects(frame, *, length, boxes=None, **parts):
    frame = np.asarray(frame, np.int64)
    parts = {name: np.asarray(values, np.float64)[:, None] for name, values in parts.items()}
    if boxes is None:
        boxes = np.tile([0.0, 0.0, 8.0, 8.0], (len(frame), 1))
    return VideoScores("01", length, frame, frame[:, None], parts, np.asarray(boxes, np.float64))


def drawn(seed, *, length=12, grid=CELL):
    """Objects in random frames and places, at multiples of `grid` pixels; scores in 0..1."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 3 * length))
    first = random.integers(0, [SIZE[1] // grid - 1, SIZE[0] // grid - 1], (count, 2))
    size = random.integers(1, 5, (count, 2))
    end = np.minimum(first + size, [SIZE[1] // grid, SIZE[0] // grid])
    frame = np.sort(random.integers(0, length, count))
    return frame, random.random(count), grid * np.concatenate([first, end], axis=1)


def painted(frame, scores, boxes, length, cell=1):
    """The maps as the definition says, all of them at once."""
    maps = np.zeros((length, SIZE[0] // cell, SIZE[1] // cell))
    for number, score, (x0, y0, x1, y1) in zip(frame, scores, boxes // cell, strict=True):
        maps[number, y0:y1, x0:x1] = np.maximum(maps[number, y0:y1, x0:x1], score)
    return maps


def test_maximum_over_the_objects_of_a_frame():
    fusion = Fusion((("reduce", "max"),), (("reduce", "max"),), "a")
    rows = objects([1, 1, 3, 3], a=[0.2, 0.7, NAN, -1.0], length=5)
    np.testing.assert_array_equal(fuse(fusion, rows, None, "online"), [NAN, 0.7, NAN, -1, NAN])


def test_objects_are_combined_before_they_are_reduced():
    operations = (("negate", "b"), ("combine", "c", {"a": 1.0, "b": 1.0}), ("reduce", "max"))
    rows = objects([0, 0], a=[4.0, 0.0], b=[4.0, -2.0], length=1)
    found = fuse(Fusion(operations, operations, "c"), rows, None, "paper")
    np.testing.assert_array_equal(found, [1.0])  # of the second; maxima apart would give 3


def test_minmax_is_over_the_objects_of_a_video():
    operations = (("minmax", "video"), ("reduce", "max"))
    rows = objects([0, 0, 1], a=[1.0, 3.0, 2.0], length=2)
    found = fuse(Fusion(operations, (("reduce", "max"),), "a"), rows, None, "paper")
    np.testing.assert_array_equal(found, [1.0, 0.5])


def test_reduced_parts_may_be_combined():
    operations = (("reduce", "max"), ("combine", "c", "max", "a", "b"))
    rows = objects([0, 0], a=[1.0, 3.0], b=[5.0, 2.0], length=1)
    np.testing.assert_array_equal(fuse(Fusion(operations, (), "c"), rows, None, "paper"), [5.0])


def test_parts_of_frames_are_the_largest_of_their_objects_whatever_their_direction():
    operations = (("negate", "a"), ("reduce", "max"))
    rows = objects([0, 0, 2], a=[1.0, 3.0, NAN], length=3)
    parts = frame_parts(Fusion(operations, operations, "a"), rows)
    np.testing.assert_array_equal(parts["a"], [3.0, NAN, NAN])


def test_labels_of_objects_are_reduced_each_by_itself():
    rows = objects([0, 0], a=np.zeros(2), length=2)
    rows = rows._replace(parts={"a": np.array([[[1.0, 4.0]], [[3.0, 2.0]]])})
    found = fuse(Fusion((("reduce", "max"),), (), "a"), rows, None, "paper")
    np.testing.assert_array_equal(found, [[3.0, 4.0], [NAN, NAN]])
    with pytest.raises(ConfigError, match="one score an object"):
        fuse(Fusion((("reduce", "map"),), (), "a"), rows, None, "paper")


def test_a_map_without_objects_is_nothing_strange():
    fusion = Fusion((("reduce", "map"),), (), "a")
    rows = objects([1, 1, 3], a=[0.2, 0.7, -1.0], length=5)
    np.testing.assert_array_equal(fuse(fusion, rows, None, "paper"), [0, 0.7, 0, 0, 0])


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5]))
def test_filter_in_time_is_that_of_the_whole_maps(seed, frames):
    frame, scores, boxes = drawn(seed)
    maps = painted(frame, scores, boxes, 12)
    shifted = scipy.ndimage.uniform_filter1d(maps, frames, axis=0, mode="constant")
    found = map_scores(frame, scores, boxes.astype(float), 12, window=(frames, 1, 1))
    np.testing.assert_allclose(found, shifted.max(axis=(1, 2)), rtol=0, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_filter_in_space_is_that_of_maps_at_a_quarter_of_the_resolution(seed):
    frame, scores, boxes = drawn(seed)
    maps = painted(frame, scores, boxes, 12, cell=CELL)
    expected = scipy.ndimage.uniform_filter(maps, (3, 5, 3), mode="constant").max(axis=(1, 2))
    window = 3, 5 * CELL, 3 * CELL
    found = map_scores(frame, scores, boxes.astype(float), 12, window=window)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_the_published_filter_is_that_of_whole_maps_where_objects_are_larger(seed):
    frame, scores, boxes = drawn(seed, grid=2 * CELL)
    maps = painted(frame, scores, boxes, 12)
    expected = scipy.ndimage.uniform_filter(maps, (5, 5, 5), mode="constant").max(axis=(1, 2))
    found = map_scores(frame, scores, boxes.astype(float), 12, window=(5, 5, 5))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_raw_scores_are_those_of_the_unfiltered_map():
    operations = (("reduce", "map"), ("filter", (5, 5, 5)), ("smooth", (0.5, 0.5), "zero", True))
    fusion = Fusion(operations, (), "a")
    frame, scores, boxes = drawn(3)
    rows = objects(frame, a=scores, boxes=boxes, length=12)
    raw = fuse(fusion, rows, None, "paper", smoothed=False)
    np.testing.assert_array_equal(raw, painted(frame, scores, boxes, 12).max(axis=(1, 2)))
    filtered = fuse(fusion, rows, None, "paper")
    assert (filtered <= raw.max()).all()
    assert not np.allclose(filtered, raw)


def test_few_maps_are_in_memory_at_a_time():
    length = 100
    frame = np.arange(length)
    boxes = np.tile([0.0, 0.0, 1600.0, 1200.0], (length, 1))  # 1 MB a map, 100 MB of all
    tracemalloc.start()
    map_scores(frame, np.ones(length), boxes, length, window=(5, 1, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    ("boxes", "said"), [(None, "without boxes"), (np.full((1, 4), NAN), "NaN or infinite")]
)
def test_objects_that_cannot_be_painted_are_refused(boxes, said):
    with pytest.raises(DataError, match=said):
        map_scores(np.array([0]), np.array([1.0]), boxes, 1, window=(3, 3, 3))
