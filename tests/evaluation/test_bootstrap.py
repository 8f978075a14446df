"""Intervals: the golden draws, and the fast forms against the metrics made anew."""

import json
from pathlib import Path

import numpy as np
import pytest

from vad_jax.evaluation import (
    auc_macro,
    auc_macro_padded,
    auc_macro_padded01,
    auc_micro,
    average_precision,
    bootstrap,
    paired_bootstrap,
)
from vad_jax.evaluation.bootstrap import METHODS
from vad_jax.types import DataError

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text(encoding="utf-8")
)
CASES = {case["kind"]: case for case in GOLDEN["cases"]}
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}


def columns(case):
    videos = case["input"]["videos"]
    return [[np.array(v[name]) for v in videos] for name in ("labels", "scores", "scores_b")]


def options(case):
    given = {name: case["input"][name] for name in ("replicates", "seed", "level")}
    return given | {"method": "percentile"}


@pytest.fixture
def videos():
    random = np.random.default_rng(3)
    labels = [random.integers(0, 2, length) for length in (12, 7, 20, 9)] + [np.ones(5, int)]
    scores = [np.round(truth + random.normal(size=len(truth)), 1) for truth in labels]
    scores[0][:3] = np.nan
    return labels, scores


def test_golden_bootstrap():
    case = CASES["bootstrap"]
    labels, scores, _ = columns(case)
    found, expected = bootstrap(labels, scores, auc_micro, **options(case)), case["expected"]
    assert found.dropped == expected["skipped"]
    assert found.replicates + found.dropped == case["input"]["replicates"]
    np.testing.assert_allclose(
        [found.low, found.high, found.mean, *found.values[:5]],
        [*(expected[name] for name in ("low", "high", "mean")), *expected["first"]],
        **EXACT,
    )


def test_golden_paired_bootstrap():
    case = CASES["bootstrap_paired"]
    found, expected = (
        paired_bootstrap(*columns(case), auc_micro, **options(case)),
        case["expected"],
    )
    assert found.dropped == expected["skipped"]
    np.testing.assert_allclose(
        [found.low, found.high, found.mean, found.p],
        [expected[name] for name in ("low", "high", "mean", "p_two_sided")],
        **EXACT,
    )


@pytest.mark.parametrize("metric", [auc_micro, auc_macro, auc_macro_padded, auc_macro_padded01])
def test_fast_forms_equal_the_metric_made_anew(videos, metric):
    fast = bootstrap(*videos, metric, replicates=60)
    anew = bootstrap(*videos, lambda labels, scores: metric(labels, scores), replicates=60)
    np.testing.assert_allclose(fast.values, anew.values, rtol=0, atol=1e-12)
    assert fast[4:6] == anew[4:6]


@pytest.mark.parametrize("metric", [auc_micro, auc_macro, auc_macro_padded, auc_macro_padded01])
def test_fast_forms_draw_the_same_groups(videos, metric):
    groups = ["a", "b", "a", "c", "b"]
    fast = bootstrap(*videos, metric, replicates=60, groups=groups)
    anew = bootstrap(*videos, lambda *given: metric(*given), replicates=60, groups=groups)
    np.testing.assert_allclose(fast.values, anew.values, rtol=0, atol=1e-12)
    assert not np.array_equal(fast.values, bootstrap(*videos, metric, replicates=60).values)


def test_groups_of_one_are_videos(videos):
    alone = bootstrap(*videos, auc_micro, replicates=60, groups=range(5))
    np.testing.assert_array_equal(alone.values, bootstrap(*videos, auc_micro, replicates=60).values)


def test_a_group_is_drawn_whole(videos):
    """Two copies of each video, grouped, vary as the videos do; taken for ten, they vary less."""
    labels, scores = videos
    doubled = [*labels, *labels], [*scores, *scores]
    draws = {"replicates": 60}
    grouped = bootstrap(*doubled, auc_micro, groups=[*range(5), *range(5)], **draws)
    np.testing.assert_allclose(
        grouped.values, bootstrap(labels, scores, auc_micro, **draws).values, atol=1e-12
    )
    assert bootstrap(*doubled, auc_micro, **draws).values.std() < grouped.values.std()


def test_groups_that_do_not_fit_are_refused(videos):
    with pytest.raises(DataError, match="4 groups are given for 5 videos"):
        bootstrap(*videos, auc_micro, groups=range(4))


def test_interval_holds_its_level(videos):
    found = bootstrap(*videos, average_precision, replicates=200, level=0.8, method="percentile")
    inside = (found.values >= found.low) & (found.values <= found.high)
    assert inside.mean() == pytest.approx(0.8, abs=0.02)


def test_same_seed_gives_the_same_interval(videos):
    by = {"method": "percentile"}
    assert bootstrap(*videos, auc_micro, **by)[:4] == bootstrap(*videos, auc_micro, **by)[:4]
    other = bootstrap(*videos, auc_micro, seed=1, **by)
    assert other.low != bootstrap(*videos, auc_micro, **by).low


def test_one_class_drops_every_replicate():
    found = bootstrap([np.ones(3, int)], [np.arange(3.0)], auc_micro, replicates=20)
    assert (found.low, found.mean, found.replicates, found.dropped) == (None, None, 0, 20)


def test_run_against_itself_shows_no_difference(videos):
    labels, scores = (2 * each for each in videos)
    for method in METHODS:
        found = paired_bootstrap(labels, scores, scores, auc_micro, replicates=100, method=method)
        assert (found.low, found.high, found.p) == (0, 0, 1), method


def test_paired_runs_count_only_frames_that_both_score(videos):
    labels, scores = (2 * each for each in videos)
    full = [np.nan_to_num(video, nan=9.0) for video in scores]  # would change a, were they to count
    found = paired_bootstrap(labels, full, scores, auc_micro, replicates=50)
    assert (found.low, found.high) == (0, 0)


def test_runs_of_different_length_are_refused(videos):
    labels, scores = videos
    with pytest.raises(DataError, match=r"Video 1 .* 7 scores in one run and 6 in the other"):
        paired_bootstrap(labels, scores, [scores[0], scores[1][:-1], *scores[2:]], auc_micro)
