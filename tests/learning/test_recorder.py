"""The log of a run: lines that are means, cut back to where a run goes on."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.learning import recorder
from vad_jax.learning.recorder import Recorder


def a_step(loss, *, sound=True, rate=0.1, **parts):
    """What a step hands back."""
    parts = {name: jnp.float32(value) for name, value in parts.items()}
    rate = None if rate is None else jnp.float32(rate)
    return {
        "loss": jnp.float32(loss), "parts": parts, "learning_rate": rate, "sound": jnp.bool_(sound)
    }  # fmt: skip


class Faulty(Exception):
    pass


def fault(what, place):
    raise Faulty(f"{what}, {place}")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"a": jnp.ones(3), "b": [jnp.zeros((2, 2))]}, True),
        ({"a": jnp.array([1.0, jnp.nan])}, False),
        ({"a": jnp.ones(3), "b": jnp.array(-jnp.inf)}, False),
        ({"a": jnp.arange(3)}, True),
    ],
)
def test_a_tree_is_finite_where_each_number_is(tree, expected):
    assert bool(recorder.finite(tree)) is expected


def test_a_line_is_the_mean_of_its_steps_and_the_last_rate():
    steps = [a_step(1, pixel=3, rate=0.5), a_step(2, pixel=5, rate=0.25)]
    line = recorder.means(steps, fault=fault)
    assert line == {"loss": 1.5, "parts": {"pixel": 4.0}, "learning_rate": 0.25}
    json.dumps(line)


def test_means_are_taken_in_float64():
    steps = [a_step(1e8), *[a_step(1.0)] * 7]
    assert recorder.means(steps, fault=fault)["loss"] == (1e8 + 7) / 8  # float32 would lose the 7


def test_an_optimiser_without_a_rate_logs_none():
    assert recorder.means([a_step(1, rate=None)], fault=fault)["learning_rate"] is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"loss": np.nan}, "a loss nan that is not finite, 2"),
        ({"loss": np.inf}, "a loss inf that is not finite, 2"),
        ({"loss": np.nan, "sound": False}, "a loss nan that is not finite, 2"),
        ({"loss": 1.0, "sound": False}, "a gradient that is not finite, 2"),
    ],
)
def test_the_first_step_that_is_not_finite_is_named(bad, said):
    steps = [a_step(1), a_step(1), a_step(**bad), a_step(np.nan)]
    with pytest.raises(Faulty, match=said):
        recorder.means(steps, fault=fault)


def test_steps_that_wait_are_kept_as_plain_numbers_and_mean_the_same():
    steps = [a_step(0.1, pixel=3), a_step(0.7, pixel=5)]
    plain = recorder.plain(steps)
    kept = json.loads(json.dumps(plain))  # as a checkpoint keeps them
    assert kept == plain
    assert kept[0]["sound"] is True
    assert recorder.means(kept, fault=fault) == recorder.means(steps, fault=fault)


LINE = {"loss": 1.5, "parts": {"pixel": 4.0}, "learning_rate": None}


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_its_stage_step_epoch_split_and_speed(tmp_path):
    log = Recorder(tmp_path / "metrics.jsonl", "train", 0)
    log.write(10, 2, "train", LINE, clips=40, seconds=8.0)
    log.write(10, 2, "validation", LINE)
    speed = {"clips_per_second": 5.0, "seconds": 8.0}
    about = {"stage": "train", "step": 10, "epoch": 2}
    assert entries(tmp_path / "metrics.jsonl") == [
        {**about, "split": "train", **LINE, **speed},
        {**about, "split": "validation", **LINE},
    ]


def test_a_run_that_goes_on_drops_what_its_stage_wrote_since(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for stage in ("first", "second"):
        for step in (10, 20, 30):
            Recorder(path, stage, step).write(step, 0, "train", LINE)
    Recorder(path, "second", 20).write(25, 0, "train", LINE)
    found = [(entry["stage"], entry["step"]) for entry in entries(path)]
    assert found == [("first", 10), ("first", 20), ("first", 30)] + [
        ("second", 10), ("second", 20), ("second", 25),
    ]  # fmt: skip


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "a", "step": 1}\n{"stage": "a", "step": 2}\n{"stage": "a", "st')
    Recorder(path, "a", 1)
    assert path.read_text() == '{"stage": "a", "step": 1}\n'


def test_a_new_run_begins_with_an_empty_log(tmp_path):
    Recorder(tmp_path / "metrics.jsonl", "a", 0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
