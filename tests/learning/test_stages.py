"""A method of two stages: the second freezes what the first trained, and uses what it measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training import lines, noise, settings, train

from vad_jax.learning import loop, optim
from vad_jax.learning.checkpoint import read_variables
from vad_jax.learning.stage_run import constants
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.pixels import numbers
from vad_jax.runs.workdir import Workdir
from vad_jax.types import CheckpointError, Fusion, InputSpec, Method, Scores, Stage, TrainingError

SPEC = InputSpec(
    frames=2, sees=(0,), target=1, scored=(1,), height=4, width=4, channels=1, colour="grey"
)


def errors(weight, batch):
    """`[B]`: how badly the first frame times a weight gives the second."""
    frames = numbers(batch["frames"], (-1.0, 1.0), weight.dtype)
    return jnp.mean(jnp.square(weight * frames[:, 0] - frames[:, 1]), axis=(1, 2, 3))


def init(key):
    """The finished layout, with a place for what the first stage measures."""
    return {
        "params": {"teacher": jnp.float32(1.5), "student": jnp.float32(-1.5)},
        "state": {"measured": {"error": {"mean": jnp.float32(1), "std": jnp.float32(1)}}},
    }


def first_loss(params, state, batch, key, *, train):
    loss = masked_mean(errors(params["teacher"], batch), batch["mask"])
    return loss, (state, {"first": loss})


def second_loss(params, state, batch, key, *, train):
    difference = errors(params["student"], batch) - errors(state["teacher"], batch)
    loss = masked_mean(jnp.square(difference), batch["mask"]) / state["scale"]
    return loss, (state, {"second": loss})


def freeze(variables):
    """The second stage's layout: the teacher is state, the scale a measured constant."""
    state = variables["state"]
    frozen = {
        "teacher": variables["params"]["teacher"],
        "scale": state["measured"]["error"]["mean"],
    }
    return {"params": {"student": variables["params"]["student"]}, "state": {**state, **frozen}}


def thaw(variables):
    params = {**variables["params"], "teacher": variables["state"]["teacher"]}
    return {"params": params, "state": {"measured": variables["state"]["measured"]}}


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
    fusion=Fusion((), (), "error"),
    init=init,
    start=lambda variables: (),
    score=lambda variables, carry, batch: (
        carry,
        Scores({"error": errors(variables["params"]["student"], batch)[:, None]}),
    ),
    carry_over="none",
    adapt=lambda variables, support, *, steps: (variables, jnp.zeros(steps)),
    pictures=lambda variables, batch: {},
)
SETTINGS = settings(METHOD, epochs=30, batch_size=4, every=5)
TRAINING, HELD_OUT, NONE = noise(0, size=4), noise(1, size=4), noise()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stages")
    return workdir, train(METHOD, SETTINGS, TRAINING, HELD_OUT, workdir)


def kept(workdir, stage):
    """The variables of a stage's newest checkpoint, in its layout."""
    shapes = jax.eval_shape(lambda: stage.begin(init(None)))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    return read_variables(Workdir(workdir).checkpoints(stage.name), shapes)[0]


def measured_by_hand(teacher, footage):
    """Mean and deviation over the 19 pairs of a video."""
    array = footage.videos[0].array
    batch = {"frames": jnp.stack([array[i : i + 2] for i in range(19)])}
    each = np.float64(errors(jnp.float32(teacher), batch))
    return {"mean": each.mean(), "std": each.std()}


def alone(stage, **changes):
    """The method with one stage."""
    stage = dataclasses.replace(METHOD.stages[stage], **changes)
    return dataclasses.replace(METHOD, stages=(stage,))


def test_both_stages_train_and_the_layout_is_finished(run):
    _, trained = run
    assert set(trained["params"]) == {"teacher", "student"}
    assert set(trained["state"]) == {"measured"}
    assert abs(trained["params"]["teacher"]) < 0.3  # noise does not predict noise
    assert trained["params"]["student"] == pytest.approx(trained["params"]["teacher"], abs=0.3)


def test_what_a_stage_does_not_train_stays_as_it_was(run):
    first, untrained = kept(run[0], METHOD.stages[0])["params"], init(None)["params"]
    assert first["student"] == untrained["student"]
    assert first["teacher"] != untrained["teacher"]
    assert run[1]["params"]["teacher"] == first["teacher"]


def test_what_a_stage_measures_on_held_out_rows_is_in_its_checkpoint(run):
    first = kept(run[0], METHOD.stages[0])
    expected = measured_by_hand(first["params"]["teacher"], HELD_OUT)
    found = first["state"]["measured"]["error"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5)  # float32
        assert found[name].dtype == np.float32


def test_without_held_out_videos_training_rows_are_measured(tmp_path):
    method = alone(0)
    trained = train(method, settings(method, epochs=1, batch_size=4), TRAINING, NONE, tmp_path)
    expected = measured_by_hand(trained["params"]["teacher"], TRAINING)
    for name, value in expected.items():
        found = trained["state"]["measured"]["error"][name]
        assert float(found) == pytest.approx(value, rel=1e-5)


def test_the_next_stage_begins_with_what_was_measured_and_keeps_it(run):
    workdir, trained = run
    first, second = (kept(workdir, stage)["state"] for stage in METHOD.stages)
    assert second["scale"] == first["measured"]["error"]["mean"]
    for later in (second["measured"], trained["state"]["measured"]):
        jax.tree.map(np.testing.assert_array_equal, later, first["measured"])


def test_what_was_measured_is_nowhere_else(run):
    names = {path.name for path in run[0].iterdir()}
    assert names == {"checkpoints", "metrics.jsonl"}


def test_a_finished_stage_is_not_measured_again(run, tmp_path):
    def never(params, state, batch):
        raise AssertionError("measured again")

    workdir, trained = run
    first = dataclasses.replace(METHOD.stages[0], measure=never)
    method = dataclasses.replace(METHOD, stages=(first, METHOD.stages[1]))
    again = train(method, SETTINGS, TRAINING, HELD_OUT, workdir)
    jax.tree.map(np.testing.assert_array_equal, again, trained)


def test_a_stage_that_measures_nothing_keeps_what_it_began_with(run, tmp_path):
    """So a later run, of the second stage alone, has what the first one's measured."""
    given, method = run[1], alone(1)
    config = settings(method, epochs=1, batch_size=4)
    later = train(method, config, TRAINING, HELD_OUT, tmp_path, init=given)
    jax.tree.map(np.testing.assert_array_equal, later["state"], given["state"])
    scale = kept(tmp_path, method.stages[0])["state"]["scale"]
    assert scale == given["state"]["measured"]["error"]["mean"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_measurement_that_is_not_finite_is_an_error(tmp_path, value):
    method = alone(0, measure=lambda params, state, batch: {"error": value * batch["mask"]})
    said = r"Measured error on normal footage: mean nan, .*0 rows.*Hold out longer videos"
    with pytest.raises(TrainingError, match=said):
        train(method, settings(method, epochs=1, batch_size=4), TRAINING, HELD_OUT, tmp_path)
    assert not list(Workdir(tmp_path).checkpoints("first").glob("*.sha256.json"))


def test_constants_take_the_dtype_of_their_place_and_leave_the_others():
    places = {n: {"mean": np.float32(0), "std": np.float32(1)} for n in ("a", "b")}
    row = {"mean": 0.1, "std": 0.2, "min": 0.0, "max": 1.0, "count": 9}
    found = constants(places, {"a": row})
    assert found["a"] == {"mean": np.float32(0.1), "std": np.float32(0.2)}
    assert found["a"]["mean"].dtype == np.float32
    assert found["b"] == places["b"]
    with pytest.raises(TrainingError, match=r"Measured a .*mean 0.1, deviation inf over 9 rows"):
        constants(places, {"a": {**row, "std": np.inf}})


def test_a_stage_that_builds_on_another_says_so_where_it_comes_first(tmp_path, caplog):
    method = alone(1, builds_on="the teacher, which it freezes")
    train(method, settings(method, epochs=1, batch_size=4), TRAINING, NONE, tmp_path)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("Stage second comes first and builds on the teacher, which it freezes:")
    assert "--config.init_from=WORKDIR" in said


def test_variables_to_start_from_are_what_it_builds_on(tmp_path, caplog):
    method, given = alone(1, builds_on="the teacher, which it freezes"), init(None)
    train(method, settings(method, epochs=1, batch_size=4), TRAINING, NONE, tmp_path, init=given)
    assert "builds on" not in caplog.text
    jax.tree.map(np.testing.assert_array_equal, given, init(None))  # steps took no array over


def test_a_finished_run_does_nothing_when_given_again(run):
    workdir, trained = run
    before = (workdir / "metrics.jsonl").read_text()
    again = train(METHOD, SETTINGS, TRAINING, HELD_OUT, workdir)
    jax.tree.map(np.testing.assert_array_equal, again, trained)
    assert (workdir / "metrics.jsonl").read_text() == before
    assert [(e["stage"], e["step"]) for e in lines(workdir)][-1] == ("second", 120)


# Variables from elsewhere


def adopted(folder, given):
    return loop.adopt(
        METHOD, SETTINGS, TRAINING, HELD_OUT, Workdir(folder), digest="d", given=given
    )


def test_what_was_trained_elsewhere_is_measured_and_kept_as_if_trained_here(run, tmp_path):
    blank = {"params": run[1]["params"], "state": init(None)["state"]}
    found = adopted(tmp_path, blank)
    jax.tree.map(np.testing.assert_array_equal, found["params"], run[1]["params"])
    expected = run[1]["state"]["measured"]["error"]
    for name, value in expected.items():
        assert found["state"]["measured"]["error"][name] == pytest.approx(value, rel=1e-6)
    for stage in METHOD.stages:
        steps = sorted(path.name for path in Workdir(tmp_path).checkpoints(stage.name).iterdir())
        assert steps == ["120", "120.sha256.json"]
    again = adopted(tmp_path, blank)  # the command was interrupted, and given again
    jax.tree.map(np.testing.assert_array_equal, again, found)


def test_other_checkpoints_are_not_written_over(run, tmp_path):
    adopted(tmp_path, run[1])
    other = {**run[1], "params": {"teacher": jnp.float32(0.7), "student": jnp.float32(0.7)}}
    with pytest.raises(CheckpointError, match=r"first holds another checkpoint already: give an"):
        adopted(tmp_path, other)
