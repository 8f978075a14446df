"""A quantile of numbers that come some at a time: exact of few, close of many."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vad_jax.learning import quantiles
from vad_jax.learning.quantiles import Quantile

CLOSE = 1.25e-4  # 13 bits after the point
SMALLEST = 2.0**-126  # below it float32 has fewer bits

numbers = st.floats(-(2.0**100), 2.0**100, width=32)
shares = st.floats(0, 1)
some = arrays.arrays(np.float32, st.integers(1, 200), elements=numbers)


def quantile(share, *values):
    found = Quantile(share)
    for value in values:
        found.add(value)
    return found.value()


@pytest.fixture
def few_kept(monkeypatch):
    """Eight numbers are kept, more are counted."""
    monkeypatch.setattr(quantiles, "EXACT", 8)


@given(some, shares)
def test_of_few_it_is_numpys_to_the_bit(values, share):
    expected = float(np.quantile(values, share))
    assert quantile(share, values) == expected


@given(some, shares, st.lists(st.integers(0, 200), max_size=4))
def test_it_does_not_matter_how_they_come(values, share, cuts):
    parts = np.split(values, sorted(cuts))
    assert quantile(share, *parts) == quantile(share, values)
    square = np.broadcast_to(values[:, None], (len(values), 2))
    assert quantile(share, square) == quantile(share, values, values)


def check_counted(values, share):
    """The lower of the numbers beside the quantile, to `CLOSE` of it."""
    found = quantile(share, values[:5], values[5:])
    expected = float(np.quantile(values, share, method="lower"))
    assert abs(found - expected) <= CLOSE * abs(expected) + SMALLEST


@settings(max_examples=12)  # each counts at eight million places
@given(arrays.arrays(np.float32, st.integers(9, 200), elements=numbers), shares)
def test_of_many_it_is_close_whatever_they_are(values, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "EXACT", 8)
        check_counted(values, share)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("offset", [-3.0, 0.0, 3.0])
def test_of_many_near_each_other_it_is_close_to_numpys(few_kept, scale, offset):
    values = scale * (offset + np.random.default_rng(0).standard_normal(20_000))
    values = values.astype(np.float32)
    for share in (0.0, 0.01, 0.5, 0.99, 1.0):
        check_counted(values, share)
    expected = np.quantile(values.astype(np.float64), 0.99)  # between neighbours that are near
    assert quantile(0.99, values) == pytest.approx(expected, rel=1e-3)


def test_negative_numbers_are_in_their_order(few_kept):
    values = -np.arange(1.0, 102)
    for share, expected in ((0.0, -101), (0.25, -76), (1.0, -1)):
        assert quantile(share, values) == pytest.approx(expected, rel=CLOSE)
    assert quantile(0.5, values, [0.0], -values) == pytest.approx(0, abs=SMALLEST)


def test_exactly_so_many_are_still_kept(few_kept):
    values = np.float32(0.1) * np.arange(8, dtype=np.float32)
    assert quantile(0.3, values) == float(np.quantile(values, 0.3))
    one_more = np.append(values, values[0])
    assert quantile(0.3, one_more) != float(np.quantile(one_more, 0.3))
    check_counted(one_more, 0.3)


def test_one_number_many_times_is_that_number(few_kept):
    for value in (0.0, 0.75, -2.5):
        check_counted(np.full(1000, value, np.float32), 0.99)


@pytest.mark.parametrize("kept", [8, quantiles.EXACT])
def test_a_number_that_is_none_spoils_the_answer(monkeypatch, kept):
    monkeypatch.setattr(quantiles, "EXACT", kept)
    assert np.isnan(quantile(0.5, np.arange(20.0), [np.nan], np.arange(20.0)))


@pytest.mark.parametrize("given", [(), ([],), (np.empty((0, 4)), [])])
def test_of_nothing_there_is_none(given):
    assert np.isnan(quantile(0.5, *given))


def test_what_was_given_may_change_afterwards():
    values, found = np.arange(5, dtype=np.float32), Quantile(0.5)
    found.add(values)
    values[:] = 100
    assert found.value() == 2


@example([0.0, -0.0, 1e-45, -1e-45])
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=30))
def test_the_places_that_numbers_are_counted_at_keep_their_order(values):
    values = np.sort(np.array(values, np.float32))
    places = quantiles._ordered(values).astype(np.int64)
    rising = values[1:] > values[:-1]
    assert (np.diff(places)[rising] > 0).all()
