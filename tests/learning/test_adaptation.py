"""Adaptation to supports: side by side as alone, by the method's own rule or at a rate."""

import functools

import jax
import numpy as np
import pytest

import vad_jax
from vad_jax.learning.adaptation import OUTLIER, adapted, disagreement, support_batch
from vad_jax.runs.testset import open_testset


@pytest.fixture(scope="module")
def detector(meta_run):
    """An MPN with learned step sizes."""
    return vad_jax.load(meta_run[0])


@pytest.fixture(scope="module")
def videos(detector):
    return open_testset(detector.config).videos(detector)


def test_many_supports_at_once_are_each_alone(detector, videos):
    spec = detector.method.inputs
    batches = [support_batch(spec, v, np.array([0, 4])) for v in videos[:3]]
    together = list(adapted(detector.method, detector.variables, batches, steps=1))
    for batch, (moved, losses) in zip(batches, together, strict=True):
        ((alone, alone_losses),) = adapted(detector.method, detector.variables, [batch], steps=1)
        np.testing.assert_allclose(losses, alone_losses, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, alone
        )


@pytest.mark.parametrize("backend", ["cpu", "tpu"])  # one by one, or side by side in one program
def test_steps_are_those_of_the_method(detector, videos, monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    spec = detector.method.inputs
    batches = [support_batch(spec, v, np.array([0, 4])) for v in videos[:2]]
    whole = jax.jit(functools.partial(detector.method.adapt, steps=3))
    found = list(adapted(detector.method, detector.variables, batches, steps=3))
    for batch, (moved, losses) in zip(batches, found, strict=True):
        expected, expected_losses = whole(detector.variables, batch)
        assert losses.shape == (3,)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, expected
        )


def test_one_strange_window_disagrees_with_its_fellows(detector, videos):
    video = videos[0]
    batch = support_batch(detector.method.inputs, video, np.arange(5) * 4)
    method, variables = detector.method, detector.variables
    calm = disagreement(method, variables, batch, steps=1)
    assert calm.shape == (5,)
    assert calm.max() < OUTLIER
    batch["frames"][3] = np.random.default_rng(0).integers(0, 256, batch["frames"][3].shape)
    strange = disagreement(method, variables, batch, steps=1)
    assert strange.argmax() == 3
    assert strange.max() > OUTLIER
    two = {name: value[:2] for name, value in batch.items()}
    assert disagreement(method, variables, two, steps=1) is None


def test_a_rate_takes_the_place_of_learned_step_sizes(detector, videos):
    method, variables = detector.method, detector.variables
    assert "step_size" in variables["state"]
    assert method.rule(variables) == "by learned step sizes"
    batch = support_batch(method.inputs, videos[0], np.array([0, 4]))

    def losses(variables, **how):
        return next(adapted(method, variables, [batch], steps=5, **how))[1]

    state = {k: v for k, v in variables["state"].items() if k != "step_size"}
    plain = {**variables, "state": state}
    assert method.rule(plain) == "at the rate 0.0001 (adapt.learning_rate)"
    slow = losses(plain)
    np.testing.assert_allclose(losses(variables, learning_rate=1e-4), slow, rtol=1e-6)
    assert losses(plain, learning_rate=1e-2)[-1] < slow[-1]
