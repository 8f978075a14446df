"""Regions, tracks and boxes against their definitions, SciPy, and Ped2."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.evaluation import (
    boxes_at,
    boxes_from_map,
    read_masks,
    region_criteria,
    tracks_from_masks,
)
from vad_jax.types import DataError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text())
TRACKS = [case for case in GOLDEN["cases"] if case["kind"] == "tracks"]
unhurried = settings(deadline=None)  # other work may share the machine

PED2 = {  # video → (frames, regions of 10 pixels or more, tracks)
    "01": (180, 120, 1),
    "02": (180, 86, 1),
    "03": (150, 270, 2),
    "04": (180, 210, 2),
    "05": (150, 129, 1),
    "06": (180, 240, 2),
    "07": (180, 258, 2),
    "08": (180, 317, 3),
    "09": (120, 161, 2),
    "10": (150, 150, 1),
    "11": (180, 376, 3),
    "12": (180, 93, 1),
}


def overlap(*boxes):
    """The IoU of two boxes, pixel by pixel."""
    a, b = (
        {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)} for x0, y0, x1, y1 in boxes
    )
    return Fraction(len(a & b), len(a | b))


@pytest.mark.parametrize("case", TRACKS, ids=lambda case: case["name"])
def test_golden_tracks(case):
    given = case["input"]
    found = tracks_from_masks(
        np.array(given["masks"]), min_area=given["min_area"], link_iou=given["link_iou"]
    )
    np.testing.assert_array_equal(found, case["expected"]["rows"])


masks = st.tuples(st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0.1, 0.7)).map(
    lambda m: np.random.default_rng(m[1]).random((m[0], 7, 9)) < m[2]
)


def components(mask):
    """Boxes, areas and labels of the 8-connected components, in raster order."""
    labels, number = scipy.ndimage.label(mask, np.ones((3, 3)))
    found = []
    for label in range(1, number + 1):
        y, x = np.nonzero(labels == label)
        found.append(((x.min(), y.min(), x.max(), y.max()), len(x), labels == label))
    return found


@unhurried
@given(masks, st.integers(1, 5))
def test_regions_are_the_components_and_links_are_greedy(masks, min_area):
    tracks, count, before, expected = {}, 0, [], []
    for frame, mask in enumerate(masks):
        now = [box for box, area, _ in components(mask) if area >= min_area]
        pairs = sorted(
            (-overlap(old, new), track, i)
            for track, old in before
            for i, new in enumerate(now)
            if overlap(old, new) >= Fraction(1, 10)
        )
        tracks = {}
        for _, track, i in pairs:
            if i not in tracks and track not in tracks.values():
                tracks[i] = track
        for i in range(len(now)):
            if i not in tracks:
                tracks[i], count = count, count + 1
        before = [(tracks[i], box) for i, box in enumerate(now)]
        expected += [(track, frame, *box) for track, box in before]
    found = tracks_from_masks(iter(masks), min_area=min_area)
    assert found.dtype == np.int64
    assert found.tolist() == sorted([int(x) for x in row] for row in expected)


@unhurried
@given(masks, st.integers(0, 5), st.integers(0, 5))
def test_moved_masks_have_moved_tracks(masks, down, right):
    moved = np.pad(masks, ((0, 0), (down, 0), (right, 0)))
    found = tracks_from_masks(moved, min_area=1)
    shift = [0, 0, right, down, right, down]
    np.testing.assert_array_equal(found, tracks_from_masks(masks, min_area=1) + shift)


def test_empty_masks_have_no_track():
    assert tracks_from_masks(np.zeros((4, 5, 5))).shape == (0, 6)
    assert tracks_from_masks([]).shape == (0, 6)
    with pytest.raises(DataError, match=r"Mask 0 .* is \(5,\)"):
        tracks_from_masks(np.zeros((5, 5)))


@pytest.fixture(scope="module")
def ped2_tracks(ped2_root):
    folder = ped2_root / "testing" / "masks"
    return {
        name: tracks_from_masks(read_masks(folder, name, frames))
        for name, (frames, _, _) in PED2.items()
    }


def test_table_of_ped2(ped2_tracks):
    found = {
        name: (PED2[name][0], len(rows), len(np.unique(rows[:, 0])))
        for name, rows in ped2_tracks.items()
    }
    assert found == PED2
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [2010, 2410, 21]


def test_truth_of_ped2_finds_itself(ped2_tracks):
    truth = [(name, *row) for name, rows in ped2_tracks.items() for row in rows.tolist()]
    detections = [(video, frame, *box, 0.5) for video, _, frame, *box in truth]
    assert region_criteria(truth, detections, 2010)[:2] == (1.0, 1.0)


@unhurried
@given(masks, st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.02, 0.1]))
def test_boxes_are_the_components_above_the_threshold(masks, seed, min_share):
    values = np.where(masks[0], 1, -1) * np.random.default_rng(seed).random(masks[0].shape)
    expected = [
        (box, values[inside].max())
        for box, area, inside in components(values > 0)
        if Fraction(area, values.size) >= Fraction(str(min_share))
    ]
    boxes, scores = boxes_from_map(values, threshold=0.0, min_share=min_share)
    assert boxes.tolist() == [list(box) for box, _ in expected]
    assert scores.tolist() == [score for _, score in expected]
    assert boxes.shape == (len(expected), 4)


def test_component_below_a_thousandth_of_the_frame_has_no_box():
    map = np.zeros((50, 60))  # 3 pixels are a thousandth
    map[0, :2], map[10, 5:8] = 9, 5
    boxes, scores = boxes_from_map(map, threshold=1)
    assert boxes.tolist() == [[5, 10, 7, 10]]
    assert scores.tolist() == [5.0]


def test_flat_map_and_map_without_score_have_no_box():
    for map in (np.full((4, 4), 2.0), np.full((4, 4), np.nan)):
        boxes, scores = boxes_from_map(map, threshold=2.0)
        assert boxes.shape == (0, 4)
        assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("map", "threshold", "said"),
    [
        (np.zeros(4), 0.5, r"The map is \(4,\)"),
        (np.array([[np.nan, 1.0]]), 0.5, "1 of 2 pixels"),
        (np.array([[np.inf, 1.0]]), 0.5, "1 of 2 pixels"),
        (np.zeros((4, 4)), np.nan, "threshold of the map is NaN"),
    ],
)
def test_unusable_map_is_named(map, threshold, said):
    with pytest.raises(DataError, match=said):
        boxes_from_map(map, threshold=threshold)


def test_boxes_of_a_small_map_are_in_pixels_of_the_frame():
    values = np.zeros((6, 8))
    values[2:4, 5:7] = 1.0
    boxes, scores = boxes_at(values, (24, 32), threshold=0.5)  # four pixels for each
    np.testing.assert_array_equal(boxes, [[20, 8, 27, 15]])
    np.testing.assert_array_equal(scores, [1.0])
    same = boxes_at(values, (6, 8), threshold=0.5)
    for found, right in zip(same, boxes_from_map(values, threshold=0.5), strict=True):
        np.testing.assert_array_equal(found, right)
    assert len(boxes_at(np.full((6, 8), np.nan), (24, 32), threshold=0.5)[0]) == 0
