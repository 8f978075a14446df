"""What few videos can say: no interval and no p below six, intervals that hold above."""

import numpy as np
import pytest
from scipy import stats

from vad_jax import evaluation
from vad_jax.benchmarks import certainty as simulation
from vad_jax.evaluation import (
    FEWEST,
    auc_macro,
    auc_macro_padded,
    auc_micro,
    average_precision,
    bootstrap,
    equal_error_rate,
    paired_bootstrap,
)
from vad_jax.evaluation.certainty import (
    NO_SPREAD,
    contributions,
    gap,
    pooled,
    share,
    sign_flip,
)
from vad_jax.types import ConfigError

METRICS = (auc_micro, auc_macro, auc_macro_padded, average_precision, equal_error_rate)


def videos(number, *, seed=0, shift=1.0):
    """Labels and scores of videos of different lengths that hold both classes."""
    random = np.random.default_rng(seed)
    labels = [np.arange(length) * 3 >= length for length in random.integers(15, 90, number)]
    labels = [own.astype(np.int8) for own in labels]
    return labels, [shift * own + random.normal(size=len(own)) for own in labels]


# Too few


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("metric", METRICS)
def test_fewer_than_six_videos_give_no_interval_and_no_p(number, metric):
    labels, scores = videos(number)
    found = bootstrap(labels, scores, metric, replicates=20)
    assert (found.low, found.high) == (None, None)
    assert found.why == f"too few videos to say: {number} of both classes, 6 are needed"
    other = [own[::-1] for own in scores]
    pair = paired_bootstrap(labels, scores, other, metric, replicates=20)
    assert (pair.low, pair.high, pair.p, pair.why) == (None, None, None, found.why)


@pytest.mark.parametrize("metric", METRICS)
def test_six_videos_give_both(metric):
    labels, scores = videos(FEWEST)
    found = bootstrap(labels, scores, metric, replicates=20)
    value = metric(labels, scores)
    assert found.low < (value[0] if isinstance(value, tuple) else value) < found.high
    noise = np.random.default_rng(1)
    other = [own + noise.normal(size=len(own)) for own in scores]
    assert 2 / 2**6 <= paired_bootstrap(labels, scores, other, metric, replicates=20).p <= 1


def test_videos_of_one_class_do_not_make_enough():
    labels, scores = videos(9)
    for label in (0, 1):
        one_class = [np.full_like(own, label) for own in labels[:4]] + labels[4:]
        found = bootstrap(one_class, scores, auc_micro, replicates=20)
        assert found.why.startswith("too few videos to say: 5 of both classes")


def test_six_videos_of_each_class_are_enough_for_a_ranking_of_all_and_for_no_mean_over_videos():
    labels, scores = videos(12)
    apart = [np.full_like(own, i % 2) for i, own in enumerate(labels)]
    assert bootstrap(apart, scores, auc_micro, replicates=20).low is not None
    assert "none of both classes" in bootstrap(apart, scores, auc_macro, replicates=20).why


def test_five_scenes_are_too_few_whatever_their_videos():
    labels, scores = videos(20)
    found = bootstrap(labels, scores, auc_micro, groups=[i % 5 for i in range(20)], replicates=20)
    assert found.why == "too few scenes to say: 5 of both classes, 6 are needed"
    six = bootstrap(labels, scores, auc_micro, groups=[i % 6 for i in range(20)], replicates=20)
    assert six.low is not None


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="no interval by 'bca': jackknife or percentile"):
        bootstrap(*videos(6), auc_micro, method="bca")


def test_a_metric_that_leaves_the_unit_interval_is_refused():
    def frames(labels, scores):
        return float(sum(map(len, labels)))

    with pytest.raises(ConfigError, match=r"gives \d+, .* figure in 0..1.*'percentile'"):
        bootstrap(*videos(6), frames, replicates=5)
    assert bootstrap(*videos(6), frames, replicates=5, method="percentile").low > 1


# The interval


def test_the_interval_is_that_of_figures_with_each_video_left_out():
    labels, scores = videos(7)
    found = bootstrap(labels, scores, auc_micro, replicates=20)
    without = [
        auc_micro(*([own for i, own in enumerate(each) if i != out] for each in (labels, scores)))
        for out in range(7)
    ]
    low, high = share(auc_micro(labels, scores), np.array(without)).bounds(0.95)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-12)


@pytest.mark.parametrize("metric", [auc_micro, auc_macro, auc_macro_padded])
def test_fast_forms_have_the_interval_of_the_metric_made_anew(metric):
    labels, scores = videos(8)
    fast = bootstrap(labels, scores, metric, replicates=5)
    anew = bootstrap(labels, scores, lambda *given: metric(*given), replicates=5)
    np.testing.assert_allclose([fast.low, fast.high], [anew.low, anew.high], rtol=1e-9)


def test_a_method_turned_round_has_the_interval_turned_round():
    labels, scores = videos(8)
    found = bootstrap(labels, scores, auc_micro, replicates=5)
    turned = bootstrap(labels, [-own for own in scores], auc_micro, replicates=5)
    np.testing.assert_allclose([1 - turned.high, 1 - turned.low], [found.low, found.high])


def test_videos_that_are_skipped_make_a_mean_no_more_certain():
    labels, scores = videos(7)
    more = [np.zeros(30, np.int8)] * 20
    alone = bootstrap(labels, scores, auc_macro, replicates=5)
    beside = bootstrap([*labels, *more], [*scores, *more], auc_macro, replicates=5)
    np.testing.assert_allclose([beside.low, beside.high], [alone.low, alone.high])


def test_a_perfect_score_on_few_videos_is_not_certain():
    labels, _ = videos(6)
    found = bootstrap(labels, [own * 1.0 for own in labels], auc_micro, replicates=20)
    assert found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 6))  # (1 - q)^6 = 0.025
    labels, _ = videos(24)
    many = bootstrap(labels, [own * 1.0 for own in labels], auc_micro, replicates=20)
    assert found.low < many.low < 1


def test_a_single_miss_makes_no_figure_less_certain_than_a_share_of_videos():
    labels = [np.array([0, 0, 1, 1])] * 8
    missed = [own * 1.0 for own in labels[:7]] + [-1.0 * labels[7]]
    found = bootstrap(labels, missed, auc_macro, replicates=20)
    exact = stats.binomtest(7, 8).proportion_ci(0.95)  # Clopper and Pearson
    assert found.low == pytest.approx(exact.low)
    assert found.high == pytest.approx(exact.high)


def test_a_constant_score_has_no_interval():
    labels, scores = videos(8)
    found = bootstrap(labels, [own * 0 for own in scores], auc_micro, replicates=20)
    assert found.low is None
    assert "the same whichever of them is left out" in found.why


def test_one_video_that_holds_all_that_is_missed_widens_the_interval():
    even = np.array([0.88, 0.92, 0.89, 0.91, 0.9, 0.9])
    uneven = np.array([0.89, 0.89, 0.89, 0.89, 0.89, 0.99])
    low = [share(0.9, without).bounds(0.95)[0] for without in (even, uneven)]
    assert low[1] < low[0] < 0.9


def test_a_wider_level_holds_a_narrower_one():
    labels, scores = videos(8)
    wide, narrow = (
        bootstrap(labels, scores, auc_micro, level=level, replicates=5) for level in (0.99, 0.8)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_seeds_together_have_an_interval_between_and_about_theirs():
    laws = [share(value, value + np.linspace(-0.02, 0.02, 8)) for value in (0.8, 0.9)]
    low, high = pooled(laws, 0.95)
    assert laws[0].bounds(0.95)[0] < low < 0.8
    assert 0.9 < high < laws[1].bounds(0.95)[1]
    assert pooled(laws[:1] * 2, 0.95) == laws[0].bounds(0.95)
    inside = np.mean([law.below(high) - law.below(low) for law in laws])
    assert inside == pytest.approx(0.95, abs=1e-6)


# The test of a difference


@pytest.mark.parametrize("number", [6, 7, 16])
def test_p_of_videos_that_all_agree_is_the_least_there_is(number):
    assert sign_flip(np.linspace(0.1, 0.2, number)) == 2 / 2**number


def test_p_counts_the_choices_of_signs_whose_sum_is_as_far():
    # Of 8 choices for 1, 2, 4 the sums ±7 and ±5 lie as far as 5.
    assert sign_flip(np.array([-1.0, 2.0, 4.0])) == 4 / 8


def test_drawn_signs_give_nearly_the_exact_p():
    added = np.random.default_rng(2).normal(0.35, 1, 16)
    exact = sign_flip(added)
    drawn = sign_flip(np.append(added, 0.0))  # the 17th adds nothing, and signs are drawn
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000))
    assert sign_flip(np.ones(60)) == 1 / 10_001


def test_contributions_have_the_figure_as_their_mean():
    without = np.array([0.1, 0.12, 0.05, 0.09, 0.11, 0.1])
    assert contributions(0.1, without).mean() == pytest.approx(0.1, abs=1e-15)
    mean = np.array([0.3, 0.1, 0.2, 0.5])  # of a mean, they are what it is the mean of
    left = np.array([np.delete(mean, i).mean() for i in range(4)])
    np.testing.assert_allclose(contributions(mean.mean(), left), mean)


def test_a_difference_has_no_end_beyond_one():
    assert gap(0.9, 0.9 + np.linspace(-0.3, 0.3, 6)).bounds(0.95)[1] == 1


# By simulation: how often the truth is inside, and how often equal methods are called different


@pytest.mark.parametrize(("number", "auc"), [(6, 0.9), (12, 0.97)])
def test_intervals_hold_the_truth_in_a_cut_of_the_simulation(number, auc):
    (row,) = simulation.coverage(400, videos=[number], aucs=[auc])
    # 0.92 to 0.98, and three deviations of a share of 400 about the ends.
    assert 0.88 <= row["jackknife"] <= 0.995
    assert row["percentile"] < row["jackknife"]


def test_equal_methods_are_seldom_called_different_in_a_cut_of_the_simulation():
    one, seven = simulation.called_different(200, videos=[1, 7])
    assert one["jackknife"] is None
    assert one["percentile"] > 0.5
    assert seven["jackknife"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_the_truth_of_the_simulation_is_what_many_videos_show():
    random = np.random.default_rng(0)
    for auc in simulation.AUCS:
        found = simulation.drawn(random, 1500, simulation.strength_of(auc))
        assert auc_micro(found.labels, found.scores) == pytest.approx(auc, abs=0.02)


@pytest.mark.slow
def test_intervals_hold_the_truth_in_the_whole_simulation():
    for row in simulation.coverage(2000):
        assert 0.92 <= row["jackknife"] <= 0.98, row


@pytest.mark.slow
def test_equal_methods_are_called_different_in_one_of_twenty():
    for row in simulation.called_different(2000):
        few = row["videos"] < FEWEST
        assert row["jackknife"] is None if few else row["jackknife"] <= 0.065, row


def test_a_difference_that_no_video_changes_has_no_interval_and_none_at_all_has():
    labels = [np.array([0, 0, 1, 1])] * 8
    right, wrong = ([np.arange(4.0) * sign] * 8 for sign in (1, -1))
    found = evaluation.paired_bootstrap(labels, right, wrong, evaluation.auc_macro)
    assert (found.low, found.high, found.why) == (None, None, NO_SPREAD)
    same = evaluation.paired_bootstrap(labels, right, right, evaluation.auc_macro)
    assert (same.low, same.high, same.p) == (0, 0, 1)


def test_a_metric_without_a_value_has_no_interval():
    labels, scores = [np.array([0, 1])] * 8, [np.arange(2.0)] * 8
    for found in (
        evaluation.bootstrap(labels, scores, lambda a, b: None),
        evaluation.paired_bootstrap(labels, scores, scores, lambda a, b: None),
    ):
        assert (found.low, found.high, found.p) == (None, None, None)
        assert found.why == "no interval: the metric has no value"
