"""The laws that every method obeys, held over every module of `vad_jax/methods` at preset `tiny`.

In float64, where equality is to 1e-10: sums in another order differ by some 1e-16 of their terms.
Compiling is what takes time here, so the laws share one program of each stage: a step that keeps
the gradient it moved by.
Laws of streams and files are held over toy methods, too (`test_streams.py`).
"""

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
from vad_jax import evaluation, methods
from vad_jax.data import rows
from vad_jax.data.footage import Footage
from vad_jax.data.frames import Frames
from vad_jax.datasets import synthetic
from vad_jax.detector import Detector
from vad_jax.learning import mesh, optim, subsets
from vad_jax.learning.checkpoint import Checkpoints
from vad_jax.learning.stage_run import train_step
from vad_jax.scoring import Stream, compiled, score_videos

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
METHODS = sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
EQUAL = 1e-10
STEPS = 15

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


def video(spec, index, frames, split=synthetic.TEST):
    """A synthetic video as decoded frames."""
    made = synthetic.video(
        0, 0, split, index, frames=frames, height=spec.height, width=spec.width,
        channels=spec.channels,
    )  # fmt: skip
    size = spec.height, spec.width
    return Frames(f"video{index}", made.frames, (), size, spec.channels, "")


def doubled(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def example(spec, number=4):
    """A batch of synthetic normal footage of the spec's kind of row."""
    kind = rows.kind(spec)
    videos = [video(spec, i, 8 * spec.span, synthetic.TRAIN) for i in range(number)]
    footage = Footage(videos)
    drawn, _ = kind.in_order(spec, footage, batch_size=len(videos))
    every = drawn.reshape(-1, drawn.shape[-1])
    some = every[np.linspace(0, len(every) - 1, number).astype(int)]
    index = kind.indices(spec, footage, some)["frames"]
    frames = [videos[row[0]].read(own) for row, own in zip(some, index, strict=True)]
    batch = kind.batch(spec, {"frames": np.stack(frames)}, some, np.ones(number, bool))
    return jax.tree.map(np.array, batch)


def stages(method, variables):
    """Each stage with variables in its layout."""
    for stage in method.stages:
        yield stage, stage.begin(variables)


# Hands a gradient on as it is and keeps it in its slot.
KEPT = optax.GradientTransformation(
    init=lambda params: jax.tree.map(jnp.zeros_like, params),
    update=lambda gradients, slot, params: (gradients, gradients),
)


def transform_of(stage, begun):
    """The stage's optimiser behind `KEPT`: its slots are the second of a pair."""
    transform = stage.optimizer(steps_per_epoch=STEPS, steps=STEPS)
    return optax.chain(KEPT, optim.only(transform, stage.trainable, begun["params"]))


_STEPS = {}  # stage → its step under jit


def step_for(stage, begun):
    if stage not in _STEPS:
        _STEPS[stage] = jax.jit(train_step(stage, transform_of(stage, begun)))
    return _STEPS[stage]


def stepped(stage, begun, batch):
    """One step from fresh slots: the moved variables and slots, and the metrics."""
    slots = transform_of(stage, begun).init(begun["params"])
    return jax.device_get(step_for(stage, begun)(begun, slots, batch, jax.random.key(3)))


def gradient(stage, variables, batch):
    """Loss, moved state, parts and gradients of the stage in training."""
    moved, (gradients, _), metrics = stepped(stage, variables, batch)
    return metrics["loss"], moved["state"], metrics["parts"], gradients


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
    flat = configs.flatten(config)
    for key in configs.module(config.method).KEYS:
        assert key in flat, key


def test_jit_is_eager(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        args = (begun["params"], begun["state"], batch, jax.random.key(3))
        loss, (state, parts) = stage.loss(*args, train=True)
        same((loss, state, parts), gradient(stage, begun, batch)[:3])
    batch = example(method.inputs)
    carry = method.start(variables)
    jitted = compiled(method, maps=True)(variables, carry, batch)
    same(method.score(variables, carry, batch), jitted)


def test_evaluation_leaves_the_state_as_it_was(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        _, (state, _) = stage.loss(begun["params"], begun["state"], batch, None, train=False)
        same(state, begun["state"], atol=0)


def test_loss_falls_in_every_stage(method, variables):
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        slots, step = transform_of(stage, begun).init(begun["params"]), step_for(stage, begun)
        losses = []
        for number in range(STEPS):
            begun, slots, metrics = step(begun, slots, batch, jax.random.key(number))
            losses.append(float(metrics["loss"]))
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3]), stage.name


def test_what_is_not_trainable_stays_to_the_bit_and_has_no_slot(method, variables):
    for stage, begun in stages(method, variables):
        moved, (_, slots), _ = stepped(stage, begun, example(stage.inputs))
        before = dict(subsets.named(begun["params"]))
        for path, leaf in subsets.named(moved["params"]):
            if not stage.trainable(path):
                np.testing.assert_array_equal(leaf, before[path], err_msg=path)
        frozen = [path for path in before if not stage.trainable(path)]
        for path in frozen:
            assert not any(name.endswith(path) for name, _ in subsets.named(slots)), path


def test_a_masked_row_changes_nothing(method, variables):
    rng = np.random.default_rng(0)
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        batch["mask"] = np.array([True, True, False, True])
        other = {name: value.copy() for name, value in batch.items()}
        for value in other.values():
            if value.dtype == np.uint8:
                value[2] = rng.integers(0, 256, value[2].shape)
        same(stepped(stage, begun, batch), stepped(stage, begun, other), atol=1e-12)


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
    score = compiled(method, maps=True)
    carry, scores = score(variables, method.start(variables), batch)
    for part in scores.parts.values():
        np.testing.assert_array_equal(np.isnan(part).all(axis=1), ~batch["mask"])
    one = {name: value[2:3] for name, value in batch.items()}
    alone, _ = score(variables, method.start(variables), one)
    same(carry, alone)
    batch["mask"] = np.zeros(4, bool)
    unmoved, _ = score(variables, method.start(variables), batch)
    same(unmoved, method.start(variables), atol=0)


def bare(stage):
    """A step whose slots are the gradient and nothing else (Adam's: `learning/test_loop.py`)."""
    return train_step(stage, KEPT)


def same_gradient(found, expected):
    """Loss, parts, moved state and gradient of a bare step are those of a step of the stage."""
    (moved, slot, metrics), (whole, (gradients, _), numbers) = found, expected
    same((moved["state"], slot, metrics), (whole["state"], gradients, numbers))


def test_four_devices_are_one(method, variables):
    assert len(jax.devices()) >= 4
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        over = mesh.make(4, jax.devices()[:4])
        placed = mesh.copy(over, (begun, KEPT.init(begun["params"])))
        found = jax.jit(bare(stage))(*placed, mesh.split(over, batch), jax.random.key(3))
        assert jax.tree.leaves(found)[0].sharding.num_devices == 4
        same_gradient(jax.device_get(found), stepped(stage, begun, batch))


def test_pmap_with_one_batch_replicated_and_a_row_left_out_is_jit_with_it_masked(method, variables):
    """Two laws by one program: devices that each see all, and a batch of three rows."""
    for stage, begun in stages(method, variables):
        batch = example(stage.inputs)
        batch["mask"] = np.array([True, True, False, True])
        three = {name: value[batch["mask"]] for name, value in batch.items()}
        args = (begun, KEPT.init(begun["params"]), three, jax.random.key(3))
        replicated = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), args)
        found = jax.pmap(bare(stage), devices=jax.devices()[:2])(*replicated)
        expected = stepped(stage, begun, batch)
        for device in range(2):
            same_gradient(jax.tree.map(lambda leaf, d=device: leaf[d], found), expected)


def test_rows_of_one_call_are_calls_of_one_row(method, variables):
    batch = example(method.inputs)
    score = compiled(method, maps=True)
    carry, scores = score(variables, method.start(variables), batch)
    one_by_one = method.start(variables)
    for row in range(4):
        single = {name: value[row : row + 1] for name, value in batch.items()}
        one_by_one, alone = score(variables, one_by_one, single)
        same({k: v[row : row + 1] for k, v in scores.parts.items()}, alone.parts)
    same(carry, one_by_one)


def test_a_stream_is_the_whole_video_bit_for_bit(method, variables):
    clip = video(method.inputs, 1, method.inputs.span + 9)
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
    clips = [video(spec, i, length) for i, length in enumerate(lengths)]

    def scored(**options):
        maps = {}
        found = score_videos(
            method, variables, clips, anew=True, **options,
            each=lambda name, first, scores: maps.setdefault(name, []).append(scores.maps),
        )  # fmt: skip
        return list(found), {name: np.concatenate(own) for name, own in maps.items()}

    alone, drawn = scored(streams=1)
    for streams, each in ((2, 3), (8, None)):
        found, maps = scored(streams=streams, rows=each)
        same(maps, drawn)
        for one, other in zip(alone, found, strict=True):
            assert (one.name, one.length) == (other.name, other.length)
            np.testing.assert_array_equal(one.first, other.first)
            same(one.parts, other.parts)


def test_nothing_recompiles_between_videos_or_on_a_last_batch(method, variables):
    spec = method.inputs
    clips = [video(spec, i, spec.span + extra) for i, extra in ((0, 7), (1, 20))]
    clips.append(video(spec, 2, max(spec.span - 1, 1)))
    score = compiled(method, maps=False)
    list(score_videos(method, variables, clips[:1]))
    before = score._cache_size()
    found = list(score_videos(method, variables, clips))
    assert score._cache_size() == before
    assert [scores.length for scores in found] == [len(clip) for clip in clips]


def test_the_fused_stream_is_the_fused_file(method, variables, config):
    statistics = {
        name: {"mean": 1.0, "std": 2.0}
        for name in jax.eval_shape(
            method.score, variables, method.start(variables), example(method.inputs)
        )[1].parts
    }
    evaluation.check(method.fusion)
    detector = Detector(method, variables, statistics, 1.0, config, {"step": 0})
    clip = list(video(method.inputs, 1, method.inputs.span + 9).stream())
    clip[method.inputs.span + 2] = None  # a lost frame
    file, stream = detector.score(clip).score, detector.stream()
    said = [pair for frame in clip for pair in stream.push(frame)] + stream.flush()
    np.testing.assert_array_equal([place for place, _ in said], np.flatnonzero(~np.isnan(file)))
    np.testing.assert_allclose([score for _, score in said], file[~np.isnan(file)], atol=EQUAL)


def test_begin_and_finish_undo_each_other(method, variables):
    for stage in method.stages:
        same(stage.finish(stage.begin(variables)), variables, atol=0)


def test_a_checkpoint_gives_back_every_bit(method, variables, tmp_path):
    for stage, begun in stages(method, variables):
        begun, slots, _ = stepped(stage, begun, example(stage.inputs))
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
    if jax.tree.leaves(variables["params"]):
        assert losses[2] < losses[0]
    unchanged, none = adapt(variables, support, steps=0)
    same(unchanged, variables, atol=0)
    assert none.shape == (0,)


def test_pictures_describe_themselves(method, variables):
    spec, batch = method.inputs, example(method.inputs)
    drawn = jax.jit(method.pictures)(variables, batch)
    assert "target" in drawn
    for name, picture in drawn.items():
        assert picture.title, name
        assert picture.kind in ("image", "maps", "vectors"), name
        assert picture.image.ndim == 5, name
        assert picture.image.shape[:2] == (4, len(spec.scored)), name
        assert np.isfinite(picture.image).all(), name
        low, high = picture.range
        assert low <= float(jnp.min(picture.image)) <= float(jnp.max(picture.image)) <= high, name
        if picture.kind == "image":
            assert picture.image.shape[-1] in (1, spec.channels), name
        if picture.anchors is not None:
            assert picture.anchors.shape[1:] == picture.image.shape[-1:], name
            assert picture.anchors_title, name
