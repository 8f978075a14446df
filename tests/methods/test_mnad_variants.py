"""Every option of MNAD has its effect, in every task and variant, at the smallest size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax.data import spans
from vad_jax.datasets.synthetic import videos as synthetic
from vad_jax.methods import mnad
from vad_jax.nets import memory


def tiny(**changes):
    config = configs.defaults("mnad")
    config.input.update(height=16, width=16, channels=1)
    config.width = 4
    config.memory["items"] = 4
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


@functools.cache
def footage():
    return synthetic.video(0, 0, synthetic.TRAIN, 0, frames=40, height=16, width=16).frames


def batch(spec, rows=3):
    first = np.arange(rows, dtype=np.int32) * 4
    frames = footage()[spans.frame_indices(spec, first)]
    frames = np.broadcast_to(frames, (*frames.shape[:-1], spec.channels))
    return {
        "frames": frames,
        "mask": np.ones(rows, bool),
        "video": np.zeros(rows, np.int32),
        "frame": first,
    }


def made(**changes):
    method = vad_jax.create(tiny(**changes))
    return method, jax.jit(method.init)(jax.random.key(0))


@functools.cache
def loss_of(**changes):
    method, variables = made(**changes)
    stage = method.stages[0]
    loss, (_, parts) = jax.jit(stage.loss, static_argnames="train")(
        variables["params"], variables["state"], batch(stage.inputs), None, train=True
    )
    return float(loss), {k: float(v) for k, v in parts.items()}


@functools.cache
def scored(**changes):
    method, variables = made(**changes)
    carry = method.start(variables)
    moved, scores = jax.jit(method.score)(variables, carry, batch(method.inputs))
    return carry, moved, {name: np.asarray(part) for name, part in scores.parts.items()}


@pytest.mark.parametrize("task", ["prediction", "reconstruction", "middle"])
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_every_task_and_variant_trains_and_scores(task, variant):
    loss, parts = loss_of(task=task, variant=variant)
    assert np.isfinite(loss)
    assert set(parts) == {"pixel", "compact", "separate"}
    _, _, found = scored(task=task, variant=variant)
    assert set(found) == {"psnr", "distance", "point_score", "updated"}
    assert all(np.isfinite(part).all() and part.shape == (3, 1) for part in found.values())


@pytest.mark.parametrize(
    ("task", "frames", "target", "colours"), [("prediction", 4, 4, 3), ("reconstruction", 1, 0, 3),
                                              ("middle", 16, 8, 3)]
)  # fmt: skip
def test_windows_of_the_tasks(task, frames, target, colours):
    method, variables = made(task=task, **{"input.channels": colours})
    spec = method.inputs
    assert (len(spec.sees), spec.target, spec.scored) == (frames, target, (target,))
    assert spec.colour == "bgr"
    kernel = variables["params"]["encoder"]["block1"]["conv1"]["kernel"]
    assert kernel.shape == (3, 3, frames * colours, 4)
    assert variables["params"]["decoder"]["out"]["kernel"].shape == (3, 3, 4, colours)


def test_reconstruction_has_no_skips_but_wider_upsampling():
    for task, factor in (("prediction", 1), ("reconstruction", 2)):
        _, variables = made(task=task)
        kernel = variables["params"]["decoder"]["up3"]["conv"]["kernel"]
        assert kernel.shape == (3, 3, 32, 16 * factor)


@pytest.mark.parametrize("task", ["prediction", "reconstruction"])
def test_without_memory_the_score_is_psnr_alone(task):
    method, variables = made(task=task, **{"memory.items": 0})
    assert method.carry_over == "none"
    assert method.start(variables) == ()
    assert "memory" not in variables["state"]
    _, parts = loss_of(task=task, **{"memory.items": 0})
    assert set(parts) == {"pixel"}
    assert set(scored(task=task, **{"memory.items": 0})[2]) == {"psnr"}
    assert variables["params"]["decoder"]["block4"]["conv1"]["kernel"].shape[2] == 32


def test_policies_of_the_update():
    for policy, share in (("never", 0), ("always", 1)):
        carry, moved, parts = scored(**{"memory.update": policy})
        assert (parts["updated"] == share).all()
        assert bool(jnp.array_equal(carry["memory"], moved["memory"])) == (policy == "never")
    _, _, parts = scored(**{"memory.update": "gated", "gate.threshold": 1e-9})
    assert (parts["updated"] == 0).all()
    _, moved, parts = scored(**{"memory.update": "gated", "gate.threshold": 10.0})
    assert (parts["updated"] == 1).all()
    always = scored(**{"memory.update": "always"})[1]
    np.testing.assert_allclose(moved["memory"], always["memory"], atol=1e-6)


def test_reset_decides_what_is_carried_over():
    assert made(**{"memory.reset": "video"})[0].carry_over == "video"
    assert made(**{"memory.reset": "set"})[0].carry_over == "set"


def test_the_norm_in_the_gate_gives_larger_point_scores():
    square = scored(**{"gate.error": "square"})[2]["point_score"]
    norm = scored(**{"gate.error": "norm"})[2]["point_score"]
    assert (norm > square).all()


def test_weights_and_margin_enter_the_loss():
    base, parts = loss_of()
    assert base == pytest.approx(
        parts["pixel"] + 0.1 * parts["compact"] + 0.1 * parts["separate"], rel=1e-5
    )
    assert loss_of(**{"weights.separate": 0.0})[0] < base
    assert loss_of(**{"weights.compact": 5.0})[0] > base
    assert loss_of(margin=2.0)[1]["separate"] > parts["separate"]


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradients_of_reconstruction_are_finite(variant):
    method, variables = made(task="reconstruction", variant=variant)
    stage = method.stages[0]
    gradient = jax.jit(jax.grad(lambda p, s, b: stage.loss(p, s, b, None, train=True)[0]))
    gradients = gradient(variables["params"], variables["state"], batch(stage.inputs))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > 1e-4


def test_the_paper_lets_the_gradient_through_the_matching_and_the_code_does_not():
    no_shaping = {"weights.compact": 0.0, "weights.separate": 0.0}

    def through_read(variant):
        config = tiny(variant=variant, **no_shaping)
        model = mnad.Model(config)
        items = jnp.eye(4, 32)
        queries = memory.unit(jax.random.normal(jax.random.key(0), (5, 32)))
        return jax.grad(lambda q: jnp.sum(jnp.sin(3 * model.read(q, items)[0])))(queries)

    assert (through_read("code") == 0).all()
    assert (through_read("paper") != 0).any()


def test_bfloat16_computes_in_it_and_keeps_everything_else_in_float32():
    full, halved = loss_of(), loss_of(precision="bfloat16")
    assert halved[0] != full[0]
    assert halved[0] == pytest.approx(full[0], rel=0.02)
    _, variables = made(precision="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    _, moved, parts = scored(precision="bfloat16")
    assert moved["memory"].dtype == jnp.float32
    assert parts["psnr"].dtype == np.float32
    _, _, expected = scored()
    np.testing.assert_allclose(parts["psnr"], expected["psnr"], rtol=0.02)


def test_width_and_stride_have_their_effect():
    assert made(width=8)[1]["params"]["encoder"]["block1"]["conv1"]["kernel"].shape[-1] == 8
    spec = made(**{"input.stride": 2, "input.step": 3})[0].inputs
    assert (spec.span, spec.step) == (9, 3)


def test_a_size_that_is_no_multiple_of_eight_is_refused():
    with pytest.raises(vad_jax.types.ConfigError, match=r"input.height = 20.*multiple of 8"):
        made(**{"input.height": 20})


def test_one_item_is_refused():
    with pytest.raises(vad_jax.types.ConfigError, match=r"memory.items = 1: .*second item"):
        made(**{"memory.items": 1})
