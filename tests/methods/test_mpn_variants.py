"""Every option of MPN has its effect, at the smallest size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.footage import frames_of
from support.mpn import small_config

import vad_jax
from vad_jax import evaluation
from vad_jax.data import rows, spans
from vad_jax.data.footage import Footage
from vad_jax.datasets.synthetic import videos as synthetic
from vad_jax.methods import mpn
from vad_jax.types import EpisodeSpec

META = {"stage_names": ("joint", "meta"), "meta.step_size": 0.02}


@functools.cache
def footage():
    return synthetic.video(0, 0, synthetic.TRAIN, 0, frames=40, height=16, width=16).frames


def batch(number=3):
    first = np.arange(number, dtype=np.int32) * 4
    return {
        "frames": footage()[first[:, None] + np.arange(5)],
        "mask": np.ones(number, bool),
        "video": np.zeros(number, np.int32),
        "frame": first,
    }


def episodes(spec, number=2):
    kind, every = rows.kind(spec), Footage([frames_of(footage())] * number)
    some = kind.in_order(spec, every, batch_size=number)[0][0]
    taken = {"frames": footage()[kind.indices(spec, every, some)["frames"]]}
    return jax.tree.map(np.asarray, kind.batch(spec, taken, some, np.ones(number, bool)))


@functools.cache
def variables():
    """Of the default, with step sizes; every config here but for its prototypes has these."""
    return jax.jit(vad_jax.create(small_config(**META)).init)(jax.random.key(0))


def method(**changes):
    return vad_jax.create(small_config(**changes))


def loss_of(params, **changes):
    stage = method(**changes).stages[0]
    loss, (_, parts) = jax.jit(functools.partial(stage.loss, train=True))(params, {}, batch(), None)
    return float(loss), {name: float(value) for name, value in parts.items()}


@functools.cache
def joint_loss():
    return loss_of(variables()["params"])


def test_the_first_attention_weights_are_scaled():
    one, three = (
        jax.jit(method(attention_scale=scale).init)(jax.random.key(0))["params"]
        for scale in (1.0, 3.0)
    )
    np.testing.assert_allclose(
        three["prototype"]["kernel"], 3 * one["prototype"]["kernel"], rtol=1e-6
    )
    bound = 1 / np.sqrt(8)
    largest = np.abs(one["prototype"]["kernel"]).max()
    assert 0.8 * bound < largest <= bound
    np.testing.assert_array_equal(
        three["decoder"]["out"]["kernel"], one["decoder"]["out"]["kernel"]
    )


@pytest.mark.parametrize("option", ["temperature.attention", "temperature.match"])
def test_temperatures_sharpen_what_they_are_named_after(option):
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(size=(12, 8))).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    weights = rng.normal(size=(8, 4)).astype(np.float32)
    name = option.rpartition(".")[2]
    peaks = []
    for value in (0.2, 1.0, 5.0):
        _, seen = mpn.Model(small_config(**{option: value})).dynamic(weights, features)
        peaks.append(float(seen[name].max()))
        np.testing.assert_allclose(seen[name].sum(axis=0 if name == "attention" else 1), 1, 1e-5)
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > 1.5 * peaks[2]


def test_weights_enter_the_loss():
    total, parts = joint_loss()
    assert total == pytest.approx(
        parts["frame"] + parts["compact"] + 1e-4 * parts["diverse"], rel=1e-6
    )
    changes = {"weights.frame": 2.0, "weights.compact": 3.0, "weights.diverse": 4.0}
    total, same = loss_of(variables()["params"], **changes)
    assert total == pytest.approx(
        2 * parts["frame"] + 3 * parts["compact"] + 4 * parts["diverse"], rel=1e-5
    )
    assert same == pytest.approx(parts, rel=1e-5)


def test_the_log_shows_that_prototypes_at_the_start_are_alike():
    _, parts = joint_loss()
    assert {"pair_distance", "pair_distance_least", "attention_peak", "popular"} <= set(parts)
    assert parts["pair_cosine"] > 0.99
    assert 0 < parts["pair_distance_least"] <= parts["pair_distance"] < 0.2
    assert parts["attention_peak"] >= 1
    assert 0 < parts["attention_entropy"] <= np.log(256) + 1e-4
    assert 0 < parts["match_entropy"] <= np.log(4) + 1e-5
    assert 0.25 <= parts["popular"] <= 1
    remark = method().stages[0].remark
    assert "nearly one" in remark(parts)
    assert remark({**parts, "pair_cosine": 0.98}) is None
    assert remark({"frame": 0.1}) is None  # of one prototype there are no pairs


def test_the_guard_of_the_papers_matching_is_said_where_the_map_has_signs():
    for plug, said in (("1/8", True), ("1/4", False)):
        remark = method(variant="paper", plug=plug, stage_names=("joint",)).stages[0].remark
        assert (remark({"frame": 0.1}) is not None) == said
    assert method(plug="1/8").stages[0].remark({"frame": 0.1}) is None


def test_without_prototypes_it_is_the_plain_autoencoder_of_the_first_stage():
    params = {name: tree for name, tree in variables()["params"].items() if name != "prototype"}
    plain, parts = loss_of(params, prototypes=0)
    first, other = loss_of(variables()["params"], stage_names=("pretrain",))
    assert plain == first
    assert parts == other
    assert set(parts) == {"frame"}
    assert plain != joint_loss()[1]["frame"]  # nothing was added to the map
    bare = method(prototypes=0)
    _, scores = jax.jit(bare.score)({"params": params, "state": {}}, (), batch())
    assert set(scores.parts) == {"psnr_frame"}
    found = evaluation.fuse(bare.fusion, {"psnr_frame": np.arange(20.0)}, None, "paper")
    assert found[0] > found[-1]  # a good prediction is not strange
    shapes = jax.eval_shape(bare.init, jax.random.key(0))
    assert "prototype" not in shapes["params"]
    begun = method(prototypes=0, **META).stages[1].begin({"params": params, "state": {}})
    assert set(begun["params"]["init"]) == {"decoder"}


def test_the_first_stage_leaves_the_unit_alone():
    stage = method(variant="paper").stages[0]
    assert stage.name == "pretrain"
    assert not stage.trainable("prototype/kernel")
    assert stage.trainable("decoder/out/kernel")


def test_meta_training_alone_says_what_it_freezes_untrained():
    assert "freezes" in method(stage_names=("meta",)).stages[0].builds_on
    assert method(**META).stages[0].builds_on is None


def test_a_share_of_the_score_belongs_to_each_part():
    frame, feature = np.array([30.0, 20.0, 25.0, 22.0]), np.array([40.0, 44.0, 46.0, 48.0])
    videos = {"psnr_frame": frame, "psnr_feature": feature}

    def fused(part, share):
        return evaluation.fuse(
            method(**{"weights.score": share}).fusion, part, None, "paper", smoothed=False
        )

    scaled = [(x.max() - x) / (x.max() - x.min()) for x in (frame, feature)]
    for share in (0.0, 0.3, 1.0):
        expected = share * scaled[0] + (1 - share) * scaled[1]
        np.testing.assert_allclose(fused(videos, share), expected, atol=1e-12)
    errors = {"error_frame": frame, "error_feature": feature}
    ranked = evaluation.fuse(
        method(variant="paper", **{"weights.score": 3.0}).fusion, errors, None, "paper"
    )
    np.testing.assert_allclose(ranked, (frame + 3 * feature) / 4)


def test_softplus_maps_step_sizes_and_begins_where_identity_does():
    config = small_config(step_size_map="softplus", **META)
    model, (_, stage) = mpn.Model(config), vad_jax.create(config).stages
    theta, _ = model.split(variables()["params"])
    raw = model.step_sizes(theta)
    for leaf in jax.tree.leaves(model.mapped(raw)):
        np.testing.assert_allclose(leaf, 0.02, rtol=1e-5)
    below = jax.tree.map(lambda leaf: leaf - 9, raw)
    assert all((leaf > 0).all() for leaf in jax.tree.leaves(model.mapped(below)))
    whole = {**variables(), "state": {"step_size": raw}}
    jax.tree.map(np.testing.assert_array_equal, stage.finish(stage.begin(whole)), whole)
    plain = mpn.Model(small_config(**META))
    jax.tree.map(np.testing.assert_array_equal, plain.mapped(below), below)


@functools.cache
def meta_gradient(number=2, **changes):
    stage = method(**{**META, **changes}).stages[1]
    begun = stage.begin(
        variables() if "step_size_map" not in changes else {**variables(), "state": {}}
    )
    loss = functools.partial(stage.loss, train=True)
    (total, (state, parts)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        begun["params"], begun["state"], episodes(stage.inputs, number), None
    )
    jax.tree.map(np.testing.assert_array_equal, state, begun["state"])
    return jax.device_get((total, parts, gradient))


@pytest.mark.parametrize(
    ("number", "changes"),
    [(2, {"meta.remat": True}), (2, {"meta.chunk": 1}), (3, {"meta.chunk": 2})],
)
def test_what_saves_memory_gives_the_same_numbers(number, changes):
    """Steps computed again; episodes one after another; chunks of which the last is smaller."""
    changes = {**changes, "stages.meta.batch_size": number}
    plain, again = meta_gradient(number), meta_gradient(number, **changes)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max()),
        again, plain,
    )  # fmt: skip


def test_episodes_in_chunks_go_through_one_loop():
    """Which without them are side by side: no loop at all with one inner step."""

    def loops(**changes):
        stage = method(**{"stages.meta.batch_size": 4, **META, **changes}).stages[1]
        begun = stage.begin(variables())
        example = episodes(stage.inputs, 4)
        made = jax.make_jaxpr(functools.partial(stage.loss, train=True))(
            begun["params"], begun["state"], example, None
        )
        return [e.params["length"] for e in made.eqns if e.primitive.name == "scan"]

    assert loops() == []
    assert loops(**{"meta.chunk": 2}) == [2]


def test_softplus_enters_the_gradient_of_the_step_sizes():
    """The same steps; the chain rule through softplus at 0.02 is 1 - exp(-0.02)."""
    total, _, plain = meta_gradient()
    same, parts, mapped = meta_gradient(step_size_map="softplus")
    assert same == pytest.approx(total, rel=1e-5)
    assert parts["step_size_mean"] == pytest.approx(0.02, rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, (1 - np.exp(-0.02)) * b, rtol=1e-3, atol=1e-5 * np.abs(a).max()
        ),
        mapped["step_size"], plain["step_size"],
    )  # fmt: skip


def test_the_log_of_meta_training_has_both_losses_and_the_step_sizes():
    total, parts, _ = meta_gradient()
    assert parts["inner"] > total  # a step on the support helps on the query
    assert parts["step_size_negative"] == 0
    for name in ("least", "mean", "most"):
        assert parts[f"step_size_{name}"] == pytest.approx(0.02)
    assert total == pytest.approx(
        parts["frame"] + parts["compact"] + 1e-4 * parts["diverse"], rel=1e-5
    )


def test_windows_that_a_short_video_has_not_got_change_nothing():
    stage = method(**META).stages[1]
    begun, whole = stage.begin(variables()), episodes(stage.inputs)
    whole["query_mask"] = np.array([[True, False]] * 2)
    other = {**whole, "query": whole["query"].copy()}
    other["query"][:, 1] = 255 - other["query"][:, 1]
    loss = jax.jit(functools.partial(stage.loss, train=True))
    (found, _), (again, _) = (
        loss(begun["params"], begun["state"], e, None) for e in (whole, other)
    )
    assert found == again
    counted = {**other, "query_mask": np.ones((2, 2), bool)}
    assert loss(begun["params"], begun["state"], counted, None)[0] != again


def adapted(**changes):
    support = jax.tree.map(lambda leaf: leaf[:2], batch())
    this = method(**changes)
    start = {**variables(), "state": {}} if "adapt.learning_rate" in changes else variables()
    return jax.jit(functools.partial(this.adapt, steps=1))(start, support)


def test_published_weights_of_adaptation():
    support = jax.tree.map(lambda leaf: leaf[:2], batch())
    stage = method().stages[0]
    _, (_, parts) = jax.jit(functools.partial(stage.loss, train=True))(
        variables()["params"], {}, support, None
    )
    frame, compact, diverse = (float(parts[name]) for name in ("frame", "compact", "diverse"))
    found, expected = adapted(adapt_weights="published")[1], frame + 0.1 * compact + 0.1 * diverse
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    found, expected = adapted()[1], frame + compact + 1e-4 * diverse
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_without_learned_step_sizes_the_rate_is_that_of_adaptation():
    learned = variables()["params"]["decoder"]["out"]["bias"]
    moved = [
        adapted(**{"adapt.learning_rate": rate})[0]["params"]["decoder"]["out"]["bias"] - learned
        for rate in (0.02, 0.04)
    ]
    by_sizes = adapted()[0]["params"]["decoder"]["out"]["bias"] - learned
    np.testing.assert_allclose(moved[0], by_sizes, rtol=1e-4)
    np.testing.assert_allclose(moved[1], 2 * moved[0], rtol=1e-3)


def test_sampling_and_episodes_reach_the_rows():
    joint, meta = method(
        sampling="video_batch", episodes="published", **META, **{"meta.support": 3, "meta.query": 4}
    ).stages
    assert (joint.inputs.segments, joint.inputs.row) == (32, None)
    assert meta.inputs.row == EpisodeSpec(support=3, query=4, segments=32)
    joint, meta = method(**META).stages
    assert joint.inputs.segments == 0
    assert meta.inputs.row == EpisodeSpec(support=2, query=2, segments=0)
    assert method(sampling="video_batch").inputs.segments == 0  # what is scored


def test_input_keys_reach_the_windows():
    spec = method(**{"input.stride": 2, "input.step": 3, "input.channels": 3}).inputs
    assert (spec.span, spec.step, spec.colour) == (9, 3, "bgr")
    assert spans.starts(spec, 15).tolist() == [0, 3, 6]


def test_bfloat16_computes_in_it_and_keeps_the_unit_in_float32():
    total, parts = joint_loss()
    halved, close = loss_of(variables()["params"], precision="bfloat16")
    assert halved != total
    assert halved == pytest.approx(total, rel=0.02)
    assert close["compact"] == pytest.approx(parts["compact"], rel=0.05)
    model = mpn.Model(small_config(precision="bfloat16"))
    shapes = jax.eval_shape(
        lambda p: model.features(p, batch()["frames"], batch()["mask"]), variables()["params"]
    )
    assert shapes["map"].dtype == jnp.float32
