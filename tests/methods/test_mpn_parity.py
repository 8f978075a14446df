"""MPN against arrays of the authors' published modules in float64, and of the printed formulas.

The arrays are described in `tests/data/README.md`; weights come from a recipe, by name.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.mpn import (
    FORWARD,
    META,
    agree_in_theta,
    agrees,
    batch,
    episode,
    fixture_config,
    has,
    nchw,
    pair,
    weights,
    windows,
    with_step_sizes,
)

import vad_jax
from vad_jax import evaluation
from vad_jax.interop import torch
from vad_jax.learning import stage_run
from vad_jax.methods import mpn
from vad_jax.nets import prototypes
from vad_jax.nets.pixels import sees_and_target

# Here, too, less time in all than compiled fast: 63 s of one core against 83.
pytestmark = pytest.mark.usefixtures("x64", "fully_optimised")

VARIANTS = ("code", "paper")
PARTS = ("frame", "compact", "diverse")
PREFIX = {"code": "", "paper": "paper/"}


@pytest.fixture(scope="module")
def tensors(x64):
    return weights()


@pytest.fixture(scope="module")
def variables(tensors):
    return torch.variables(fixture_config(), tensors)


@pytest.fixture(scope="module")
def forward(variables, fully_optimised):
    """All between frames and prediction, of both variants, in one program."""
    models = {variant: mpn.Model(fixture_config(variant=variant)) for variant in VARIANTS}
    encoder = mpn.Model(fixture_config(plug="1/8"))

    @jax.jit
    def run(params, example):
        x, _ = sees_and_target(encoder.spec, example["frames"], jnp.float64)
        found = {}
        for name, model in {"encoder": encoder, **models}.items():
            found[name] = dict(zip(("raw", "skips"), model.net.apply(
                {"params": params}, x, method="before"), strict=True))  # fmt: skip
        for name, model in models.items():
            features = model.features(params, example["frames"], example["mask"])
            updated, seen = model.unit(params, features)
            output = model.frame(params, updated, features["skips"])
            found[name] |= {**seen, "map": features["map"], "updated": updated, "output": output}
        return found

    return jax.device_get(run(variables["params"], pair()))


@pytest.fixture(scope="module")
def gradients(variables, fully_optimised):
    """Part of the loss → variant → its gradient, the loss and all its parts; by one program."""
    stages = {
        variant: vad_jax.create(fixture_config(variant=variant, stage_names=("joint",))).stages[0]
        for variant in VARIANTS
    }

    @jax.jit
    def both(params, share):
        def some(params, stage):
            total, (_, parts) = stage.loss(params, {}, pair(), None, train=True)
            return sum(s * parts[name] for s, name in zip(share, PARTS, strict=True)), (
                total,
                parts,
            )

        return {
            variant: jax.grad(some, has_aux=True)(params, stage)
            for variant, stage in stages.items()
        }

    return {
        name: jax.device_get(both(variables["params"], share))
        for name, share in zip(PARTS, np.eye(3), strict=True)
    }


@functools.cache
def scorer():
    """Parts of both variants by one program."""
    methods = [vad_jax.create(fixture_config(variant=variant)) for variant in VARIANTS]

    @jax.jit
    def score(variables, example):
        code, paper = (method.score(variables, (), example)[1].parts for method in methods)
        return {**code, **paper}

    return score


@pytest.fixture(scope="module")
def adapted(x64, fully_optimised):
    """(variant, weights, steps) → what `adapt` gives on each of two supports, by one program."""
    cases = [
        (variant, of, steps)
        for variant, of in (("code", "published"), ("code", "training"), ("paper", "training"))
        for steps in (1, 2)
    ]
    methods = {
        (variant, of): vad_jax.create(fixture_config(variant=variant, adapt_weights=of))
        for variant, of, _ in cases
    }

    @jax.jit
    def adapt(variables, support):
        return {
            (variant, of, steps): methods[variant, of].adapt(
                variables[variant], support, steps=steps
            )
            for variant, of, steps in cases
        }

    supports = {
        "scene": batch(windows(FORWARD["frames/0"])[: int(META["kshot/K"])]),
        "episode": batch(episode(0)["support"][0]),
    }
    return {name: adapt(with_step_sizes(), support) for name, support in supports.items()}


class TestForward:
    def test_what_is_in_front_of_the_unit(self, forward):
        agrees(FORWARD, "bottleneck", nchw(forward["encoder"]["raw"]))
        assert len(forward["encoder"]["skips"]) == 3
        agrees(FORWARD, "features_raw", nchw(forward["code"]["raw"]))
        assert forward["code"]["skips"] == ()
        agrees(FORWARD, "features", nchw(forward["code"]["map"]))
        agrees(FORWARD, "attention", forward["code"]["attention"])

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_unit_and_the_frame(self, forward, variant):
        seen, key = forward[variant], PREFIX[variant]
        agrees(FORWARD, f"{key}beta", seen["match"])
        nearest = np.argmax(seen["match"], axis=-1)
        np.testing.assert_array_equal(nearest, FORWARD[f"{key}nearest"])
        agrees(FORWARD, f"{key}retrieved", seen["rebuilt"])
        agrees(FORWARD, f"{key}updated", nchw(seen["updated"]))
        agrees(FORWARD, f"{key}output", nchw(seen["output"]))

    def test_prototypes_of_the_paper_are_those_of_the_code_before_their_norm(self, forward):
        agrees(FORWARD, "prototypes_unit", forward["code"]["prototypes"])
        agrees(FORWARD, "prototypes", forward["paper"]["prototypes"])
        agrees(FORWARD, "attention", forward["paper"]["attention"])

    def test_what_evaluation_returns(self, forward):
        seen = forward["code"]
        agrees(FORWARD, "eval/output", nchw(seen["output"]))
        square = jax.vmap(prototypes.squared_distances)(
            *(jnp.asarray(seen[name]) for name in ("pixels", "prototypes", "similarity", "match"))
        )
        agrees(FORWARD, "eval/feature_error", square / 128)

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_losses_and_gradients_of_each_part(self, gradients, variant):
        config, key = fixture_config(variant=variant), PREFIX[variant]
        assert [config.weights[name] for name in PARTS] == FORWARD[f"lambda_{variant}"].tolist()
        for name in PARTS:
            found, (total, parts) = gradients[name][variant]
            agrees(FORWARD, f"{key}loss_{name}", parts[name])
            agrees(FORWARD, f"{key}loss_total", total)
            compared = 0
            for tensor, value in torch.tensors(fixture_config(), found).items():
                if has(FORWARD, f"{key}grad_{name}/{tensor}"):
                    agrees(FORWARD, f"{key}grad_{name}/{tensor}", value)
                    compared += 1
                else:
                    np.testing.assert_array_equal(value, 0, err_msg=tensor)
            assert compared == (41 if name == "frame" else 35)

    def test_two_steps_of_adam(self, variables):
        stage = vad_jax.create(fixture_config()).stages[0]
        optimizer = stage.optimizer(steps_per_epoch=2, steps=2)
        step = jax.jit(stage_run.train_step(stage, optimizer))
        slots, losses = optimizer.init(variables["params"]), []
        for number in range(2):
            variables, slots, metrics = step(variables, slots, pair(), jax.random.key(number))
            losses.append(metrics["loss"])
        agrees(FORWARD, "adam2/losses", losses)
        for name, value in torch.tensors(fixture_config(), variables).items():
            agrees(FORWARD, f"adam2/{name}", value)


@pytest.fixture(scope="module")
def parts(variables):
    """Of both variants: name → one array a video."""
    videos = [scored(variables, f"frames/{video}") for video in (0, 1)]
    return {name: [video[name] for video in videos] for name in videos[0]}


class TestScores:
    @pytest.mark.parametrize("video", [0, 1])
    def test_parts_of_every_window(self, parts, video):
        key = f"score/{video}"
        for name in ("psnr_frame", "psnr_feature"):
            agrees(FORWARD, f"{key}/{name}", parts[name][video])
        mean_square = 10 ** (-parts["psnr_frame"][video] / 10)
        agrees(FORWARD, f"{key}/mse_frame", mean_square)
        agrees(FORWARD, f"{key}/mse_feature", 10 ** (-parts["psnr_feature"][video] / 10))
        agrees(FORWARD, f"{key}/paper_S_frame", parts["error_frame"][video])
        agrees(FORWARD, f"{key}/paper_S_feature", parts["error_feature"][video])

    @pytest.mark.parametrize(
        ("result", "key"),
        [("fused", "fused"), ("frame_only", "smooth_frame"), ("feature_only", "smooth_feature")],
    )
    def test_scores_of_the_code(self, parts, result, key):
        fusion = vad_jax.create(fixture_config()).fusion
        fused = evaluation.fuse(fusion, parts, None, "paper", result=result)
        plain = evaluation.fuse(fusion, parts, None, "paper", result=result, smoothed=False)
        for video in (0, 1):
            agrees(FORWARD, f"score/{video}/{key}", turned(fused[video]))
            if key != "fused":
                agrees(
                    FORWARD, f"score/{video}/{key.replace('smooth', 'minmax')}", 1 - plain[video]
                )
        if key == "fused":
            assert auc(fused) == pytest.approx(float(FORWARD["score/auc"]), abs=1e-12)

    def test_the_kernel(self):
        (taps,) = [
            op[1] for op in vad_jax.create(fixture_config()).fusion.paper if op[0] == "smooth"
        ]
        agrees(FORWARD, "score/smoothing_kernel", taps)

    def test_scores_of_the_paper(self, parts):
        fusion = vad_jax.create(fixture_config(variant="paper")).fusion
        fused = evaluation.fuse(fusion, parts, None, "paper")
        for video in (0, 1):
            # `fuse` divides by the weights, which add up to two.
            agrees(FORWARD, f"score/{video}/paper_S", 2 * fused[video])


def turned(strangeness):
    """Smoothed strangeness as the authors' smoothed normality.

    The kernel's sum s is a little under one, so that the complement of a smoothed score is not the
    smoothed complement: `K(1 - x) = s - K(x)`.
    """
    return np.sum(FORWARD["score/smoothing_kernel"]) - strangeness


def auc(videos):
    labels = np.concatenate([FORWARD[f"labels/{video}"][4:] for video in (0, 1)])
    return roc_auc_score(labels, np.concatenate(videos))


def scored(variables, key, first=0):
    """Parts of every window of a video from `first` on; padded to one shape, 22 windows."""
    frames = windows(FORWARD[key])
    number = len(frames)
    padded = np.concatenate([frames, np.repeat(frames[:1], 22 - number, axis=0)])
    found = scorer()(variables, batch(padded, mask=np.arange(22) < number))
    return {name: np.asarray(part)[first:number, 0] for name, part in found.items()}


@pytest.mark.parametrize(
    ("tag", "of", "steps"),
    [
        ("code_T1", "published", 1),
        ("code_T2", "published", 2),
        ("code_trainweights_T1", "training", 1),
        ("paper_T1", "training", 1),
    ],
)
def test_a_new_scene_in_two_shots(adapted, tag, of, steps):
    variant, key, shots = tag.partition("_")[0], f"kshot/{tag}", int(META["kshot/K"])
    variables, losses = adapted["scene"][variant, of, steps]
    agrees(META, f"{key}/support_losses", losses)
    agree_in_theta(META, f"{key}/theta1", variables)
    parts = scored(variables, "frames/0", first=shots)
    if variant == "code":
        found = {part: 10 ** (-parts[f"psnr_{part}"] / 10) for part in ("frame", "feature")}
    else:  # the length of the difference in -1..1, over 3 · 32 · 32 values
        frame = parts["error_frame"] ** 2 / (4 * 3 * 32 * 32)
        found = {"frame": frame, "feature": parts["error_feature"]}
    for part, value in found.items():
        agrees(META, f"{key}/mse_{part}", value)
        agrees(META, f"{key}/psnr_{part}", -10 * np.log10(value))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_after_the_inner_steps(adapted, variant, steps):
    variables, losses = adapted["episode"][variant, "training", steps]
    for order in (1, 2):
        key = f"{variant}/T{steps}/order{order}"
        agrees(META, f"{key}/inner_losses", losses)
        agree_in_theta(META, f"{key}/theta1", variables)
