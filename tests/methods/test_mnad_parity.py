"""MNAD against arrays that the authors' published network, losses and script wrote in float64.

The arrays are described in `tests/data/README.md`; weights come from a recipe, by name.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import roc_auc_score
from support.mnad import (
    EVAL,
    FRAMES,
    TENSORS,
    TEST,
    TRAIN,
    agrees,
    batch,
    fixture_config,
    items,
    nchw,
    weights,
    windows,
)

from vad_jax import create
from vad_jax.interop import torch
from vad_jax.methods import mnad
from vad_jax.nets import memory
from vad_jax.nets.pixels import numbers

pytestmark = pytest.mark.usefixtures("x64", "fully_optimised")


@pytest.fixture(scope="module")
def recipe_variables(x64):
    return torch.variables(fixture_config(), weights("prediction"), memory=items())


@pytest.fixture(scope="module")
def model(x64):
    return mnad.Model(fixture_config())


class TestMemoryAlone:
    query = EVAL["unit/query"].reshape(2, 12, 8)
    flat = EVAL["unit/query"].reshape(24, 8)
    items = EVAL["unit/memory"]

    def test_read(self):
        answers, match = memory.read(self.flat, self.items)
        agrees(EVAL, "unit/softmax_memory", match)
        agrees(EVAL, "unit/read", answers.reshape(2, 3, 4, 8))

    def test_losses_and_their_gradients(self):
        def shaping(query):
            near, second = memory.two_nearest(memory.matching(query, self.items))
            return (
                memory.compactness(query, self.items, near),
                memory.separateness(query, self.items, near, second, 1.0),
            )

        compact, separate = shaping(self.flat)
        agrees(EVAL, "unit/compact", compact)
        agrees(EVAL, "unit/separate", separate)
        for i, name in enumerate(("compact", "separate")):
            gradient = jax.grad(lambda q, i=i: shaping(q)[i])(self.flat)
            agrees(EVAL, f"unit/grad_{name}", gradient.reshape(2, 3, 4, 8))

    @pytest.mark.parametrize(("variant", "key"), [("code", "unit"), ("paper", "unit/paper")])
    def test_gradient_of_what_the_decoder_gets(self, variant, key):
        model = mnad.Model(fixture_config(variant=variant))

        def decoder_in(query):
            answers, _ = model.read(query, self.items)
            code = jnp.concatenate([query, answers], axis=-1)
            return jnp.sum(EVAL["unit/decoder_in_weight"].reshape(24, 16) * code)

        gradient = jax.grad(decoder_in)(self.flat)
        agrees(EVAL, f"{key}/grad_decoder_in", gradient.reshape(2, 3, 4, 8))

    def test_updates(self):
        counts = np.ones(24, bool)
        moved = memory.update(self.flat, self.items, counts)
        agrees(EVAL, "unit/memory1", moved)
        for _ in range(2):
            moved = memory.update(self.flat, moved, counts)
        agrees(EVAL, "unit/memory3", moved)
        own = memory.update(self.flat, self.items, counts, peak="own")
        agrees(EVAL, "unit/paper/memory1", own)

    def test_paper_losses_and_distance(self):
        model = mnad.Model(fixture_config(variant="paper"))
        near, second = jax.vmap(lambda q: memory.two_nearest(memory.matching(q, self.items)))(
            jnp.asarray(self.query)
        )
        compact, separate = jax.vmap(model.shaping, in_axes=(0, None, 0, 0))(
            jnp.asarray(self.query), jnp.asarray(self.items), near, second
        )
        agrees(EVAL, "unit/paper/compact", np.mean(compact))
        agrees(EVAL, "unit/paper/separate", np.mean(separate))
        both = np.asarray(near).reshape(-1)
        agrees(
            EVAL,
            "unit/paper/distance",
            model.distance(self.flat, jnp.asarray(self.items), jnp.asarray(both)),
        )


def layers(model, variables, example, *, train):
    """What every convolution and BatchNorm gives, by its published name."""
    x, _ = model.inputs(variables["params"], example)
    state = variables["state"]
    captured = {"params": variables["params"], "batch_stats": state["batch_stats"]}
    options = {"capture_intermediates": True, "mutable": ["intermediates", "batch_stats"]}
    (features, skips), first = model.net.apply(
        captured, x, example["mask"], train=train, method="encode", **options
    )
    queries = model.queries(features)
    answers, _ = jax.vmap(model.read, in_axes=(0, None))(queries, state["memory"])
    code = jnp.concatenate([queries, answers], -1).reshape(*features.shape[:3], -1)
    _, second = model.net.apply(
        captured, code, skips, example["mask"], train=train, method="decode", **options
    )
    outputs, found = {**first["intermediates"], **second["intermediates"]}, {}
    for name, (path, _) in mnad.published(fixture_config()).values.items():
        if name.endswith(".bias"):
            node = outputs
            for part in path.split("/")[1:-1]:
                node = node[part]
            output = node["__call__"][0]
            if isinstance(output, tuple):  # a convolution that leaves its bias to the BatchNorm
                output = output[0] + output[1][None, None, None]
            found[name.removesuffix(".bias")] = output
    return found


def check_layers(found, arrays, key):
    assert len(found) == 38
    for name, output in found.items():
        agrees(arrays, f"{key}/act/{name}", nchw(output))


@pytest.fixture(scope="module")
def evaluated(model, recipe_variables, fully_optimised):
    """All that one window makes in evaluation mode, by one program."""
    paper = mnad.Model(fixture_config(variant="paper", **{"gate.error": "norm"}))

    @jax.jit
    def run(variables, example):
        params, state = variables["params"], variables["state"]
        stats, items, mask = state["batch_stats"], state["memory"], example["mask"]
        x, target = model.inputs(params, example)
        features, skips, _ = model.encode(params, stats, x, mask, train=False)
        queries = model.queries(features)[0]
        answers, match = model.read(queries, items)
        output, _ = model.decode(params, stats, features, answers[None], skips, mask, train=False)
        return {
            "layers": layers(model, variables, example, train=False),
            "features": features,
            "queries": queries,
            "answers": answers,
            "match": match,
            "distance": model.distance(queries, items, jnp.argmax(match, -1)),
            "output": output,
            "psnr": paper.psnr(output[0], target[0]),
            "point_score": paper.point_score(output[0], target[0]),
        }

    return jax.device_get(run(recipe_variables, batch(FRAMES["frames/test_a"][None, :5])))


class TestEvaluationMode:
    def test_layer_by_layer(self, evaluated):
        check_layers(evaluated["layers"], EVAL, "eval")
        agrees(EVAL, "eval/fea", nchw(evaluated["features"]))

    def test_memory_and_output(self, evaluated, recipe_variables):
        queries, answers, match = (evaluated[name] for name in ("queries", "answers", "match"))
        agrees(EVAL, "eval/softmax_memory", match)
        cosine = queries @ np.asarray(recipe_variables["state"]["memory"]).T
        agrees(EVAL, "eval/softmax_query", jax.nn.softmax(cosine, axis=0))
        np.testing.assert_array_equal(np.argmax(match, -1), EVAL["eval/nearest"])
        agrees(EVAL, "eval/read", answers)
        agrees(EVAL, "eval/query", nchw(queries.reshape(evaluated["features"].shape)))
        code = np.concatenate([queries, answers], -1).reshape(1, 8, 8, 1024)
        agrees(EVAL, "eval/decoder_in", nchw(code))
        agrees(EVAL, "eval/compactness", evaluated["distance"])
        agrees(EVAL, "eval/output", nchw(evaluated["output"]))
        agrees(EVAL, "eval/paper/psnr", evaluated["psnr"])
        agrees(EVAL, "eval/paper/point_score", evaluated["point_score"])


@pytest.fixture(scope="module")
def in_training(model, recipe_variables, fully_optimised):
    """Of the first batch: layers, features, and what the gradient at the code is of each loss."""
    names = ("pixel", "compact", "separate", "total")

    @jax.jit
    def run(variables, example, share):
        params, state = variables["params"], variables["state"]
        x, target = model.inputs(params, example)
        features, skips, _ = model.encode(
            params, state["batch_stats"], x, example["mask"], train=True
        )

        def some(features):
            total, parts, *_ = model.objective(
                params, state, features, skips, target, example["mask"], train=True
            )
            return share @ jnp.stack([{**parts, "total": total}[name] for name in names])

        return {
            "layers": layers(model, variables, example, train=True),
            "features": features,
            "gradient": jax.grad(some)(features),
        }

    example = batch(FRAMES["frames/train"][0])
    found = {
        name: jax.device_get(run(recipe_variables, example, share))
        for name, share in zip(names, np.eye(4), strict=True)
    }
    return {**found["total"], "gradient": {name: each["gradient"] for name, each in found.items()}}


class TestTraining:
    def test_layer_by_layer(self, in_training):
        check_layers(in_training["layers"], TRAIN, "train1")

    def test_gradients_at_the_code(self, in_training):
        agrees(TRAIN, "train1/fea", nchw(in_training["features"]))
        for name, gradient in in_training["gradient"].items():
            agrees(TRAIN, f"train1/grad_fea/{name}", nchw(gradient))

    def test_three_steps(self, recipe_variables, scorer):
        stage = create(fixture_config()).stages[0]
        transform = stage.optimizer(steps_per_epoch=3, steps=3)
        params, state = recipe_variables["params"], recipe_variables["state"]
        slots = transform.init(params)

        @jax.jit
        def step(params, state, slots, example):
            gradient = jax.value_and_grad(stage.loss, has_aux=True)
            (total, (state, parts)), gradients = gradient(params, state, example, None, train=True)
            updates, slots = transform.update(gradients, slots, params)
            return optax.apply_updates(params, updates), state, slots, total, parts, gradients

        for number in (1, 2, 3):
            example = batch(FRAMES["frames/train"][number - 1])
            params, state, slots, total, parts, gradients = step(params, state, slots, example)
            agrees(TRAIN, f"train{number}/loss/total", total)
            for name, value in parts.items():
                agrees(TRAIN, f"train{number}/loss/{name}", value)
            agrees(TRAIN, f"train{number}/memory", state["memory"])
            if number == 1:
                named = torch.tensors(fixture_config(), gradients)
                assert len(named) == 76
                for name, gradient in named.items():
                    agrees(TRAIN, f"train1/grad/{name}", gradient)
            if number in (1, 3):
                for name, value in torch.tensors(fixture_config(), params).items():
                    agrees(TRAIN, f"train{number}/param/{name}", value)
                self.check_statistics(state, f"train{number}")
        trained = {"params": params, "state": state}
        _, parts = scorer(trained, FRAMES["frames/test_a"][:5])["gated"]
        agrees(TRAIN, "train3/eval_compactness", parts["distance"][0])

    def check_statistics(self, state, key):
        stats = state["batch_stats"]
        for name, (path, _) in mnad.published(fixture_config()).values.items():
            if path.startswith("state/"):
                node = stats
                for part in path.split("/")[2:]:
                    node = node[part]
                agrees(TRAIN, f"{key}/bn/{name}", node)

    def test_learning_rate_of_sixty_epochs(self):
        config = fixture_config(**{"stages.train.schedule": "cosine"})
        transform = create(config).stages[0].optimizer(steps_per_epoch=2, steps=120)
        slots = transform.init({"w": jnp.zeros(())})
        rates = []
        for _ in range(120):
            _, slots = transform.update({"w": jnp.zeros(())}, slots)
            rates.append(float(slots.hyperparams["learning_rate"]))
        agrees(EVAL, "schedule/lr_60", rates[::2])
        assert rates[::2] == rates[1::2]


@pytest.fixture(scope="module")
def scorer(x64, fully_optimised):
    """A function of variables and the frames of a video: policy → items behind it, parts `[W]`.

    One program scores under all policies; shorter videos are padded to its eight windows.
    """
    gamma = float(TEST["test/gamma"])
    methods = {
        policy: create(fixture_config(**{"memory.update": policy, "gate.threshold": gamma}))
        for policy in ("gated", "always", "never")
    }

    @jax.jit
    def every(variables, carries, example):
        return {
            policy: method.score(variables, carries[policy], example)
            for policy, method in methods.items()
        }

    def score(variables, frames, carries=None):
        begin = {policy: method.start(variables) for policy, method in methods.items()}
        rows = windows(frames)
        number = len(rows)
        padded = np.concatenate([rows, np.repeat(rows[:1], 8 - number, axis=0)])
        example = batch(padded, mask=np.arange(8) < number)
        found = every(variables, carries or begin, example)
        return {
            policy: (carry, {name: part[:number, 0] for name, part in scores.parts.items()})
            for policy, (carry, scores) in found.items()
        }

    return score


@pytest.fixture(scope="module")
def sequences(scorer, recipe_variables):
    """Policy → items at the end and the parts of each video; `gated_b_alone` has the second one."""
    first = scorer(recipe_variables, FRAMES["frames/test_a"])
    carries = {policy: carry for policy, (carry, _) in first.items()}
    second = scorer(recipe_variables, FRAMES["frames/test_b"], carries)
    alone = scorer(recipe_variables, FRAMES["frames/test_b"])["gated"]
    both = {policy: (second[policy][0], [first[policy][1], second[policy][1]]) for policy in first}
    return both | {"gated_b_alone": (alone[0], [alone[1]])}


class TestAtTestTime:
    @pytest.mark.parametrize("policy", ["gated", "always", "never", "gated_b_alone"])
    def test_sequence_of_two_videos(self, policy, sequences):
        carry, parts = sequences[policy]
        joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        key = f"test/{policy}"
        for name in ("distance", "psnr", "point_score"):
            agrees(TEST, f"{key}/{name}", joined[name])
        np.testing.assert_array_equal(joined["updated"], TEST[f"{key}/updated"])
        agrees(TEST, f"{key}/memory_end", carry["memory"])
        strangeness = np.concatenate([fused(p) for p in parts])
        agrees(TEST, f"{key}/normality", 1 - strangeness)
        auc = roc_auc_score(TEST[f"{key}/labels"], strangeness)
        agrees(TEST, f"{key}/auc", auc)


def fused(parts):
    """The published score of one video from its parts, weight 0.6."""

    def scaled(x):
        return (x - x.min()) / (x.max() - x.min())

    psnr, distance = np.asarray(parts["psnr"]), np.asarray(parts["distance"])
    return 0.6 * scaled(-psnr) + 0.4 * scaled(distance)


def test_bytes_become_the_loader_s_float32_numbers():
    values = np.arange(256, dtype=np.uint8)
    expected = np.float64(values.astype(np.float32) / np.float32(127.5) - np.float32(1))
    got = jax.jit(lambda v: numbers(v, (-1.0, 1.0), jnp.float64))(values)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("task", "live"), [("prediction", 15_650_819), ("reconstruction", 17_195_267)]
)
def test_number_of_parameters_and_every_published_tensor(task, live):
    config = fixture_config(task=task)
    table = mnad.published(config)
    names = {row["name"] for row in TENSORS[task]}
    assert set(table.values) | set(table.dead) == names
    shapes = jax.eval_shape(create(config).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == live
    tensors = weights(task)
    variables = torch.variables(config, tensors, memory=items())
    for name, value in torch.tensors(config, variables["params"]).items():
        np.testing.assert_array_equal(value, tensors[name])
