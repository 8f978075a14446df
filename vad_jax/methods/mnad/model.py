"""MNAD's model: the halves with the memory between them, losses, score, adaptation, pictures."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vad_jax.learning import meta
from vad_jax.methods.mnad.network import Network
from vad_jax.methods.mnad.settings import input_spec
from vad_jax.nets import drawing, memory
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.pixels import sees_and_target
from vad_jax.types import Scores


class Model:
    """The pure functions of MNAD for one configuration; nothing here ever changes."""

    def __init__(self, config):
        self.net = Network(
            width=config.width,
            channels=config.input.channels,
            skips=config.task == "prediction",
            items=config.memory["items"],
            dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        )
        self.spec = input_spec(config)
        self.items, self.channels = config.memory["items"], 8 * config.width
        self.paper = config.variant == "paper"
        self.policy = config.memory["update"]
        self.gate_error, self.threshold = config.gate.error, config.gate.threshold
        self.weights = {"compact": config.weights.compact, "separate": config.weights.separate}
        self.margin = config.margin
        self.adapt_rate = config.adapt.learning_rate

    # Variables and inputs

    def init(self, key):
        """Parameters, BatchNorm statistics and the first items."""
        net_key, items_key = jax.random.split(key)
        spec = self.spec
        x = jnp.zeros((1, spec.height, spec.width, len(spec.sees) * spec.channels))
        variables = self.net.init(net_key, x, jnp.ones((1,), bool), train=False)
        state = {"batch_stats": variables["batch_stats"]}
        if self.items:
            state["memory"] = memory.initial_items(items_key, self.items, self.channels)
        return {"params": variables["params"], "state": state}

    def inputs(self, params, batch):
        """The stacked frames `[B,H,W,T·C]`, frame-major, and the target `[B,H,W,C]`."""
        return sees_and_target(self.spec, batch["frames"], jax.tree.leaves(params)[0].dtype)

    def _apply(self, params, stats, half, *args, train):
        """Runs one half of the network; returns its output and the moved BatchNorm statistics."""
        variables = {"params": params, "batch_stats": stats}
        if not train:
            return self.net.apply(variables, *args, train=False, method=half), stats
        output, moved = self.net.apply(
            variables, *args, train=True, method=half, mutable=["batch_stats"]
        )
        return output, {**stats, **moved["batch_stats"]}

    def encode(self, params, stats, x, mask, *, train):
        """Features `[B, H/8, W/8, C]`, before they become queries, the skips, the statistics."""
        (features, skips), stats = self._apply(params, stats, "encode", x, mask, train=train)
        return features.astype(x.dtype), skips, stats

    def decode(self, params, stats, features, answers, skips, mask, *, train):
        """The frame made from queries and answers (queries alone without memory)."""
        code = memory.unit(features)
        if answers is not None:
            code = jnp.concatenate([code, answers.reshape(code.shape)], axis=-1)
        output, stats = self._apply(params, stats, "decode", code, skips, mask, train=train)
        return output.astype(features.dtype), stats

    def queries(self, features):
        """`[B, N, C]` of unit length, in the order row, column."""
        return memory.unit(features.reshape(features.shape[0], -1, features.shape[-1]))

    def read(self, queries, items):
        """Answers and matching probabilities of one image's queries `[N, C]`."""
        answers, match = memory.read(queries, items)
        if not self.paper:  # the code detaches the probabilities; the items carry no gradient
            answers = jax.lax.stop_gradient(answers)
        return answers, match

    # Training

    def loss(self, params, state, batch, key, *, train):
        """Pixel loss, compactness and separateness; the memory is updated after they are taken."""
        del key  # MNAD has no augmentation
        x, target = self.inputs(params, batch)
        mask = batch["mask"]
        features, skips, stats = self.encode(params, state["batch_stats"], x, mask, train=train)
        total, parts, stats, items = self.objective(
            params, {**state, "batch_stats": stats}, features, skips, target, mask, train=train
        )
        if not train:
            return total, (state, parts)
        state = {"batch_stats": stats} | ({"memory": items} if self.items else {})
        return total, (jax.lax.stop_gradient(state), parts)

    def objective(self, params, state, features, skips, target, mask, *, train):
        """All behind the encoder: total loss, its parts, moved statistics, updated items.

        Source: MNAD eqs. (6) to (10); `code` has means of squares, `paper` sums of norms.
        """
        stats = state["batch_stats"]
        if not self.items:
            output, stats = self.decode(params, stats, features, None, skips, mask, train=train)
            pixel = masked_mean(self.pixel(output, target), mask)
            return pixel, {"pixel": pixel}, stats, None
        items = jax.lax.stop_gradient(state["memory"])
        queries = self.queries(features)
        answers, match = jax.vmap(self.read, in_axes=(0, None))(queries, items)
        output, stats = self.decode(params, stats, features, answers, skips, mask, train=train)
        nearest, second = jax.vmap(memory.two_nearest)(match)
        shaping = jax.vmap(self.shaping, in_axes=(0, None, 0, 0))
        compact, separate = shaping(queries, items, nearest, second)
        parts = {
            "pixel": masked_mean(self.pixel(output, target), mask),
            "compact": masked_mean(compact, mask),
            "separate": masked_mean(separate, mask),
        }
        total = parts["pixel"] + sum(self.weights[name] * parts[name] for name in self.weights)
        return total, parts, stats, self.updated(queries, items, mask)

    def pixel(self, output, target):
        error = jnp.square(output - target)
        if not self.paper:
            return jnp.mean(error, axis=(1, 2, 3))
        return memory.length((output - target).reshape(output.shape[0], -1))

    def shaping(self, queries, items, nearest, second):
        """Compactness and separateness of one image."""
        if not self.paper:
            return (
                memory.compactness(queries, items, nearest),
                memory.separateness(queries, items, nearest, second, self.margin),
            )
        near = memory.distances(queries, items, nearest)
        far = memory.distances(queries, items, second)
        return jnp.sum(near), jnp.sum(jax.nn.relu(near - far + self.margin))

    def updated(self, queries, items, mask):
        """Items after one update with the queries `[B, N, C]` of all rows that count."""
        counts = jnp.repeat(mask, queries.shape[1])
        flat = queries.reshape(-1, queries.shape[-1])
        return memory.update(flat, items, counts, peak="own" if self.paper else "all")

    # Test time

    def start(self, variables):
        """The carry of a stream: the trained items, or nothing without a memory."""
        return {"memory": variables["state"]["memory"]} if self.items else ()

    def score(self, variables, carry, batch):
        """Parts `psnr` (dB), `distance`, `point_score`, `updated` (0/1), and squared-error maps.

        A window is read, and its distance taken, with the items before its own update.

        Source: MNAD eqs. (11) to (14).
        """
        params, stats = variables["params"], variables["state"]["batch_stats"]
        x, target = self.inputs(params, batch)
        mask = batch["mask"]
        features, skips, _ = self.encode(params, stats, x, mask, train=False)

        def frame(features, answers, skips, mask):
            return self.decode(params, stats, features, answers, skips, mask, train=False)[0]

        if not self.items:
            output = frame(features, None, skips, mask)
            return carry, self._scores(output, target, mask, {})

        def row(items, values):
            """One window of the stream; decodes only where the gate must see the frame."""
            features, skips, target, counts = values
            queries = self.queries(features[None])
            answers, match = self.read(queries[0], items)
            distance = self.distance(queries[0], items, jnp.argmax(match, axis=-1))
            output, passes = None, jnp.bool_(self.policy == "always")
            if self.policy == "gated":
                skips = jax.tree.map(lambda skip: skip[None], skips)
                output = frame(features[None], answers[None], skips, counts[None])[0]
                passes = self.point_score(output, target) < self.threshold
            passes = passes & counts
            items = self.updated(queries, items, passes[None])
            return items, (answers, distance, passes, output)

        items, (answers, distance, updated, output) = jax.lax.scan(
            row, carry["memory"], (features, skips, target, mask)
        )
        if output is None:
            output = frame(features, answers, skips, mask)
        parts = {"distance": distance, "updated": updated.astype(distance.dtype)}
        return {"memory": items}, self._scores(output, target, mask, parts)

    def _scores(self, output, target, mask, parts):
        parts = {"psnr": jax.vmap(self.psnr)(output, target), **parts}
        if self.items:
            parts["point_score"] = jax.vmap(self.point_score)(output, target)
        parts = {name: jnp.where(mask, part, jnp.nan)[:, None] for name, part in parts.items()}
        return Scores(parts, maps=jnp.mean(jnp.square(output - target), axis=-1)[:, None])

    def psnr(self, output, target):
        """Peak signal-to-noise ratio of one frame in dB, both images brought to 0..1."""
        output, target = (output + 1) / 2, (target + 1) / 2
        error = jnp.maximum(jnp.mean(jnp.square(output - target)), 1e-10)
        peak = jnp.maximum(jnp.max(output), 1e-10) if self.paper else 1.0
        return 10 * jnp.log10(peak / error)

    def point_score(self, output, target):
        """What the gate sees: the error of one frame, weighted towards its large values."""
        difference = (output - target) / 2  # as between images in 0..1
        error = jnp.square(difference)
        if self.gate_error == "norm":
            error = memory.length(difference)
        weight = -jnp.expm1(-error)
        total = jnp.sum(weight)
        return jnp.where(total > 0, jnp.sum(weight * error) / jnp.where(total > 0, total, 1), 0)

    def distance(self, queries, items, nearest):
        if self.paper:
            return jnp.mean(memory.distances(queries, items, nearest))
        return memory.compactness(queries, items, nearest)

    # Adaptation and pictures

    def adapt(self, variables, support, *, steps, learning_rate=None):
        """Plain gradient steps on the training loss of a support batch, state frozen."""
        state = variables["state"]
        rate = self.adapt_rate if learning_rate is None else learning_rate

        def loss(params, support):
            return self.loss(params, state, support, None, train=False)[0]

        params, losses = meta.adapt(loss, variables["params"], rate, support, steps=steps)
        return {**variables, "params": params}, losses

    def pictures(self, variables, batch):
        """`target` and `output`; with a memory the `matching` probabilities `[B,1,H/8,W/8,M]` and
        the `queries` `[B,1,H/8,W/8,C]` among the items.
        """
        params, stats = variables["params"], variables["state"]["batch_stats"]
        x, target = self.inputs(params, batch)
        features, skips, _ = self.encode(params, stats, x, batch["mask"], train=False)
        answers, drawn = None, {}
        if self.items:
            queries = self.queries(features)
            items = variables["state"]["memory"]
            answers, match = jax.vmap(self.read, in_axes=(0, None))(queries, items)
            grid = features.shape[:3]
            drawn["matching"] = drawing.maps(
                match.reshape(*grid, -1)[:, None],
                "matching probability of items",
                note=f"all alike: {1 / self.items:.4f}",
            )
            drawn["queries"] = drawing.vectors(
                queries.reshape(features.shape)[:, None],
                "queries",
                range=(-1.0, 1.0),
                anchors=items,
                anchors_title="items",
            )
        output = self.decode(params, stats, features, answers, skips, batch["mask"], train=False)[0]
        return {
            "target": drawing.image(((target + 1) / 2)[:, None], "frame"),
            "output": drawing.image(((output + 1) / 2)[:, None], "output"),
            **drawn,
        }
