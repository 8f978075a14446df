"""A method of two stages, the second of which freezes what the first trained."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax.data.frames import Frames
from vad_jax.learning import loop, optim
from vad_jax.learning.checkpoint import read_variables
from vad_jax.nets.pixels import numbers
from vad_jax.types import Fusion, InputSpec, Method, Scores, Stage

SPEC = InputSpec(
    frames=2, sees=(0,), target=1, scored=(1,), height=4, width=4, channels=1, colour="grey"
)


def footage(seed=0, length=20):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, (length, 4, 4, 1), dtype=np.uint8)
    return Frames(str(seed), array, (), (4, 4), 1, str(seed))


def errors(weight, batch):
    """`[B]`: how badly the first frame times a weight gives the second."""
    frames = numbers(batch["frames"], (-1.0, 1.0), weight.dtype)
    return jnp.mean(jnp.square(weight * frames[:, 0] - frames[:, 1]), axis=(1, 2, 3))


def mean(values, mask):
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)


def first_loss(params, state, batch, key, *, train):
    loss = mean(errors(params["teacher"], batch), batch["mask"])
    return loss, (state, {"first": loss})


def second_loss(params, state, batch, key, *, train):
    difference = errors(params["student"], batch) - errors(state["teacher"], batch)
    loss = mean(jnp.square(difference), batch["mask"]) / state["scale"]
    return loss, (state, {"second": loss})


def freeze(variables, statistics):
    scale = 1.0 if statistics is None else statistics["error"]["mean"]
    state = {"teacher": variables["params"]["teacher"], "scale": jnp.asarray(scale, jnp.float32)}
    return {"params": {"student": variables["params"]["student"]}, "state": state}


def thaw(variables):
    params = {**variables["params"], "teacher": variables["state"]["teacher"]}
    return {"params": params, "state": {}}


def optimizer(*, steps_per_epoch, steps):
    return optim.adam(0.05, "constant", steps_per_epoch=steps_per_epoch, steps=steps)


def measure(params, state, batch):
    return {"error": errors(params["teacher"], batch)}


METHOD = Method(
    inputs=SPEC,
    stages=(
        Stage(
            "first",
            SPEC,
            first_loss,
            optimizer,
            trainable=lambda path: path == "teacher",
            measure=measure,
        ),
        Stage("second", SPEC, second_loss, optimizer, begin=freeze, finish=thaw),
    ),
    fusion=Fusion("mean", (), (), "error"),
    init=lambda key: {
        "params": {"teacher": jnp.float32(1.5), "student": jnp.float32(-1.5)},
        "state": {},
    },
    start=lambda variables: (),
    score=lambda variables, carry, batch: (
        carry,
        Scores({"error": errors(variables["params"]["student"], batch)[:, None]}),
    ),
    carry_over="none",
    adapt=lambda variables, support, *, steps: (variables, jnp.zeros(steps)),
    pictures=lambda variables, batch: {},
)


def config(epochs=30):
    stage = types.SimpleNamespace(epochs=epochs, steps=None, batch_size=4)
    return types.SimpleNamespace(
        seed=0,
        log_steps=10,
        data=types.SimpleNamespace(backend="resident"),
        checkpoint=types.SimpleNamespace(epochs=5, keep=2),
        stages={"first": stage, "second": stage},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stages")
    trained = loop.train(METHOD, config(), [footage()], [footage(1)], workdir, digest="d")
    return workdir, trained


def test_both_stages_train_and_the_layout_is_finished(run):
    _, trained = run
    assert set(trained["params"]) == {"teacher", "student"}
    assert trained["state"] == {}
    assert abs(trained["params"]["teacher"]) < 0.3  # noise does not predict noise
    assert trained["params"]["student"] == pytest.approx(trained["params"]["teacher"], abs=0.3)


def test_what_a_stage_does_not_train_stays_as_it_was(run, tmp_path):
    untrained = METHOD.init(None)["params"]["student"]
    first = loop.train(
        Method(**{**vars(METHOD), "stages": METHOD.stages[:1]}),
        config(),
        [footage()],
        [],
        tmp_path,
        digest="d",
    )
    assert first["params"]["student"] == untrained
    assert first["params"]["teacher"] != METHOD.init(None)["params"]["teacher"]


def alone(init, workdir):
    """The stage that builds on another, without that one."""
    second = dataclasses.replace(METHOD.stages[1], builds_on="the teacher, which it freezes")
    method = dataclasses.replace(METHOD, stages=(second,))
    loop.train(method, config(1), [footage()], [], workdir, digest="d", init=init)


def test_a_stage_that_builds_on_another_says_so_where_it_comes_first(tmp_path, caplog):
    alone(None, tmp_path / "fresh")
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("Stage second comes first and builds on the teacher, which it freezes:")
    assert "--config.init_from=WORKDIR" in said


def test_variables_to_start_from_are_what_it_builds_on(tmp_path, caplog):
    alone(METHOD.init(None), tmp_path)
    assert "builds on" not in caplog.text


def test_measurements_of_a_stage_reach_the_next_one_s_begin(run):
    workdir, trained = run
    with np.load(workdir / "statistics" / "first.npz") as stored:
        expected = float(stored["error/mean"])
        assert int(stored["error/count"]) == 19  # windows of the held-out video
    shapes = freeze(trained, None)
    found, _ = read_variables(workdir / "checkpoints" / "second", shapes)
    assert float(found["state"]["scale"]) == pytest.approx(expected, rel=1e-6)


def test_a_finished_run_does_nothing_when_given_again(run):
    workdir, trained = run
    before = (workdir / "metrics.jsonl").read_text()
    again = loop.train(METHOD, config(), [footage()], [footage(1)], workdir, digest="d")
    jax.tree.map(np.testing.assert_array_equal, again, trained)
    assert (workdir / "metrics.jsonl").read_text() == before
