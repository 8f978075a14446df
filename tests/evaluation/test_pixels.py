"""Pixel metrics against exact arithmetic, thresholds one by one, and what must not matter."""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.evaluation import auc_micro, pixel_auc, pixel_auc_40
from vad_jax.evaluation.pixels import _Ranks
from vad_jax.types import DataError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text())
CASES = [case for case in GOLDEN["cases"] if case["kind"] == "pixel"]
unhurried = settings(deadline=None)  # other work may share the machine
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}  # rational arithmetic, rounded to double
BOTH = (pixel_auc_40, pixel_auc)


def videos(case):
    found = case["input"]["videos"]
    return [[np.array(video[side]) for video in found] for side in ("masks", "maps")]


@st.composite
def small_sets(draw):
    """A few videos of 2x3 frames with tied values, some frames without a score."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    masks, maps = [], []
    for length in lengths:
        bits = draw(st.lists(st.integers(0, 1), min_size=6 * length, max_size=6 * length))
        values = draw(st.lists(st.integers(-3, 3), min_size=6 * length, max_size=6 * length))
        shown = draw(
            st.lists(st.sampled_from([1.0, 1.0, np.nan]), min_size=length, max_size=length)
        )
        normal = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        mask = np.array(bits).reshape(-1, 2, 3) * ~np.array(normal)[:, None, None]
        masks.append(mask)
        maps.append(np.array(values).reshape(-1, 2, 3) * np.array(shown)[:, None, None])
    return masks, maps


def scored(masks, maps):
    frames = zip(np.concatenate(masks), np.concatenate(maps), strict=True)
    return [(mask == 1, values) for mask, values in frames if not np.isnan(values).any()]


def by_pairs(masks, maps):
    frames = scored(masks, maps)
    strange = [value for mask, values in frames for value in values[mask]]
    normal = [value for mask, values in frames for value in values[~mask]]
    if not strange or not normal:
        return None
    won = sum((a > b) + Fraction(int(a == b), 2) for a in strange for b in normal)
    return float(won / (len(strange) * len(normal)))


def by_thresholds(masks, maps):
    """The criterion's own words at every threshold, then the area under the ROC."""
    frames = scored(masks, maps)
    strange = [frame for frame in frames if frame[0].any()]
    normal = [frame for frame in frames if not frame[0].any()]
    if not strange or not normal:
        return None
    points = [(Fraction(0), Fraction(0))]
    for threshold in sorted({v for _, values in frames for v in values.flat}, reverse=True):
        hits = [
            Fraction(int((values[mask] >= threshold).sum()), int(mask.sum())) >= Fraction(2, 5)
            for mask, values in strange
        ]
        false = [(values >= threshold).any() for _, values in normal]
        points.append((Fraction(sum(false), len(false)), Fraction(sum(hits), len(hits))))
    return float(sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points)))


def same(value, expected):
    return value == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_case(case):
    masks, maps = videos(case)
    for metric in BOTH:
        np.testing.assert_allclose(metric(masks, maps), case["expected"][metric.__name__], **EXACT)


@unhurried
@given(small_sets())
def test_brute_force_agrees(videos):
    assert same(pixel_auc(*videos), by_pairs(*videos))
    assert same(pixel_auc_40(*videos), by_thresholds(*videos))


@unhurried
@given(small_sets())
def test_only_the_order_of_values_matters(videos):
    masks, maps = videos
    risen = [np.exp(video) for video in maps]
    for metric in BOTH:
        assert metric(masks, risen) == metric(masks, maps)


@unhurried
@given(small_sets(), st.randoms())
def test_order_of_videos_and_frames_does_not_matter(videos, random):
    frames = list(zip(*(np.concatenate(side) for side in videos), strict=True))
    random.shuffle(frames)
    masks, maps = zip(*frames, strict=True)
    for metric in BOTH:
        assert metric([masks], [maps]) == metric(*videos)


@unhurried
@given(small_sets())
def test_frames_without_a_score_leave_with_their_mask(videos):
    kept = scored(*videos)
    for metric in BOTH:
        shown = metric([[mask for mask, _ in kept]], [[values for _, values in kept]])
        assert shown == metric(*videos)


@unhurried
@given(small_sets(), st.integers(0, 5), st.integers(0, 5))
def test_turned_frames_have_the_same_metrics(videos, rows, columns):
    turned = [[np.roll(v, (rows, columns), axis=(1, 2)) for v in side] for side in videos]
    for metric in BOTH:
        assert metric(*turned) == metric(*videos)


def test_flat_maps_have_the_frame_auc_by_the_ucsd_criterion():
    random = np.random.default_rng(0)
    masks = random.random((20, 4, 5)) > 0.95
    values = random.random(20)
    flood = np.broadcast_to(values[:, None, None], masks.shape)
    labels = masks.any(axis=(1, 2)).astype(int)
    assert pixel_auc_40([masks], [flood]) == auc_micro([labels], [values])
    assert pixel_auc([masks], [flood]) < pixel_auc_40([masks], [flood])


def test_map_is_brought_to_the_size_of_the_mask():
    random = np.random.default_rng(1)
    masks = random.random((6, 24, 36)) > 0.8
    masks[:2] = False
    maps = random.random((6, 8, 9)).astype(np.float32)
    large = np.stack([cv2.resize(m, (36, 24), interpolation=cv2.INTER_LINEAR) for m in maps])
    for metric in BOTH:
        assert metric([masks], [maps]) == metric([masks], [large])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.int64])
def test_maps_of_any_number_are_taken(dtype):
    masks, maps = np.zeros((2, 4, 4), bool), np.zeros((2, 2, 2), dtype)
    masks[1], maps[1] = True, 3
    assert pixel_auc_40([masks], [maps]) == pixel_auc([masks], [maps]) == 1.0


def test_frames_may_come_one_by_one():
    masks, maps = videos(CASES[0])
    for metric in BOTH:
        streamed = metric((iter(video) for video in masks), (iter(video) for video in maps))
        assert streamed == metric(masks, maps)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_metric(label):
    masks, maps = np.full((3, 2, 2), label), np.arange(12.0).reshape(3, 2, 2)
    assert pixel_auc_40([masks], [maps]) is None
    assert pixel_auc([masks], [maps]) is None


def test_nothing_has_no_metric():
    assert pixel_auc([], []) is None
    assert pixel_auc_40([], []) is None


def ranks_of(values, size):
    kept = _Ranks(size)
    for part in np.array_split(values, 97):
        kept.add(part)
    return kept.weighted()


@pytest.mark.parametrize("order", ["random", "rising", "falling", "tied", "narrowing"])
def test_thinned_ranks_are_right_to_the_stated_error(order):
    size, number = 64, 50_000
    random = np.random.default_rng(2).normal(size=number).astype(np.float32)
    values = {
        "random": random,
        "rising": np.sort(random),
        "falling": np.sort(random)[::-1],
        "tied": np.round(random),
        "narrowing": random / np.arange(1, number + 1),
    }[order]
    kept, weights = ranks_of(values, size)
    assert weights.sum() == number  # every value is stood for
    assert kept.size < 14 * size
    bound = (2 + np.log2(number / size)) / (4 * size)
    up_to = np.append(0, np.cumsum(weights))
    for side in ("left", "right"):
        at = np.unique(values)
        right = np.searchsorted(np.sort(values), at, side)
        found = up_to[np.searchsorted(kept, at, side)]
        assert np.abs(found - right).max() <= bound * number


def test_millions_of_pixels_are_right_to_the_stated_error():
    random = np.random.default_rng(3)
    masks = random.random((40, 250, 300)) > 0.9
    maps = random.normal(size=masks.shape).astype(np.float32) + 0.3 * masks
    right = sklearn.metrics.roc_auc_score(masks.ravel(), maps.ravel())
    bound = (2 + np.log2(masks.size / 2**20)) / 2**22
    np.testing.assert_allclose(pixel_auc([masks], [maps]), right, rtol=0, atol=bound)


ONES = np.ones((2, 3, 3))


@pytest.mark.parametrize("metric", BOTH)
@pytest.mark.parametrize(
    ("masks", "maps", "said"),
    [
        ([ONES, ONES], [ONES], "masks but no maps from video 1"),
        ([ONES], [ONES, ONES], "maps but no masks from video 1"),
        ([ONES], [ONES[:1]], "masks but no maps from frame 1 of video 0"),
        ([ONES], [ONES * np.inf], "frame 0 of video 0 .* 9 of 9 pixels"),
        ([ONES], [np.where(np.eye(3), np.nan, ONES)], "3 of 9 pixels that are NaN"),
        ([ONES[0]], [ONES[0]], r"mask \(3,\) or the map \(3,\) of frame 0 of video 0"),
    ],
)
def test_unusable_input_is_named(metric, masks, maps, said):
    with pytest.raises(DataError, match=said):
        metric(masks, maps)
