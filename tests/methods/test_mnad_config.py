"""MNAD's defaults: what follows from task and variant, and that keys are independent."""

import pytest

from vad_jax import config as configs


def completed(**changes):
    config = configs.defaults("mnad")
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


@pytest.mark.parametrize(
    ("task", "variant", "expected"),
    [
        ("prediction", "code", (0.01, 0.1, 0.1, 0.6, 2e-4, "set")),
        ("prediction", "paper", (0.01, 0.1, 0.1, 0.6, 2e-4, "video")),
        ("reconstruction", "code", (0.015, 0.01, 0.01, 0.7, 2e-4, "set")),
        ("reconstruction", "paper", (0.015, 0.01, 0.01, 0.7, 2e-5, "video")),
    ],
)
def test_task_and_variant_decide_what_the_user_left_open(task, variant, expected):
    config = completed(task=task, variant=variant)
    weights = config.weights
    found = (
        config.gate.threshold,
        weights.compact,
        weights.separate,
        weights.score,
        config.stages.train.learning_rate,
        config.memory.reset,
    )
    assert found == expected


def test_a_key_that_is_set_moves_no_other():
    config = completed(**{"gate.threshold": 0.5, "weights.compact": 0.25})
    assert config.gate.threshold == 0.5
    assert config.weights.to_dict() == {"compact": 0.25, "separate": 0.1, "score": 0.6}
    assert config.stages.train.learning_rate == 2e-4


def test_a_stored_config_comes_back_value_for_value():
    config = completed(**{"task": "reconstruction", "weights.score": 0.9})
    stored = configs.complete(configs.from_json(configs.to_json(config)))
    assert configs.flatten(stored) == configs.flatten(config)
