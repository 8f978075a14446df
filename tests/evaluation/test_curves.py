"""The curves of the report against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from vad_jax.evaluation.report import curves


def points(path):
    pairs = [pair.split(",") for pair in path.removeprefix("M").split("L")]
    x, y = np.array(pairs, np.float64).T
    return x / curves.BOX, 1 - y / curves.BOX


@pytest.fixture(params=[40, 5000])
def given(request):
    random = np.random.default_rng(0)
    labels = random.random(request.param) < 0.3
    return labels, np.round(labels + random.normal(size=request.param), 1)  # with ties


def test_the_area_under_the_roc_is_the_auc(given):
    x, y = points(curves.roc(*given))
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert len(x) <= curves.POINTS
    assert np.trapezoid(y, x) == pytest.approx(sklearn.metrics.roc_auc_score(*given), abs=2e-3)


def test_the_area_under_the_steps_is_the_average_precision(given):
    x, y = points(curves.precision_recall(*given))
    expected = sklearn.metrics.average_precision_score(*given)
    assert np.trapezoid(y, x) == pytest.approx(expected, abs=1e-2)


def test_histograms_have_the_shape_of_their_class(given):
    labels, scores = given
    found = curves.histogram(labels, scores)
    for name, chosen in (("normal", ~labels), ("anomalous", labels)):
        x, y = points(found[name])
        assert y.max() == 1
        low, _, high = map(float, found["ticks"])
        mean = low + (high - low) * (x * y).sum() / y.sum()
        assert mean == pytest.approx(scores[chosen].mean(), abs=0.4)


def test_a_constant_score_has_curves():
    labels, scores = np.array([True, False, False]), np.ones(3)
    assert points(curves.roc(labels, scores))[0].tolist() == [0, 1]
    assert curves.histogram(labels, scores)["ticks"][0] == "1"
