"""The threshold of a run and its alarms: from normal footage alone, or the reason why not."""

import dataclasses
import re

import numpy as np
import pytest

from vad_jax.evaluation import (
    Normal,
    alarms_at,
    block_maxima,
    calibrate,
    events,
    summarise,
    table,
    threshold_of,
)
from vad_jax.evaluation.tables import count, duration
from vad_jax.evaluation.thresholds import TRAINED_ON

FPS = 10.0
FEW = {"replicates": 50, "recomputed": 5}


def footage(seconds, videos=4, seed=0):
    random = np.random.default_rng(seed)
    return Normal([random.normal(size=round(seconds * FPS)) for _ in range(videos)], "held-out")


@pytest.fixture
def hours():
    """Two hours of normal footage in four videos."""
    return footage(1800)


def test_two_hours_have_the_threshold_of_one_alarm_an_hour(hours):
    found = threshold_of(hours, fps=FPS)
    blocks = block_maxima(hours.scores, fps=FPS)
    expected = calibrate(blocks.values, rate_per_hour=1, block_seconds=10)
    assert {name: found[name] for name in expected._fields} == expected._asdict()
    assert (found["rate_per_hour"], found["asked_per_hour"]) == (1, None)
    assert (found["source"], found["videos"], found["warning"]) == ("held-out", 4, None)
    assert found["correlation"] == blocks.correlation


def test_short_footage_has_the_lowest_rate_that_it_reaches():
    found = threshold_of(footage(60), fps=FPS)
    assert (found["blocks"], found["k"]) == (24, 1)
    assert found["threshold"] == max(np.max(video) for video in footage(60).scores)
    assert found["rate_per_hour"] == pytest.approx(np.log1p(1 / 24) * 360)


def test_rate_that_is_asked_for_and_not_reached_is_refused_with_the_hours():
    found = threshold_of(footage(60), fps=FPS, rate_per_hour=1)
    assert found["threshold"] is None
    assert "needs 1 hours of normal footage, held are" in found["why"]
    assert found["hours"] == pytest.approx(240 / 3600)
    assert found["hours_needed"] == pytest.approx(1)
    assert threshold_of(footage(60), fps=FPS, rate_per_hour=20)["rate_per_hour"] == 20


def test_blocks_are_as_long_as_half_of_the_videos_hold():
    short = Normal([np.arange(60.0), np.arange(50.0)[::-1], np.ones(4)], "held-out")
    assert threshold_of(short, fps=FPS)["block_seconds"] == 5


def test_videos_that_were_trained_on_are_warned_of(hours):
    found = threshold_of(hours._replace(source="training"), fps=FPS)
    assert found["warning"] == TRAINED_ON
    assert found["threshold"] == threshold_of(hours, fps=FPS)["threshold"]


@pytest.mark.parametrize(
    ("normal", "fps", "said"),
    [
        (None, FPS, "no scores of normal footage"),
        (footage(60), None, "--fps"),
        (Normal([], "held-out"), FPS, "No normal video holds a whole block"),
        (Normal([np.full(300, np.nan)], "held-out"), FPS, "No normal video holds a whole block"),
    ],
)
def test_without_a_threshold_the_reason_is_given(normal, fps, said):
    found = threshold_of(normal, fps=fps)
    assert found["threshold"] is None
    assert said in found["why"]
    seen = alarms_at([np.ones(3)], [np.ones(3)], found, fps=fps)
    assert seen["recall"] is None
    assert "no threshold" in seen["why"]


def test_alarms_are_those_of_the_threshold(scored, hours):
    found = threshold_of(hours, fps=FPS, rate_per_hour=60)
    scores = scored.scores["online_raw"]
    seen = alarms_at(scored.labels, scores, found, fps=FPS)
    expected = events(scored.labels, scores, found["threshold"], hold=10, min_length=1, fps=FPS)
    assert (seen["events"], seen["recalled"]) == (expected.events, expected.recalled)
    assert seen["false_alarms"] == expected.false_alarms
    rate = seen["false_alarms_per_hour"]
    assert rate["value"] == expected.false_alarms_per_hour
    assert (rate["low"], rate["high"]) == (expected.rate_low, expected.rate_high)
    assert seen["median_delay_seconds"] == expected.median_delay_seconds
    assert seen["hold_seconds"] == 1


def test_recall_has_an_interval_over_the_videos_that_hold_events():
    event, found, missed = np.array([0, 1, 0, 1, 0]), np.array([0, 5.0, 0, 0, 0]), np.zeros(5)
    calibrated = {"threshold": 1.0, "block_seconds": 0.1}
    still = [np.zeros(5)] * 9  # videos without an event say nothing of recall
    for number in (5, 6, 8):
        labels = [event] * number + still
        scores = [found] * (number - 1) + [missed] * 10
        recall = alarms_at(labels, scores, calibrated, fps=FPS)["recall"]
        assert recall["value"] == (number - 1) / (2 * number)
        if number < 6:
            assert recall["why"] == "too few videos to say: 5 with events, 6 are needed"
        else:
            assert recall["low"] < recall["value"] < recall["high"]
    every = alarms_at([event] * 6 + still, [5.0 * event] * 6 + still, calibrated, fps=FPS)["recall"]
    assert every["low"] == pytest.approx(0.025 ** (1 / 6))


def test_alarm_that_never_ends_is_seen_by_the_frames_that_it_holds():
    labels, scores = [np.array([0, 0, 0, 1, 0])], [np.array([np.nan, 5, 5, 5, 5.0])]
    seen = alarms_at(labels, scores, {"threshold": 1.0, "block_seconds": 0.1}, fps=FPS)
    assert (seen["recall"]["value"], seen["false_alarms"], seen["normal_in_alarm"]) == (1, 0, 1)
    scores[0][1:3] = 0
    seen = alarms_at(labels, scores, {"threshold": 1.0, "block_seconds": 0.1}, fps=FPS)
    assert seen["normal_in_alarm"] == pytest.approx(1 / 3)


def test_no_event_and_no_normal_frame_are_said(hours):
    found = threshold_of(hours, fps=FPS)
    normal = alarms_at([np.zeros(9)], [np.zeros(9)], found, fps=FPS)
    assert normal["recall"] == {"value": None, "why": "the test set has no event"}
    strange = alarms_at([np.ones(9)], [np.zeros(9)], found, fps=FPS)
    assert strange["false_alarms_per_hour"]["value"] is None
    assert strange["median_delay_seconds"] is None
    assert strange["normal_in_alarm"] is None


def test_labels_of_the_test_set_do_not_move_the_threshold(scored, hours):
    turned = dataclasses.replace(scored, labels=[1 - video for video in scored.labels])
    figures = [summarise(each, normal=hours, **FEW) for each in (scored, turned)]
    assert figures[0]["calibration"] == figures[1]["calibration"]
    assert figures[0]["events"] != figures[1]["events"]


def test_frames_of_unknown_label_are_no_false_alarm(scored, hours):
    labels = [np.full_like(video, -1) for video in scored.labels[:-1]]
    unknown = dataclasses.replace(scored, labels=[*labels, scored.labels[-1]])
    found = summarise(unknown, normal=hours, **FEW)["events"]
    assert found["normal_hours"] == 0
    assert found["events"] == 1


def test_table_says_the_threshold_and_its_alarms(scored, hours):
    text = table(summarise(scored, normal=hours, rate_per_hour=60, **FEW))
    assert "(online raw) for 60 false alarms an hour (" in text
    assert "from 2 h of held-out footage" in text
    assert re.search(r"of 4 events, recall [\d.]+ \(too few videos to say\)", text)
    assert "no threshold: no scores of normal footage" in table(summarise(scored, **FEW))


def test_numbers_are_written_as_people_say_them():
    assert [count(n) for n in (0.333, 98.72, 1083.2)] == ["0.333", "98.7", "1,083"]
    assert [duration(h) for h in (36.2 / 3600, 0.07, 1.5, 6)] == [
        "36.2 s",
        "4.2 min",
        "90 min",
        "6 h",
    ]
