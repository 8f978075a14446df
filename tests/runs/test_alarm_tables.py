"""Alarms of footage without labels: the same that an evaluation counts, by the frames' times."""

import numpy as np
import pytest

from vad_jax.evaluation import events
from vad_jax.runs.alarm_tables import alarms


@pytest.mark.parametrize("hold", [0.0, 0.3, 1.0])
def test_at_a_constant_rate_they_are_those_of_the_evaluation(hold):
    rng = np.random.default_rng(0)
    values = np.where(rng.random(300) < 0.2, np.nan, rng.normal(size=300))
    found = alarms(values, 1.2, np.arange(300) / 10, hold_seconds=hold)
    how = {"hold": round(hold * 10), "min_length": 1, "fps": 10}
    (expected,) = events([np.zeros(300)], [values], 1.2, **how).segments
    assert len(expected) > 3
    np.testing.assert_array_equal(found, expected)


def test_a_gap_is_as_long_as_its_frames_are_seen():
    values = np.array([9, 0, 9, 0, 9.0])
    slow_then_fast = np.array([0, 2, 4, 4.1, 4.2])
    found = alarms(values, 5, slow_then_fast, hold_seconds=1.0)
    np.testing.assert_array_equal(found, [[0, 1], [2, 5]])


def test_no_score_is_no_alarm():
    assert alarms(np.full(4, np.nan), -9, np.arange(4.0), hold_seconds=1).shape == (0, 2)
