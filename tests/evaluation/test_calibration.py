"""Thresholds for a rate: the golden table, the promise kept by simulation, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vad_jax.evaluation import block_maxima, calibrate, calibration, footage_needed, held_out
from vad_jax.evaluation.tails import fit_tail, tail_level, tail_share
from vad_jax.types import ConfigError, DataError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["cases"] if case["kind"] == "calibration"}
ROWS = CASES["calibration_table"]["expected"]["rows"]
unhurried = settings(deadline=None)  # other work may share the machine
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}  # rational arithmetic, rounded to double


@pytest.fixture
def maxima():
    """Six hours in blocks of 10 s."""
    return np.random.default_rng(0).exponential(size=2160)


@pytest.fixture
def few_replicates(monkeypatch):
    """Intervals of an extrapolated rate are drawn quickly where no one looks at them."""
    monkeypatch.setattr(calibration, "REPLICATES", 2)


def asked(row):
    return {name: row[name] for name in ("rate_per_hour", "block_seconds")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['rate_per_hour']}-{row['blocks']}")
def test_golden_table(row):
    needed = footage_needed(**asked(row))
    assert needed.blocks == row["blocks_needed"]
    np.testing.assert_allclose(needed[::2], (row["p"], row["hours_needed"]), **EXACT)
    values = np.arange(row["blocks"], dtype=np.float64)
    if not row["k"]:
        said = rf"needs {row['hours_needed']:g} hours .*{row['blocks_needed']} blocks.* are held"
        with pytest.raises(DataError, match=said):
            calibrate(values, **asked(row))
        return
    found = calibrate(values, **asked(row))
    assert (found.k, found.blocks) == (row["k"], row["blocks"])
    assert found.threshold == row["blocks"] - row["k"]
    assert (values > found.threshold).sum() == row["k"] - 1
    interval = (found.p, found.rate_low, found.rate_high)
    np.testing.assert_allclose(interval, [row[n] for n in ("p", "rate_low", "rate_high")], **EXACT)
    assert not found.extrapolated


def test_golden_threshold():
    case = CASES["calibration_threshold"]
    found = calibrate(case["input"]["block_maxima"], **asked(case["input"]))
    assert found.k == case["expected"]["k"]
    np.testing.assert_allclose(
        (found.p, found.threshold), [case["expected"][n] for n in ("p", "threshold")], **EXACT
    )


@unhurried
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=60),
    st.floats(1, 2000),
    st.floats(0.5, 60),
    st.randoms(),
)
def test_order_and_scale_of_maxima_do_not_matter(values, rate, seconds, random):
    needed = footage_needed(rate_per_hour=rate, block_seconds=seconds)
    assume(len(values) >= needed.blocks)
    found = calibrate(values, rate_per_hour=rate, block_seconds=seconds)
    random.shuffle(values)
    turned = calibrate(np.exp(values), rate_per_hour=rate, block_seconds=seconds)
    assert turned.threshold == np.exp(found.threshold)
    assert turned[1:] == found[1:]
    assert sum(value > found.threshold for value in values) < found.k


def test_one_block_too_few_is_refused_with_the_hours(maxima):
    needed = footage_needed(rate_per_hour=1, block_seconds=10)
    assert calibrate(maxima[: needed.blocks], rate_per_hour=1, block_seconds=10).k == 1
    with pytest.raises(DataError, match=r"needs 1 hours .*0.9972 hours \(359 blocks\) are held"):
        calibrate(maxima[: needed.blocks - 1], rate_per_hour=1, block_seconds=10)


def test_rate_that_the_refusal_offers_is_reached(maxima):
    with pytest.raises(DataError, match=r"ask for 14\.3 an hour or more"):
        calibrate(maxima[:25], rate_per_hour=1, block_seconds=9.9)
    assert calibrate(maxima[:25], rate_per_hour=14.3, block_seconds=9.9).k == 1


def test_rate_beyond_one_alarm_a_block_takes_the_lowest_block(maxima):
    found = calibrate(maxima, rate_per_hour=1e6, block_seconds=10)
    assert found.threshold == maxima.min()


def test_promise_holds_for_new_blocks():
    """Over 4,000 calibrations the share of new blocks that alarm is k / (n + 1)."""
    random = np.random.default_rng(1)
    found = [
        calibrate(random.normal(size=99), rate_per_hour=20, block_seconds=10) for _ in range(4000)
    ]
    alarm = scipy.stats.norm.sf([one.threshold for one in found])
    spread = alarm.std() / np.sqrt(len(alarm))
    assert abs(alarm.mean() - found[0].k / 100) < 4 * spread
    rates = -np.log1p(-alarm) * 360
    inside = np.mean((rates >= found[0].rate_low) & (rates <= found[0].rate_high))
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 / len(found))


def test_held_out_blocks_are_expected_to_be_one_to_eleven(maxima):
    found = calibrate(maxima, rate_per_hour=1, block_seconds=10)
    same = held_out(found, maxima)
    assert same == (found.k - 1, 2160, 1, 11, True)
    assert held_out(found, maxima + 10) == (2160, 2160, 1, 11, False)


def test_held_out_alarms_follow_their_law():
    random = np.random.default_rng(2)
    found = [
        held_out(calibrate(both[:360], rate_per_hour=6, block_seconds=10), both[360:]).inside
        for both in random.exponential(size=(2000, 720))
    ]
    assert np.mean(found) >= 0.9 - 4 * np.sqrt(0.09 / len(found))  # whole numbers cover a bit more


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_tail_is_the_likeliest(shape):
    excesses = scipy.stats.genpareto.rvs(shape, scale=2, size=400, random_state=3)
    found = fit_tail(excesses)
    right, _, scale = scipy.stats.genpareto.fit(excesses, floc=0)
    np.testing.assert_allclose(
        found, (right, scale), atol=2e-3
    )  # both stop searching at 1e-5 to -4

    def likelihood(shape, scale):
        return scipy.stats.genpareto.logpdf(excesses, shape, 0, scale).sum()

    assert likelihood(*found) >= likelihood(right, scale) - 1e-6


@pytest.mark.parametrize(("shape", "limit"), [(-0.9, -0.5), (1.2, 0.5)])
def test_shape_of_the_tail_is_limited(shape, limit):
    excesses = scipy.stats.genpareto.rvs(shape, size=400, random_state=4)
    assert fit_tail(excesses)[0] == limit


@pytest.mark.parametrize("shape", [-0.5, -1e-9, 0.0, 1e-12, 0.3])
def test_level_and_share_of_a_tail_are_inverse(shape):
    level = tail_level(shape, 2.0, 50.0)
    np.testing.assert_allclose(tail_share(shape, 2.0, level), 1 / 50, rtol=1e-12)
    right = scipy.stats.genpareto.sf(level, shape, scale=2.0)
    np.testing.assert_allclose(tail_share(shape, 2.0, level), right, rtol=1e-6)


def test_nothing_passes_the_end_of_a_short_tail():
    assert tail_share(-0.5, 2.0, 4.0) == tail_share(-0.5, 2.0, 5.0) == 0


def test_extrapolated_threshold_passes_the_footage_and_says_so(maxima):
    found = calibrate(maxima, rate_per_hour=0.05, block_seconds=10, method="gpd")
    assert found.extrapolated
    assert found.k is None
    assert found.factor == pytest.approx(1 / (0.05 * 6))
    assert found.threshold > np.percentile(maxima, 99)
    assert found.rate_low < 0.05 < found.rate_high
    right = -np.log(0.05 / 360)  # the level that one exponential block in 7,200 passes
    low, high = -np.log(np.array([found.rate_high, found.rate_low]) / 360)
    assert low < right < high
    assert found == calibrate(maxima, rate_per_hour=0.05, block_seconds=10, method="gpd")


def test_extrapolated_threshold_follows_shift_and_scale(maxima, few_replicates):
    options = {"rate_per_hour": 0.1, "block_seconds": 10, "method": "gpd"}
    found, moved = calibrate(maxima, **options), calibrate(100 * maxima - 7, **options)
    # ξ is searched to 1e-5; its error moves a threshold of 8 scales by about 1e-4 of itself
    assert moved.threshold == pytest.approx(100 * found.threshold - 7, rel=1e-3)


def test_lower_rate_has_a_higher_threshold(maxima, few_replicates):
    for method, rates in (("conformal", (60, 6, 1, 0.2)), ("gpd", (30, 1, 0.02))):
        found = [calibrate(maxima, rate_per_hour=r, block_seconds=10, method=method) for r in rates]
        assert np.all(np.diff([one.threshold for one in found]) > 0)


@pytest.mark.parametrize(
    ("blocks", "rate", "said"),
    [
        (2160, 0.016, r"needs 6.25 hours .* only 6 hours are held"),
        (290, 1, r"29 of 290 .* about 0.8333 hours .* 0.8056 hours are held"),
        (2160, 40, "begins at 36 an hour.*method=conformal"),
        (0, 1, "only 0 hours are held"),
    ],
)
def test_tail_that_cannot_be_carried_is_refused(maxima, blocks, rate, said):
    with pytest.raises(DataError, match=said):
        calibrate(maxima[:blocks], rate_per_hour=rate, block_seconds=10, method="gpd")


def test_extrapolated_threshold_has_no_law_for_held_out_blocks(maxima, few_replicates):
    found = calibrate(maxima, rate_per_hour=0.1, block_seconds=10, method="gpd")
    with pytest.raises(ConfigError, match="extrapolated threshold"):
        held_out(found, maxima)


@pytest.mark.parametrize("wrong", [{"rate_per_hour": 0}, {"block_seconds": np.nan}])
def test_option_out_of_range_is_named(maxima, wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        calibrate(maxima, **{"rate_per_hour": 1, "block_seconds": 10, **wrong})
    with pytest.raises(ConfigError, match="no calibration by 'max'"):
        calibrate(maxima, rate_per_hour=1, block_seconds=10, method="max")


def test_block_without_a_value_is_named():
    with pytest.raises(DataError, match="number 2 is not finite"):
        calibrate([1.0, 2.0, np.nan], rate_per_hour=600, block_seconds=10)
    with pytest.raises(DataError, match=r"are \[2, 2\]"):
        calibrate(np.ones((2, 2)), rate_per_hour=600, block_seconds=10)


def test_blocks_are_cut_within_a_video():
    videos = [np.arange(7.0), np.array([9.0, 1.0, 3.0]), np.array([5.0])]
    found = block_maxima(videos, fps=2, block_seconds=1)
    assert found.values.tolist() == [1, 3, 5, 9]
    assert (found.block_seconds, found.correlation) == (1, None)  # two pairs tell nothing


def test_frames_without_a_score_are_no_maximum():
    video = np.array([np.nan, np.nan, np.nan, 2.0, 1.0, np.nan, 3.0, np.nan])
    assert block_maxima([video], fps=1, block_seconds=2).values.tolist() == [2, 1, 3]


def test_ped2_sized_training_has_255_blocks_of_a_second():
    lengths = [120] * 2 + [150] * 6 + [180] * 8
    random = np.random.default_rng(5)
    videos = [random.normal(size=length) for length in lengths if length]
    videos = [np.concatenate([np.full(4, np.nan), video[4:]]) for video in videos]
    found = block_maxima(videos, fps=10, block_seconds=1)
    assert len(found.values) == sum(lengths) // 10
    assert abs(found.correlation) < 0.3


def test_block_is_doubled_while_neighbours_are_correlated():
    slow = np.repeat(np.random.default_rng(6).normal(size=200), 30)  # holds for 3 s
    found = block_maxima([slow], fps=10, block_seconds=1)
    assert found.block_seconds > 1
    assert np.log2(found.block_seconds) % 1 == 0
    assert found.correlation <= 0.3
    own = block_maxima([slow], fps=10, block_seconds=found.block_seconds)
    np.testing.assert_array_equal(own.values, found.values)
    free = np.random.default_rng(7).normal(size=6000)
    assert block_maxima([free], fps=10, block_seconds=1).block_seconds == 1


@unhurried
@given(st.integers(1, 40), st.randoms())
def test_order_of_videos_gives_the_same_blocks(length, random):
    draws = np.random.default_rng(8)
    videos = [draws.normal(size=length + i) for i in range(5)]
    before = block_maxima(videos, fps=1, block_seconds=1)
    random.shuffle(videos)
    after = block_maxima(videos, fps=1, block_seconds=1)
    assert after.block_seconds == before.block_seconds
    assert sorted(after.values) == sorted(before.values)


def test_length_of_a_block_is_a_whole_number_of_frames():
    found = block_maxima([np.arange(1000.0) % 7], fps=30000 / 1001, block_seconds=1)
    assert found.block_seconds == pytest.approx(30 * 1001 / 30000)


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        ([np.zeros(9), np.zeros(5)], r"whole block of 10 s .* longest of 2 has 9 s"),
        ([], "whole block of 10 s"),
        ([np.full(20, np.nan)], "whole block of 10 s with a score"),
        ([np.zeros(20), np.array([0, np.inf])], "video 1 .* 1 infinite"),
    ],
)
def test_footage_without_blocks_is_named(videos, said):
    with pytest.raises(DataError, match=said):
        block_maxima(videos, fps=1, block_seconds=10)


def test_one_block_a_video_is_as_far_as_doubling_goes():
    rising = [np.arange(8.0) + 10 * start for start in range(5)]
    found = block_maxima(rising, fps=1, block_seconds=1)
    assert found.values.tolist() == [7, 17, 27, 37, 47]
    assert (found.block_seconds, found.correlation) == (8, None)
