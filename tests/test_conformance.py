"""The laws that every method obeys, held over every module of `vad_jax/methods` at preset `tiny`.

In float64, where equality is to 1e-10: sums in another order differ by some 1e-16 of their terms.
"""

import functools
import importlib.util
import pkgutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax import methods
from vad_jax.data import rows
from vad_jax.datasets.synthetic import videos as synthetic
from vad_jax.learning import loop, mesh, optim, subsets
from vad_jax.learning.checkpoint import Checkpoints
from vad_jax.scoring import Stream, compiled, score_videos

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
METHODS = sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
EQUAL = 1e-10

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module", params=METHODS)
def config(request):
    spec = importlib.util.spec_from_file_location(request.param, CONFIGS / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return configs.complete(module.get_config("tiny"))


@pytest.fixture(scope="module")
def method(config):
    return vad_jax.create(config)


@pytest.fixture(scope="module")
def variables(method, x64):
    return doubled(jax.jit(method.init)(jax.random.key(1)))


class Clip:
    """A synthetic video as scoring takes it."""

    def __init__(self, spec, index, frames, split=synthetic.TEST):
        made = synthetic.video(
            0, 0, split, index, frames=frames, height=spec.height, width=spec.width,
            channels=spec.channels,
        )  # fmt: skip
        self.name, self.frames = f"video{index}", made.frames

    def stream(self):
        return iter(self.frames)


def doubled(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def example(spec, number=4, *, split=synthetic.TRAIN):
    """A batch of synthetic normal footage: windows, or whatever the spec's rows are."""
    if spec.episode is None:
        clip = Clip(spec, 0, spec.span + 3 * number, split)
        some = np.stack([np.zeros(number), np.arange(number) * 3], axis=1).astype(np.int32)
    else:
        clip = Clip(spec, 0, 8 * spec.span, split)
        lengths = [len(clip.frames)] * number
        batches, _ = rows.kind(spec).in_order(spec, lengths, batch_size=number)
        some = batches[0]
    frames = clip.frames[rows.frame_indices(spec, some)]
    batch = rows.batch(spec, frames, some, np.ones(number, bool))
    return jax.tree.map(np.array, batch)


def stages(method, variables):
    """Each stage with variables in its layout."""
    for stage in method.stages:
        yield stage, stage.begin(variables, None)


@functools.cache
def gradient_of(stage):
    return jax.jit(jax.value_and_grad(stage.loss, has_aux=True), static_argnames="train")


def gradient(stage, variables, batch):
    params, state = variables["params"], variables["state"]
    (loss, (state, parts)), gradients = gradient_of(stage)(
        params, state, batch, jax.random.key(3), train=True
    )
    return loss, state, parts, gradients


def same(a, b, atol=EQUAL):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol), a, b)


def test_loss_and_gradients_are_finite_and_reach_what_is_trainable(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        loss, state, parts, gradients = gradient(stage, begun, batch)
        assert np.isfinite(loss)
        assert all(np.isfinite(part) for part in parts.values())
        assert jax.tree.structure(state) == jax.tree.structure(begun["state"])
        for path, leaf in subsets.named(gradients):
            assert np.isfinite(leaf).all(), path
            if stage.trainable(path) and np.abs(leaf).max() < 1e-12:
                assert path.endswith("bias"), f"no gradient reaches {path}"
                assert_a_shift_changes_nothing(stage, begun, batch, path, loss)


def assert_a_shift_changes_nothing(stage, begun, batch, path, loss):
    """A bias in front of a BatchNorm has gradient zero because the mean takes it away."""
    paths, leaves = map(list, zip(*subsets.named(begun["params"]), strict=True))
    leaves[paths.index(path)] += 0.1
    params = jax.tree.unflatten(jax.tree.structure(begun["params"]), leaves)
    shifted, *_ = gradient(stage, {**begun, "params": params}, batch)
    np.testing.assert_allclose(shifted, loss, rtol=1e-9, err_msg=path)


def test_what_a_file_says_of_its_settings_are_settings(config):
    module, flat = configs.module(config.method), configs.flatten(config)
    for key in (*module.CHOICES, *module.STATE):
        assert key in flat, key
    for section in module.EVALUATION:
        assert any(key == section or key.startswith(f"{section}.") for key in flat), section


def test_jit_is_eager(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        args = (begun["params"], begun["state"], batch, jax.random.key(3))
        plain = stage.loss(*args, train=True)
        jitted = jax.jit(stage.loss, static_argnames="train")(*args, train=True)
        same(plain, jitted)
    batch = example(method.inputs)
    carry = method.start(variables)
    same(method.score(variables, carry, batch), jax.jit(method.score)(variables, carry, batch))


def test_evaluation_leaves_the_state_as_it_was(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        _, (state, _) = stage.loss(begun["params"], begun["state"], batch, None, train=False)
        same(state, begun["state"], atol=0)


def test_loss_falls_in_every_stage(method, config):
    untrained = jax.jit(method.init)(jax.random.key(0))
    for stage in method.stages:
        begun = stage.begin(untrained, None)
        batch = example(stage.inputs)
        transform = optim.only(
            stage.optimizer(steps_per_epoch=40, steps=40), stage.trainable, begun["params"]
        )
        slots = transform.init(begun["params"])
        step = jax.jit(loop.train_step(stage, transform))
        losses = []
        for number in range(40):
            begun, slots, metrics = step(begun, slots, batch, jax.random.key(number))
            losses.append(float(metrics["loss"]))
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3]), stage.name


def test_a_masked_row_changes_nothing(method, variables):
    rng = np.random.default_rng(0)
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        batch["mask"] = np.array([True, True, False, True])
        other = {name: value.copy() for name, value in batch.items()}
        for value in other.values():
            if value.dtype == np.uint8:
                value[2] = rng.integers(0, 256, value[2].shape)
        same(gradient(stage, begun, batch), gradient(stage, begun, other), atol=1e-12)
        three = {name: value[batch["mask"]] for name, value in batch.items()}
        same(gradient(stage, begun, batch), gradient(stage, begun, three))


def test_a_batch_of_masked_rows_leaves_the_state_as_it_was(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        batch["mask"] = np.zeros(4, bool)
        loss, state, _, gradients = gradient(stage, begun, batch)
        assert loss == 0
        same(state, begun["state"], atol=0)
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradients))


def test_a_masked_row_leaves_the_carry_and_has_no_parts(method, variables):
    batch = example(method.inputs)
    batch["mask"] = np.array([False, False, True, False])
    score = jax.jit(method.score)
    carry, scores = score(variables, method.start(variables), batch)
    for part in scores.parts.values():
        np.testing.assert_array_equal(np.isnan(part).all(axis=1), ~batch["mask"])
    one = {name: value[2:3] for name, value in batch.items()}
    alone, _ = score(variables, method.start(variables), one)
    same(carry, alone)
    batch["mask"] = np.zeros(4, bool)
    unmoved, _ = score(variables, method.start(variables), batch)
    same(unmoved, method.start(variables), atol=0)


def test_four_devices_are_one(method, variables):
    assert len(jax.devices()) >= 4
    for stage, begun in stages(method, variables):
        transform = optim.only(optax.sgd(0.1), stage.trainable, begun["params"])
        slots = transform.init(begun["params"])
        step = jax.jit(loop.train_step(stage, transform))
        batch, key = example(stage.inputs), jax.random.key(0)
        results = []
        for devices in (jax.devices()[:1], jax.devices()[:4]):
            over = mesh.make(4, devices)
            placed = mesh.copy(over, (begun, slots))
            moved, _, metrics = step(*placed, mesh.split(over, batch), key)
            assert jax.tree.leaves(moved)[0].sharding.num_devices == len(devices)
            results.append(jax.device_get((moved, metrics)))
        same(*results)


def test_pmap_with_one_batch_replicated_is_jit(method, variables):
    devices = jax.devices()[:2]
    for stage, begun in stages(method, variables):
        transform = optim.only(optax.sgd(0.1), stage.trainable, begun["params"])
        slots, key = transform.init(begun["params"]), jax.random.key(0)
        step = loop.train_step(stage, transform)
        args = (begun, slots, example(stage.inputs), key)
        replicated = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), args)
        moved = jax.pmap(step, devices=devices)(*replicated)
        expected = jax.jit(step)(*args)
        for device in range(2):
            same(jax.tree.map(lambda leaf, d=device: leaf[d], moved), expected)


def test_rows_of_one_call_are_calls_of_one_row(method, variables):
    batch = example(method.inputs)
    score = jax.jit(method.score)
    carry, scores = score(variables, method.start(variables), batch)
    one_by_one = method.start(variables)
    for row in range(4):
        single = {name: value[row : row + 1] for name, value in batch.items()}
        one_by_one, alone = score(variables, one_by_one, single)
        same({k: v[row : row + 1] for k, v in scores.parts.items()}, alone.parts)
    same(carry, one_by_one)


def test_a_stream_is_the_whole_video_bit_for_bit(method, variables):
    clip = Clip(method.inputs, 1, method.inputs.span + 9)
    rows = 1 if method.carry_over != "none" else 16
    (whole,) = score_videos(method, variables, [clip])
    stream = Stream(method, variables, rows=rows)
    pieces = [piece for frame in clip.stream() for piece in stream.push(frame)] + stream.flush()
    for name, part in whole.parts.items():
        got = np.concatenate([scores.parts[name][: len(first)] for first, scores in pieces])
        np.testing.assert_array_equal(got, part)


def test_videos_side_by_side_are_videos_one_by_one(method, variables):
    spec = method.inputs
    lengths = (spec.span + 7, max(spec.span - 1, 1), spec.span + 2)
    clips = [Clip(spec, i, length) for i, length in enumerate(lengths)]
    options = {"anew": True, "maps": True}
    alone = list(score_videos(method, variables, clips, streams=1, **options))
    for streams, each in ((2, 3), (8, None)):
        found = score_videos(method, variables, clips, streams=streams, rows=each, **options)
        for one, other in zip(alone, found, strict=True):
            assert (one.name, one.length) == (other.name, other.length)
            np.testing.assert_array_equal(one.first, other.first)
            if len(one.first):
                same((one.parts, one.maps), (other.parts, other.maps))


def test_nothing_recompiles_between_videos_or_on_a_last_batch(method, variables):
    clips = [Clip(method.inputs, i, method.inputs.span + extra) for i, extra in ((0, 7), (1, 20))]
    clips.append(Clip(method.inputs, 2, max(method.inputs.span - 1, 1)))
    score = compiled(method, maps=False)
    list(score_videos(method, variables, clips[:1]))
    before = score._cache_size()
    found = list(score_videos(method, variables, clips))
    assert score._cache_size() == before
    assert [scores.length for scores in found] == [len(clip.frames) for clip in clips]


def test_begin_and_finish_undo_each_other(method, variables):
    for stage in method.stages:
        same(stage.finish(stage.begin(variables, None)), variables, atol=0)


def test_a_checkpoint_gives_back_every_bit(method, variables, tmp_path):
    for stage, begun in stages(method, variables):
        transform = optim.only(
            stage.optimizer(steps_per_epoch=2, steps=4), stage.trainable, begun["params"]
        )
        slots = transform.init(begun["params"])
        step = jax.jit(loop.train_step(stage, transform))
        begun, slots, _ = step(begun, slots, example(stage.inputs), jax.random.key(0))
        checkpoints = Checkpoints(tmp_path / stage.name)
        checkpoints.save(begun, slots, {"step": 1, "epoch": 0, "digest": "d"})
        found = checkpoints.latest(begun, slots)
        same(found[:2], (begun, slots), atol=0)
        assert found[2] == {"step": 1, "epoch": 0, "digest": "d"}


def test_adaptation_keeps_the_structure_and_lowers_its_loss(method, variables):
    support = example(method.inputs)
    adapt = jax.jit(method.adapt, static_argnames="steps")
    adapted, losses = adapt(variables, support, steps=3)
    assert jax.tree.structure(adapted) == jax.tree.structure(variables)
    assert losses.shape == (3,)
    assert losses[2] < losses[0]
    unchanged, none = adapt(variables, support, steps=0)
    same(unchanged, variables, atol=0)
    assert none.shape == (0,)


def test_pictures_are_in_range(method, variables):
    spec = method.inputs
    for name, image in method.pictures(variables, example(spec)).items():
        assert image.shape[0] == 4, name
        assert image.ndim == 4, name
        assert np.isfinite(image).all(), name
        assert float(jnp.min(image)) >= 0, name
        assert float(jnp.max(image)) <= 1, name
