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
    return mnad.model(fixture_config())


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
        model = mnad.model(fixture_config(variant=variant))

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
        model = mnad.model(fixture_config(variant="paper"))
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


class TestEvaluationMode:
    def forward(self, model, variables):
        example = batch(FRAMES["frames/test_a"][None, :5])
        x, target = model.inputs(variables["params"], example)
        stats = variables["state"]["batch_stats"]
        features, skips, _ = model.encode(
            variables["params"], stats, x, example["mask"], train=False
        )
        return example, target, features, skips

    def test_layer_by_layer(self, model, recipe_variables):
        example, _, features, _skips = self.forward(model, recipe_variables)
        check_layers(model, recipe_variables, example, EVAL, "eval", train=False)
        agrees(EVAL, "eval/fea", nchw(features))

    def test_memory_and_output(self, model, recipe_variables):
        example, target, features, skips = self.forward(model, recipe_variables)
        queries = model.queries(features)[0]
        answers, match = model.read(queries, recipe_variables["state"]["memory"])
        agrees(EVAL, "eval/softmax_memory", match)
        cosine = queries @ recipe_variables["state"]["memory"].T
        agrees(EVAL, "eval/softmax_query", jax.nn.softmax(cosine, axis=0))
        np.testing.assert_array_equal(np.argmax(match, -1), EVAL["eval/nearest"])
        agrees(EVAL, "eval/read", answers)
        agrees(EVAL, "eval/query", nchw(queries.reshape(features.shape)))
        code = jnp.concatenate([queries, answers], -1).reshape(1, 8, 8, 1024)
        agrees(EVAL, "eval/decoder_in", nchw(code))
        near = jnp.argmax(match, -1)
        agrees(
            EVAL,
            "eval/compactness",
            model.distance(queries, recipe_variables["state"]["memory"], near),
        )
        output, _ = model.decode(
            recipe_variables["params"],
            recipe_variables["state"]["batch_stats"],
            features,
            answers[None],
            skips,
            example["mask"],
            train=False,
        )
        agrees(EVAL, "eval/output", nchw(output))
        paper = mnad.model(fixture_config(variant="paper", **{"gate.error": "norm"}))
        agrees(EVAL, "eval/paper/psnr", paper.psnr(output[0], target[0]), atol=1e-6)
        agrees(EVAL, "eval/paper/point_score", paper.point_score(output[0], target[0]), atol=1e-6)


def check_layers(model, variables, example, arrays, key, *, train):
    """Every convolution and BatchNorm against the arrays, by its published name."""
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
    outputs = {**first["intermediates"], **second["intermediates"]}
    checked = 0
    for name, (path, _) in mnad.published(fixture_config()).values.items():
        if name.endswith(".bias"):
            node = outputs
            for part in path.split("/")[1:-1]:
                node = node[part]
            output = node["__call__"][0]
            if isinstance(output, tuple):  # a convolution that leaves its bias to the BatchNorm
                output = output[0] + output[1][None, None, None]
            agrees(arrays, f"{key}/act/{name.removesuffix('.bias')}", nchw(output))
            checked += 1
    assert checked == 38


class TestTraining:
    @pytest.fixture
    def first(self, recipe_variables):
        return batch(FRAMES["frames/train"][0]), recipe_variables

    def test_layer_by_layer(self, model, first):
        example, variables = first
        check_layers(model, variables, example, TRAIN, "train1", train=True)

    def test_gradients_at_the_code(self, model, first):
        example, variables = first
        params, state = variables["params"], variables["state"]
        x, target = model.inputs(params, example)
        features, skips, _ = model.encode(
            params, state["batch_stats"], x, example["mask"], train=True
        )
        agrees(TRAIN, "train1/fea", nchw(features))

        def part(features, name):
            total, parts, *_ = model.objective(
                params, state, features, skips, target, example["mask"], train=True
            )
            return total if name == "total" else parts[name]

        gradient_of = jax.jit(jax.grad(part), static_argnums=1)
        for name in ("pixel", "compact", "separate", "total"):
            gradient = gradient_of(features, name)
            agrees(TRAIN, f"train1/grad_fea/{name}", nchw(gradient))

    def test_three_steps(self, first, model):
        _, variables = first
        method = create(fixture_config())
        stage = method.stages[0]
        transform = stage.optimizer(steps_per_epoch=3, steps=3)
        params, state = variables["params"], variables["state"]
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
        example = batch(FRAMES["frames/test_a"][None, :5])
        _, scores = method.score(trained, method.start(trained), example)
        agrees(TRAIN, "train3/eval_compactness", scores.parts["distance"][0, 0])

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


class TestAtTestTime:
    @pytest.mark.parametrize("policy", ["gated", "always", "never", "gated_b_alone"])
    def test_sequence_of_two_videos(self, policy, recipe_variables):
        update, _, alone = policy.partition("_b_")
        config = fixture_config(
            **{"memory.update": update, "gate.threshold": float(TEST["test/gamma"])}
        )
        method = create(config)
        score = jax.jit(method.score)
        carry = method.start(recipe_variables)
        names = ("test_b",) if alone else ("test_a", "test_b")
        parts = []
        for name in names:
            example = batch(windows(FRAMES[f"frames/{name}"]))
            carry, scores = score(recipe_variables, carry, example)
            parts.append({part: value[:, 0] for part, value in scores.parts.items()})
        joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        key = f"test/{policy}"
        agrees(TEST, f"{key}/distance", joined["distance"])
        agrees(TEST, f"{key}/psnr", joined["psnr"], atol=1e-6)
        agrees(TEST, f"{key}/point_score", joined["point_score"], atol=1e-6)
        np.testing.assert_array_equal(joined["updated"], TEST[f"{key}/updated"])
        agrees(TEST, f"{key}/memory_end", carry["memory"])
        strangeness = np.concatenate([fused(p) for p in parts])
        agrees(TEST, f"{key}/normality", 1 - strangeness, atol=1e-6)
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
