"""Frame metrics against exact arithmetic, scikit-learn, and what must leave them unchanged."""

import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given
from hypothesis import strategies as st

from vad_jax.evaluation import (
    auc_macro,
    auc_macro_padded,
    auc_macro_padded01,
    auc_micro,
    average_precision,
    equal_error_rate,
    per_video_auc,
)
from vad_jax.types import DataError

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text(encoding="utf-8")
)
FRAME_CASES = [case for case in GOLDEN["cases"] if case["kind"] == "frame"]
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}  # rational arithmetic, rounded to double
SAME = {"rtol": 0, "atol": 1e-12}  # double rounding over a few dozen terms


@st.composite
def sets_of_videos(draw):
    """A few videos with tied scores, some of them missing."""
    videos = draw(
        st.lists(
            st.lists(
                st.tuples(st.integers(0, 1), st.sampled_from([None, *range(-3, 4)])),
                min_size=1,
                max_size=12,
            ),
            min_size=1,
            max_size=5,
        )
    )
    labels = [np.array([label for label, _ in video]) for video in videos]
    scores = [np.array([score for _, score in video], np.float64) for video in videos]
    return labels, scores


def both_classes(labels, scores):
    known = np.concatenate(labels)[~np.isnan(np.concatenate(scores))]
    return len(np.unique(known)) == 2


@pytest.mark.parametrize("case", FRAME_CASES, ids=lambda case: case["name"])
def test_golden_case(case):
    labels = [np.array(video["labels"]) for video in case["input"]["videos"]]
    scores = [np.array(video["scores"], np.float64) for video in case["input"]["videos"]]
    expected = case["expected"]
    macro = auc_macro(labels, scores)
    assert (macro.used, macro.skipped) == (expected["macro_used"], expected["macro_skipped"])
    found = {
        "micro_auc": auc_micro(labels, scores),
        "macro_auc": macro.value,
        "macro_padded": auc_macro_padded(labels, scores).value,
        "macro_padded01": auc_macro_padded01(labels, scores).value,
        "ap": average_precision(labels, scores),
        "eer": equal_error_rate(labels, scores),
    }
    pairs = [(found[name], expected[name]) for name in found]
    pairs += zip(per_video_auc(labels, scores), expected["per_video_auc"], strict=True)
    for value, right in pairs:
        if right is None:
            assert value is None
        else:
            np.testing.assert_allclose(value, right, **EXACT)


@given(sets_of_videos())
def test_scikit_learn_agrees(videos):
    assume(both_classes(*videos))
    labels, scores = (np.concatenate(side) for side in videos)
    labels, scores = labels[~np.isnan(scores)], scores[~np.isnan(scores)]
    np.testing.assert_allclose(
        auc_micro(*videos), sklearn.metrics.roc_auc_score(labels, scores), **SAME
    )
    np.testing.assert_allclose(
        average_precision(*videos), sklearn.metrics.average_precision_score(labels, scores), **SAME
    )


@given(sets_of_videos())
def test_only_the_order_of_scores_matters(videos):
    labels, scores = videos
    risen = [np.exp(video) for video in scores]
    for metric in (
        auc_micro,
        auc_macro,
        auc_macro_padded,
        average_precision,
        equal_error_rate,
        per_video_auc,
    ):
        assert metric(labels, risen) == metric(labels, scores)


@given(sets_of_videos(), st.randoms())
def test_order_of_videos_does_not_matter(videos, random):
    pairs = list(zip(*videos, strict=True))
    random.shuffle(pairs)
    shuffled = [list(side) for side in zip(*pairs, strict=True)]
    for metric in (auc_micro, average_precision, equal_error_rate):
        assert metric(*shuffled) == metric(*videos)
    for metric in (auc_macro, auc_macro_padded, auc_macro_padded01):
        value, *counts = metric(*videos)
        turned, *turned_counts = metric(*shuffled)
        assert turned_counts == counts
        assert turned == (None if value is None else pytest.approx(value, abs=1e-12))


@given(sets_of_videos())
def test_flipped_labels_and_negated_scores_leave_auc_and_eer(videos):
    labels, scores = videos
    flipped = [1 - video for video in labels], [-video for video in scores]
    for metric in (auc_micro, equal_error_rate):
        value = metric(labels, scores)
        assert metric(*flipped) == (None if value is None else pytest.approx(value, abs=1e-12))


@given(sets_of_videos(), st.integers(0, 1))
def test_video_of_one_class_changes_nothing_of_the_strict_macro_but_the_count(videos, label):
    labels, scores = videos
    before = auc_macro(labels, scores)
    after = auc_macro([*labels, np.array([label] * 3)], [*scores, np.arange(3.0)])
    assert after == before._replace(skipped=before.skipped + 1)


def test_frames_without_a_score_leave_with_their_label():
    labels, scores = [np.array([1, 0, 1, 0])], [np.array([np.nan, 0.1, 0.9, 0.5])]
    assert auc_micro(labels, scores) == auc_micro([labels[0][1:]], [scores[0][1:]]) == 1.0


def test_video_without_any_score_does_not_lift_the_padded_macro():
    labels, scores = [np.array([0, 1, 0])], [np.array([0.4, 0.2, 0.3])]
    empty = [np.array([1, 1])], [np.full(2, np.nan)]
    padded = auc_macro_padded(labels + empty[0], scores + empty[1])
    assert padded == auc_macro_padded(labels, scores)._replace(skipped=1)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_metric(label):
    videos = [np.full(4, label)], [np.arange(4.0)]
    assert [m(*videos) for m in (auc_micro, average_precision, equal_error_rate)] == [None] * 3
    assert auc_macro(*videos) == (None, 0, 1)


@pytest.mark.parametrize("metric", [auc_micro, auc_macro, average_precision, equal_error_rate])
@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        ([[0, 1]], [[0.5, np.inf]], "infinite score at frame 1"),
        ([[0, 1, 1]], [[0.5, 0.7]], r"labels \(3,\) but scores \(2,\)"),
        ([[0, 2]], [[0.5, 0.7]], "label 2"),
        ([[0, 1], [0]], [[0.5, 0.7]], "labels of 2 videos but scores of 1"),
    ],
)
def test_unusable_input_is_named(metric, labels, scores, said):
    with pytest.raises(DataError, match=said):
        metric(labels, scores)


@pytest.mark.parametrize("label", [0, 1])
def test_a_set_of_one_class_has_no_padded_macro(label):
    labels, scores = [np.full(9, label), np.full(5, label)], [np.arange(9.0), np.arange(5.0)]
    for metric in (auc_macro_padded, auc_macro_padded01):
        assert metric(labels, scores) == (None, 0, 2)
