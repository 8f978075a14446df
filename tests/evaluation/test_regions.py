"""Region criteria against exact arithmetic and thresholds one by one."""

import itertools
import json
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.evaluation import region_criteria, region_draws
from vad_jax.types import ConfigError, DataError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text())
REGIONS = [case for case in GOLDEN["cases"] if case["kind"] == "region"]
unhurried = settings(deadline=None)  # other work may share the machine
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}  # rational arithmetic, rounded to double
NUM_FRAMES = 6

corners = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 5), st.integers(0, 5))
boxes = corners.map(lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3]))
truths = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 2), boxes), max_size=12
).map(lambda rows: [(*row, *box) for *row, box in rows])
detected = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), boxes, st.integers(0, 4)), max_size=16
).map(lambda rows: [(*row, *box, score / 4) for *row, box, score in rows])
shares = st.sampled_from([Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(1)])


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return Fraction(both, sum(areas) - both)


def by_thresholds(truth, detections, num_frames, alpha, beta):
    """The criterion's own words at every threshold, in rational numbers."""

    def meets(region, detection):
        together = (region[0], region[2]) == (detection[0], detection[1])
        return together and overlap(region[3:], detection[2:6]) >= beta

    curve = [(Fraction(0),) * 3]
    for threshold in sorted({row[-1] for row in detections}, reverse=True):
        active = [row for row in detections if row[-1] >= threshold]
        found = [any(meets(region, row) for row in active) for region in truth]
        false = sum(not any(meets(region, row) for region in truth) for row in active)
        tracks = {}
        for region, hit in zip(truth, found, strict=True):
            tracks.setdefault(region[:2], []).append(hit)
        recalled = [Fraction(sum(hits), len(hits)) >= alpha for hits in tracks.values()]
        curve.append(
            (
                Fraction(false, num_frames),
                Fraction(sum(found), len(found)),
                Fraction(sum(recalled), len(recalled)),
            )
        )
    areas = []
    for column in (1, 2):
        area, last = Fraction(0), curve[-1]
        for a, b in itertools.pairwise([*curve, (max(last[0], Fraction(1)), *last[1:])]):
            if a[0] < 1 and b[0] > a[0]:
                end = min(b[0], Fraction(1))
                height = a[column] + (b[column] - a[column]) * (end - a[0]) / (b[0] - a[0])
                area += (end - a[0]) * (a[column] + height) / 2
        areas.append(area)
    return areas, curve


def close(found, expected):
    return found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", REGIONS, ids=lambda case: case["name"])
def test_golden_criteria(case):
    given = case["input"]
    found = region_criteria(
        given["truth"],
        given["detections"],
        given["num_frames"],
        alpha=given["alpha"],
        beta=given["beta"],
    )
    for name in ("rbdc", "tbdc", "curve"):
        np.testing.assert_allclose(getattr(found, name), case["expected"][name], **EXACT)


@unhurried
@given(truths.filter(len), detected, shares, shares)
def test_brute_force_agrees(truth, detections, alpha, beta):
    # the float64 nearest to a third lies below it: equality counts in both
    (rbdc, tbdc), curve = by_thresholds(truth, detections, NUM_FRAMES, alpha, beta)
    found = region_criteria(truth, detections, NUM_FRAMES, alpha=float(alpha), beta=float(beta))
    assert close(found.rbdc, float(rbdc))
    assert close(found.tbdc, float(tbdc))
    np.testing.assert_allclose(found.curve, np.array(curve, np.float64), rtol=0, atol=1e-12)


@unhurried
@given(truths.filter(len), detected, st.randoms())
def test_order_of_rows_and_names_of_videos_do_not_matter(truth, detections, random):
    before = region_criteria(truth, detections, NUM_FRAMES)
    names = {"a": 17, "b": "street/03"}
    truth, detections = ([(names[v], *row) for v, *row in rows] for rows in (truth, detections))
    random.shuffle(truth)
    random.shuffle(detections)
    after = region_criteria(truth, detections, NUM_FRAMES)
    assert after[:2] == before[:2]
    np.testing.assert_array_equal(after.curve, before.curve)


@unhurried
@given(truths.filter(len), detected)
def test_only_the_order_of_scores_matters(truth, detections):
    risen = [(*row, np.exp(score)) for *row, score in detections]
    before, after = (region_criteria(truth, rows, NUM_FRAMES) for rows in (detections, risen))
    assert after[:2] == before[:2]


@unhurried
@given(truths.filter(len), detected, st.integers(-40, 40), st.integers(0, 3))
def test_place_and_time_do_not_matter(truth, detections, shift, later):
    moved = [
        [
            (*row[: at - 1], row[at - 1] + later, *(x + shift for x in row[at : at + 4]))
            + tuple(row[at + 4 :])
            for row in rows
        ]
        for rows, at in ((truth, 3), (detections, 2))
    ]
    before = region_criteria(truth, detections, 2 * NUM_FRAMES)
    after = region_criteria(*moved, 2 * NUM_FRAMES)
    assert after[:2] == before[:2]


@unhurried
@given(truths.filter(len), detected)
def test_half_open_boxes_are_the_inclusive_ones_plus_one(truth, detections):
    opened = [(*row[:5], row[5] + 1, row[6] + 1) for row in truth]
    found = [(*row[:4], row[4] + 1, row[5] + 1, row[6]) for row in detections]
    after = region_criteria(opened, found, NUM_FRAMES, inclusive=False)
    assert after[:2] == region_criteria(truth, detections, NUM_FRAMES)[:2]


@unhurried
@given(truths.filter(len), detected, st.integers(0, 2), boxes)
def test_lower_scored_false_detection_never_raises_them(truth, detections, frame, box):
    before = region_criteria(truth, detections, NUM_FRAMES)
    far = [x + 100 for x in box]
    after = region_criteria(truth, [*detections, ("a", frame, *far, -1.0)], NUM_FRAMES)
    assert after.rbdc <= before.rbdc + 1e-12
    assert after.tbdc <= before.tbdc + 1e-12


@unhurried
@given(truths, detected, st.lists(st.integers(0, 1), min_size=2, max_size=5))
def test_a_draw_of_videos_is_matched_anew(truth, detections, drawn):
    truth, detections = (
        [("ab".index(v), *row) for v, *row in rows] for rows in (truth, detections)
    )
    frames, counts = [NUM_FRAMES, 9], np.array([np.bincount(drawn, minlength=2), [1, 1]])
    found = region_draws(truth, detections, frames, counts, alpha=0.4)
    for values, draw in zip(found, (drawn, [0, 1]), strict=True):
        own = [[(i, *row[1:]) for i, v in enumerate(draw) for row in rows if row[0] == v]
               for rows in (truth, detections)]  # fmt: skip
        expected = region_criteria(*own, sum(frames[v] for v in draw), alpha=0.4)[:2]
        expected = [np.nan if value is None else value for value in expected]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)  # sums of a few dozen


@unhurried
@given(truths.filter(len))
def test_truth_finds_itself(truth):
    detections = [(video, frame, *box, 1.0) for video, _, frame, *box in truth]
    assert region_criteria(truth, detections, NUM_FRAMES)[:2] == (1.0, 1.0)


def test_no_detection_is_nought_and_no_truth_is_none():
    row = ("a", 0, 0, 0, 0, 4, 4)
    nothing = region_criteria([row], [], 5)
    assert nothing[:2] == (0.0, 0.0)
    assert nothing.curve.tolist() == [[0, 0, 0]]
    assert region_criteria([], [("a", 0, 0, 0, 4, 4, 0.5)], 5) == (None, None, None)


TRUTH = [("a", 0, 0, 0, 0, 4, 4), ("a", 0, 1, 0, 0, 4, 4)]
DETECTED = [("a", 0, 0, 0, 4, 4, 0.5), ("a", 1, 0, 0, 4, 4, 0.5)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("a", 0, 0, 0, 4, 4, np.nan), r"Detection 2 .*a, 0, 0, 0, 4, 4, nan.* NaN or infinite"),
        (("a", 0, 0, 0, 4, 4, None), "Detection 2 .* NaN or infinite"),
        (("a", 0, 0, 0, 4, 4, np.inf), "Detection 2 .* NaN or infinite"),
        (("a", 0, 5, 0, 4, 4, 0.5), "Detection 2 .* empty box"),
        (("a", 0, 0, 5, 4, 4, 0.5), "Detection 2 .* empty box"),
        (("a", 9, 0, 0, 4, 4, 0.5), "Detection 2 .* no frame .* num_frames is 5"),
        (("a", -1, 0, 0, 4, 4, 0.5), "Detection 2 .* no frame"),
        (("a", 1.5, 0, 0, 4, 4, 0.5), "Detection 2 .* no frame"),
        (("a", 0, 0, 0, 4, 4), "Detection 2 .* 6 fields"),
        (("a", 0, 0, 0, "left", 4, 0.5), "Detection 2 .* something else than a number.*left"),
    ],
)
def test_row_that_cannot_be_is_named(row, said):
    with pytest.raises(DataError, match=said):
        region_criteria(TRUTH, [*DETECTED, row], 5)


def test_truth_that_cannot_be_is_named():
    with pytest.raises(DataError, match=r"Truth row 1 .* empty box"):
        region_criteria([TRUTH[0], ("a", 0, 1, 3, 0, 2, 4)], DETECTED, 5)
    with pytest.raises(DataError, match=r"Truth row 0 .* half-open"):
        region_criteria([("a", 0, 1, 3, 0, 3, 4)], DETECTED, 5, inclusive=False)


@pytest.mark.parametrize("frames", [0, 3])
def test_too_few_frames_are_named(frames):
    rows = [("a", 0, 0, 0, 4, 4, 0.5), ("b", 2, 0, 0, 4, 4, 0.5)] if frames else []
    with pytest.raises(DataError, match=f"num_frames is {frames}"):
        region_criteria([], rows, frames)


@pytest.mark.parametrize("options", [{"alpha": 0}, {"beta": 0.0}, {"alpha": 1.1}, {"beta": np.nan}])
def test_share_out_of_range_is_named(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        region_criteria(TRUTH, DETECTED, 5, **options)


def test_a_data_set_like_ped2_takes_no_time():
    random = np.random.default_rng(0)
    corner = random.integers(0, 300, (40_000, 2))
    size = random.integers(5, 50, (40_000, 2))
    box = np.hstack([corner, corner + size]).tolist()
    where = random.integers(0, 12, 40_000).tolist(), random.integers(0, 167, 40_000).tolist()
    detections = [
        (v, f, *b, s) for v, f, b, s in zip(*where, box, random.random(40_000), strict=True)
    ]
    truth = [(v, i % 21, f, *b) for i, (v, f, *b, _) in enumerate(detections[:2410])]
    began = time.perf_counter()
    found = region_criteria(truth, detections, 2010)
    assert time.perf_counter() - began < 3  # 0.2 s where nothing else runs
    assert 0 < found.rbdc < 1
