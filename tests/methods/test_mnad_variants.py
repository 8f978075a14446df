"""Every option of MNAD has its effect, in every task and variant, at the smallest size."""

import functools
import zlib

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


def shapes(**changes):
    """The method and the shapes of its variables."""
    method = vad_jax.create(tiny(**changes))
    return method, jax.eval_shape(method.init, jax.random.key(0))


def draw(path, leaf):
    """Values of about the size of the first ones; `init` compiles longer than what is tried."""
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    values = np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, leaf.shape)
    if name.endswith("memory"):
        return np.float32(values / np.linalg.norm(values, axis=1, keepdims=True))
    if name.endswith(("scale", "var")):
        return np.float32(1 + 0.1 * values)
    return np.float32(values / np.sqrt(np.prod(leaf.shape[:-1], dtype=int)))


def several(*every):
    """Methods that share weights, made of changes of the config, and those weights."""
    methods, each = zip(*(shapes(**changes) for changes in every), strict=True)
    for other in each:
        assert jax.tree.map(lambda leaf: leaf.shape, other) == jax.tree.map(
            lambda leaf: leaf.shape, each[0]
        )
    return methods, jax.tree.map_with_path(draw, each[0])


def losses(*every):
    """Loss and parts of each in training; one program, for they share the network."""
    methods, variables = several(*every)

    @jax.jit
    def all_of_them(params, state, batch):
        found = [
            method.stages[0].loss(params, state, batch, None, train=True) for method in methods
        ]
        return [(total, parts) for total, (_, parts) in found]

    rows = batch(methods[0].stages[0].inputs)
    return jax.device_get(all_of_them(variables["params"], variables["state"], rows))


def gradients(*every):
    """Loss, parts and gradient of each in training; one program."""
    methods, variables = several(*every)

    @jax.jit
    def all_of_them(params, state, batch):
        def of(stage):
            loss = jax.value_and_grad(functools.partial(stage.loss, train=True), has_aux=True)
            (total, (_, parts)), gradient = loss(params, state, batch, None)
            return total, parts, gradient

        return [of(method.stages[0]) for method in methods]

    rows = batch(methods[0].stages[0].inputs)
    return jax.device_get(all_of_them(variables["params"], variables["state"], rows))


def scored(*every):
    """The carry at the start; of each the carry behind the rows and their parts, by one program."""
    methods, variables = several(*every)
    carry = methods[0].start(variables)

    @jax.jit
    def all_of_them(variables, carry, batch):
        found = [method.score(variables, carry, batch) for method in methods]
        return [(moved, scores.parts) for moved, scores in found]

    return jax.device_get((carry, all_of_them(variables, carry, batch(methods[0].inputs))))


@pytest.fixture(scope="module")
def scores():
    """Of the settings of the update, the gate and the precision: name → carry behind, parts."""
    changes = {
        "default": {},
        "never": {"memory.update": "never"},
        "always": {"memory.update": "always"},
        "shut": {"memory.update": "gated", "gate.threshold": 1e-9},
        "open": {"memory.update": "gated", "gate.threshold": 10.0},
        "square": {"gate.error": "square"},
        "norm": {"gate.error": "norm"},
        "bfloat16": {"precision": "bfloat16"},
    }
    carry, found = scored(*changes.values())
    return {"start": (carry, None)} | dict(zip(changes, found, strict=True))


@pytest.mark.parametrize("task", ["prediction", "reconstruction", "middle"])
def test_every_task_and_variant_trains_and_scores(task):
    changes = [{"task": task, "variant": variant} for variant in ("code", "paper")]
    for loss, parts, gradient in gradients(*changes):
        assert np.isfinite(loss)
        assert set(parts) == {"pixel", "compact", "separate"}
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-4
    for _, found in scored(*changes)[1]:
        assert set(found) == {"psnr", "distance", "point_score", "updated"}
        assert all(np.isfinite(part).all() and part.shape == (3, 1) for part in found.values())


@pytest.mark.parametrize(
    ("task", "frames", "target", "colours"), [("prediction", 4, 4, 3), ("reconstruction", 1, 0, 3),
                                              ("middle", 16, 8, 3)]
)  # fmt: skip
def test_windows_of_the_tasks(task, frames, target, colours):
    method, variables = shapes(task=task, **{"input.channels": colours})
    spec = method.inputs
    assert (len(spec.sees), spec.target, spec.scored) == (frames, target, (target,))
    assert spec.colour == "bgr"
    kernel = variables["params"]["encoder"]["block1"]["conv1"]["kernel"]
    assert kernel.shape == (3, 3, frames * colours, 4)
    assert variables["params"]["decoder"]["out"]["kernel"].shape == (3, 3, 4, colours)


def test_reconstruction_has_no_skips_but_wider_upsampling():
    for task, factor in (("prediction", 1), ("reconstruction", 2)):
        _, variables = shapes(task=task)
        kernel = variables["params"]["decoder"]["up3"]["conv"]["kernel"]
        assert kernel.shape == (3, 3, 32, 16 * factor)


@pytest.mark.parametrize("task", ["prediction", "reconstruction"])
def test_without_memory_the_score_is_psnr_alone(task):
    bare = {"task": task, "memory.items": 0}
    method, variables = shapes(**bare)
    assert method.carry_over == "none"
    assert method.start(variables) == ()
    assert "memory" not in variables["state"]
    ((_, parts),) = losses(bare)
    assert set(parts) == {"pixel"}
    _, ((_, found),) = scored(bare)
    assert set(found) == {"psnr"}
    assert variables["params"]["decoder"]["block4"]["conv1"]["kernel"].shape[2] == 32


def test_policies_of_the_update(scores):
    start, _ = scores["start"]
    for policy, share in (("never", 0), ("always", 1)):
        moved, parts = scores[policy]
        assert (parts["updated"] == share).all()
        assert np.array_equal(start["memory"], moved["memory"]) == (policy == "never")
    assert (scores["shut"][1]["updated"] == 0).all()
    moved, parts = scores["open"]
    assert (parts["updated"] == 1).all()
    np.testing.assert_allclose(moved["memory"], scores["always"][0]["memory"], atol=1e-6)


def test_reset_decides_what_is_carried_over():
    assert shapes(**{"memory.reset": "video"})[0].carry_over == "video"
    assert shapes(**{"memory.reset": "set"})[0].carry_over == "set"


def test_the_norm_in_the_gate_gives_larger_point_scores(scores):
    assert (scores["norm"][1]["point_score"] > scores["square"][1]["point_score"]).all()


def test_weights_margin_and_precision_enter_the_loss():
    (base, parts), separate, compact, (_, wider), (halved, _) = losses(
        {}, {"weights.separate": 0.0}, {"weights.compact": 5.0}, {"margin": 2.0},
        {"precision": "bfloat16"},
    )  # fmt: skip
    assert base == pytest.approx(
        parts["pixel"] + 0.1 * parts["compact"] + 0.1 * parts["separate"], rel=1e-5
    )
    assert separate[0] < base
    assert compact[0] > base
    assert wider["separate"] > parts["separate"]
    assert halved != base
    assert halved == pytest.approx(base, rel=0.02)


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


def test_bfloat16_computes_in_it_and_keeps_everything_else_in_float32(scores):
    _, variables = shapes(precision="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    (_, expected), (moved, parts) = scores["default"], scores["bfloat16"]
    assert moved["memory"].dtype == jnp.float32
    assert parts["psnr"].dtype == np.float32
    assert (parts["psnr"] != expected["psnr"]).any()
    np.testing.assert_allclose(parts["psnr"], expected["psnr"], rtol=0.02)


def test_width_and_stride_have_their_effect():
    kernel = shapes(width=8)[1]["params"]["encoder"]["block1"]["conv1"]["kernel"]
    assert kernel.shape[-1] == 8
    spec = shapes(**{"input.stride": 2, "input.step": 3})[0].inputs
    assert (spec.span, spec.step) == (9, 3)


def test_a_size_that_is_no_multiple_of_eight_is_refused():
    with pytest.raises(vad_jax.types.ConfigError, match=r"input.height = 20.*multiple of 8"):
        vad_jax.create(tiny(**{"input.height": 20}))


def test_one_item_is_refused():
    with pytest.raises(vad_jax.types.ConfigError, match=r"memory.items = 1: .*second item"):
        vad_jax.create(tiny(**{"memory.items": 1}))
