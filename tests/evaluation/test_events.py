"""Events and alarms against the golden cases, a count frame by frame, and what must not matter."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vad_jax.evaluation import events
from vad_jax.evaluation.events import poisson_interval
from vad_jax.types import ConfigError, DataError

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text())
CASES = [case for case in GOLDEN["cases"] if case["kind"] == "events"]
unhurried = settings(deadline=None)  # other work may share the machine
EXACT = {"rtol": 0, "atol": GOLDEN["tolerance"]}  # rational arithmetic, rounded to double
PLAIN = {"hold": 0, "min_length": 1, "fps": 10}

frames = st.tuples(st.integers(0, 1), st.sampled_from([None, 0.0, 0.5, 1.0, 1.0]))
sets = st.lists(st.lists(frames, min_size=1, max_size=25), min_size=1, max_size=4).map(
    lambda videos: (
        [np.array([label for label, _ in video]) for video in videos],
        [np.array([score for _, score in video], np.float64) for video in videos],
    )
)
options = st.fixed_dictionaries(
    {"hold": st.integers(0, 3), "min_length": st.integers(1, 4), "fps": st.sampled_from([10, 25.0])}
)


def runs(flags):
    """The maximal runs of True, as sets of frames."""
    found = []
    for frame, flag in enumerate(flags):
        if flag and frame and flags[frame - 1]:
            found[-1].add(frame)
        elif flag:
            found.append({frame})
    return found


def frame_by_frame(labels, scores, threshold, *, hold, min_length, fps):
    """(alarms, events, recalled, false alarms, normal frames, delays) counted in sets of frames."""
    alarms, number, recalled, false, normal, delays = [], 0, 0, 0, 0, []
    for truth, values in zip(labels, scores, strict=True):
        active = [score > threshold for score in values]
        bridged = list(active)
        for gap in runs([not flag for flag in active]):
            inside = min(gap) > 0 and max(gap) < len(active) - 1
            if inside and len(gap) <= hold:
                for frame in gap:
                    bridged[frame] = True
        own = [alarm for alarm in runs(bridged) if len(alarm) >= min_length]
        happened = runs([label == 1 for label in truth])
        alarms.append([[min(alarm), max(alarm) + 1] for alarm in own])
        number += len(happened)
        false += sum(not any(alarm & event for event in happened) for alarm in own)
        covered = set().union(*own)
        recalled += sum(bool(event & covered) for event in happened)
        delays += [(min(e & covered) - min(e)) / fps for e in happened if e & covered]
        normal += sum((np.asarray(truth) == 0) & ~np.isnan(values))
    return alarms, number, recalled, false, normal, delays


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_case(case):
    given, expected = case["input"], case["expected"]
    labels = [np.array(video["labels"]) for video in given["videos"]]
    scores = [np.array(video["scores"], np.float64) for video in given["videos"]]
    settings = {name: given[name] for name in ("hold", "min_length", "fps")}
    found = events(labels, scores, given["threshold"], **settings)
    inclusive = [(video - [0, 1]).tolist() for video in found.segments]
    assert inclusive == expected["segments"]
    for name in ("events", "recalled", "false_alarms", "normal_frames"):
        assert getattr(found, name) == expected[name]
    np.testing.assert_allclose(
        found.false_alarms_per_hour, expected["false_alarms_per_hour"], **EXACT
    )
    np.testing.assert_allclose(found.recalled / found.events, expected["event_recall"], **EXACT)


@unhurried
@given(sets, options)
def test_a_count_frame_by_frame_agrees(videos, options):
    alarms, number, recalled, false, normal, delays = frame_by_frame(*videos, 0.5, **options)
    found = events(*videos, 0.5, **options)
    assert [video.tolist() for video in found.segments] == alarms
    assert found[1:5] == (number, recalled, false, normal)
    if delays:
        assert found.median_delay_seconds == pytest.approx(np.median(delays), abs=1e-12)
    else:
        assert found.median_delay_seconds is None


@unhurried
@given(sets, options)
def test_only_the_order_of_scores_matters(videos, options):
    labels, scores = videos
    risen = [np.exp(video) for video in scores]
    before = events(labels, scores, 0.5, **options)
    after = events(labels, risen, np.exp(0.5), **options)
    assert after[1:] == before[1:]


@unhurried
@given(sets, options, st.randoms())
def test_order_of_videos_does_not_matter(videos, options, random):
    before = events(*videos, 0.5, **options)
    pairs = list(zip(*videos, strict=True))
    random.shuffle(pairs)
    assert events(*zip(*pairs, strict=True), 0.5, **options)[1:] == before[1:]


@unhurried
@given(sets, options)
def test_a_higher_threshold_activates_no_more_frames(videos, options):
    options |= {"hold": 0, "min_length": 1}
    low, high = (events(*videos, threshold, **options) for threshold in (0.25, 0.75))
    assert high.recalled <= low.recalled
    for one, other in zip(high.segments, low.segments, strict=True):
        assert np.diff(one).sum() <= np.diff(other).sum()


def test_alarm_that_runs_into_an_event_has_no_delay():
    labels, scores = [[0, 0, 1, 1, 1]], [[0.0, 1.0, 1.0, 0.0, 1.0]]
    assert events(labels, scores, 0.5, **PLAIN).median_delay_seconds == 0
    late = [[0.0, 0.0, 0.0, 0.0, 1.0]]
    assert events(labels, late, 0.5, **PLAIN).median_delay_seconds == 0.2


def test_score_at_the_threshold_and_frame_without_score_are_silent():
    found = events([[0, 0, 0]], [[0.5, np.nan, 0.6]], 0.5, **PLAIN)
    assert found.segments[0].tolist() == [[2, 3]]
    assert found.normal_frames == 2


def test_without_normal_frames_there_is_no_rate():
    found = events([[1, 1]], [[0.1, 0.9]], 0.5, **PLAIN)
    assert found.false_alarms_per_hour is found.rate_low is found.rate_high is None
    assert found.recalled == found.events == 1


def test_ped2_cannot_measure_a_low_rate():
    labels, scores = [np.zeros(362, int)], [np.zeros(362)]
    silent = events(labels, scores, 0.5, **PLAIN)
    assert silent.rate_low == silent.false_alarms_per_hour == 0
    assert round(silent.rate_high) == 367
    scores[0][7] = 1
    assert round(events(labels, scores, 0.5, **PLAIN).false_alarms_per_hour) == 99


@pytest.mark.parametrize("count", [1, 4, 50])
def test_interval_of_the_rate_is_exact(count):
    low, high = poisson_interval(count, 2.5)
    np.testing.assert_allclose(scipy.stats.poisson.sf(count - 1, low * 2.5), 0.025, rtol=1e-9)
    np.testing.assert_allclose(scipy.stats.poisson.cdf(count, high * 2.5), 0.025, rtol=1e-9)


@pytest.mark.parametrize(
    "wrong", [{"hold": -1}, {"min_length": 0}, {"fps": 0}, {"fps": np.nan}, {"threshold": np.nan}]
)
def test_option_out_of_range_is_named(wrong):
    settings = {"threshold": 0.5, **PLAIN, **wrong}
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        events([[0, 1]], [[0.1, 0.9]], **settings)


@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        ([[0, 1]], [[0.5, np.inf]], "infinite score at frame 1"),
        ([[0, -1]], [[0.5, 0.7]], "label -1"),
        ([[0, 1], [0]], [[0.5, 0.7]], "labels of 2 videos but scores of 1"),
    ],
)
def test_unusable_input_is_named(labels, scores, said):
    with pytest.raises(DataError, match=said):
        events(labels, scores, 0.5, **PLAIN)
