"""The benchmark of meta-learning: what it measures, never how fast it is."""

import jax
import numpy as np
import pytest

from vad_jax import config as configs
from vad_jax.benchmarks import cases, episode, train
from vad_jax.benchmarks.timing import OURS
from vad_jax.types import ConfigError


@pytest.fixture(scope="module")
def config():
    config = episode.prepared(configs.defaults("mpn"))
    config.input.update(height=16, width=16, channels=1)
    config.update_from_flattened_dict({"width": 4, "prototypes": 4, "meta.step_size": 0.01})
    config.stages.meta.update(learning_rate=1e-3, batch_size=2)
    return configs.complete(config)


def test_a_batch_of_episodes_has_two_sides(config):
    spec = train.start(config, index=1)[0].inputs
    batch = cases.batch(spec, 3)
    assert batch["support"].shape == batch["query"].shape == (3, 2, 5, 16, 16, 1)
    assert batch["support_mask"].all()
    assert batch["query_mask"].all()
    frames = cases.frames(batch)
    np.testing.assert_array_equal(frames[:, :2], batch["support"])
    np.testing.assert_array_equal(frames[:, 2:], batch["query"])


def test_a_step_with_episodes_is_measured_beside_torch(config):
    pytest.importorskip("torch")
    rows = episode.step_rows(config, [OURS, "torch eager"], rounds=1)
    ours, theirs = rows
    assert ours["ratio_to_eager"] == ours["seconds"] / theirs["seconds"]
    assert ours["temporary_mb"] > 0
    assert ours["inner_steps"] == theirs["inner_steps"] == 1
    built = [episode.build(config, name) for name in (OURS, "torch eager")]
    losses = [[float(arm.call()) for _ in range(3)] for arm in built]
    assert losses[0][0] > losses[0][2]  # the real step: it trains from call to call
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)  # float32


def test_features_of_each_pass_are_the_features(config):
    config = config.copy_and_resolve_references()
    config.meta.steps = 2
    stage, variables, batch = train.start(config, index=1)
    results = []
    for same in (stage, episode.forgetful(config, stage)):
        gradient = jax.jit(jax.value_and_grad(same.loss, has_aux=True), static_argnames="train")
        given = (variables["params"], variables["state"], batch, jax.random.key(0))
        (value, _), gradients = gradient(*given, train=True)
        results.append((value, gradients))
    close = {"rtol": 1e-3, "atol": 1e-6}  # float32, batches of other sizes
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), *results)


def test_inner_loops_and_parts_have_their_rows(config, monkeypatch):
    monkeypatch.setattr(episode, "STEPS", (2,))
    monkeypatch.setattr(episode, "FORMS", {"order 1": episode.FORMS["order 1"]})
    rows = episode.measure(config, kinds=("inner", "parts"), names=[OURS], rounds=1)
    assert [(row["row"], row["arm"], row["inner_steps"]) for row in rows] == [
        ("inner", "order 1", 2),
        ("parts", "training step", None),
        ("parts", "meta-step", 1),
        ("parts", "adaptation", 1),
    ]
    for row in rows:
        assert row["seconds"] > 0
        assert row["temporary_mb"] > 0
    assert rows[1]["ratio_to_training_step"] == 1


def test_another_method_is_refused():
    with pytest.raises(ConfigError, match=r"method = 'mnad'.*configs/mpn.py"):
        episode.prepared(configs.defaults("mnad"))
