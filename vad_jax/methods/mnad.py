"""MNAD: learning memory-guided normality (Park, Noh, Ham, CVPR 2020).

A U-Net predicts the fifth frame from four (or rebuilds a frame) and passes its code through a
memory of normal patterns. At test time a badly predicted frame, and queries far from every item,
are strange; frames that look normal go on updating the memory.

`variant="code"` is what the authors' published code computes, `variant="paper"` the printed
formulas where they differ. Letters: B rows, N = H/8 · W/8 queries of a row, M items, C channels.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import config_dict

from vad_jax.learning import meta, optim
from vad_jax.nets import memory, unet
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.pixels import sees_and_target
from vad_jax.types import (
    ConfigError,
    Fusion,
    InputSpec,
    Method,
    Published,
    Scores,
    Stage,
    window_spec,
)

_WINDOWS = {  # frames, sees, target
    "prediction": (5, (0, 1, 2, 3), 4),
    "reconstruction": (1, (0,), 0),
    "middle": (16, tuple(range(16)), 8),
}


def defaults() -> dict[str, Any]:
    """The published setting; a placeholder is filled by `complete` from task and variant."""

    def number():  # a new one for each key: one placeholder in two places is one value
        return config_dict.placeholder(float)

    return {
        "variant": "code",
        "task": "prediction",
        "width": 64,
        "input": {"height": 256, "width": 256, "channels": 3, "stride": 1, "step": 1},
        # To be read as config.memory["items"]: a ConfigDict has methods `items` and `update`.
        "memory": {"items": 10, "update": "gated", "reset": config_dict.placeholder(str)},
        "gate": {"threshold": number(), "error": "square"},
        "weights": {"compact": number(), "separate": number(), "score": number()},
        "margin": 1.0,
        "stage_names": ("train",),
        "stages": {
            "train": {
                "epochs": 60,
                "steps": config_dict.placeholder(int),
                "batch_size": 4,
                "learning_rate": number(),
                "schedule": "cosine",
            }
        },
        "adapt": {"steps": 1, "learning_rate": 1e-4},
    }


CHOICES = {
    "variant": ("code", "paper"),
    "task": tuple(_WINDOWS),
    "memory.update": ("gated", "always", "never"),
    "memory.reset": ("set", "video"),
    "gate.error": ("square", "norm"),
    "stages.train.schedule": optim.SCHEDULES,
}


STATE = ()  # settings that the meaning of a run's state depends on
EVALUATION = ("memory.update", "memory.reset", "gate", "weights.score")  # training never sees them


def complete(config) -> None:
    """Fills in what follows from task and variant, where the user said nothing.

    Source: the paper's section 4.1, the published commands; `memory.reset="set"` is the published
    evaluation, one stream through all test videos.
    """
    prediction, code = config.task == "prediction", config.variant == "code"
    loss_weight = 0.1 if prediction else 0.01
    published = {
        "memory.reset": "set" if code else "video",
        "gate.threshold": 0.01 if prediction else 0.015,
        "weights.compact": loss_weight,
        "weights.separate": loss_weight,
        "weights.score": 0.6 if prediction else 0.7,
        "stages.train.learning_rate": 2e-4 if prediction or code else 2e-5,
    }
    for key, value in published.items():
        *sections, name = key.split(".")
        home = functools.reduce(operator.getitem, sections, config)
        if home[name] is None:
            home[name] = value


def create(config) -> Method:
    """The method of a completed config."""
    _check(config)
    functions = model(config)
    stages = {
        "train": Stage(
            name="train",
            inputs=functions.spec,
            loss=functions.loss,
            optimizer=lambda *, steps_per_epoch, steps: optim.adam(
                config.stages.train.learning_rate,
                config.stages.train.schedule,
                steps_per_epoch=steps_per_epoch,
                steps=steps,
            ),
        )
    }
    return Method(
        inputs=functions.spec,
        stages=tuple(stages[name] for name in config.stage_names),
        fusion=_fusion(config),
        init=functions.init,
        start=functions.start,
        score=functions.score,
        carry_over=config.memory.reset if _moves(config) else "none",
        adapt=functions.adapt,
        pictures=functions.pictures,
    )


def _check(config) -> None:
    items = config.memory["items"]
    if items == 1 or items < 0:
        raise ConfigError(
            f"memory.items = {items}: the separateness loss needs a nearest and a "
            "second item. Use 0 for no memory, or at least 2."
        )
    for side in ("height", "width"):
        if config.input[side] % 8 or config.input[side] < 8:
            raise ConfigError(
                f"input.{side} = {config.input[side]}: the U-Net halves it three times, so it must "
                "be a multiple of 8."
            )
    if not 0 <= config.weights.score <= 1:
        raise ConfigError(f"weights.score = {config.weights.score}: a share, from 0 to 1.")
    if config.input.channels not in (1, 3):
        raise ConfigError(f"input.channels = {config.input.channels}: 1 (grey) or 3 (colour).")


def _moves(config) -> bool:
    """Whether the memory changes at test time; if not, windows are scored in batches, any order."""
    return config.memory["items"] > 0 and config.memory["update"] != "never"


def _input_spec(config) -> InputSpec:
    frames, sees, target = _WINDOWS[config.task]
    return window_spec(config.input, frames=frames, sees=sees, target=target)


def _fusion(config) -> Fusion:
    """`λ (1 - g(PSNR)) + (1 - λ) g(D)`, g = min–max a video in protocol `paper`.

    Source: MNAD eqs. (13) to (15), turned so that higher is stranger.
    """
    weight = config.weights.score
    parts = {"psnr": weight, "distance": 1 - weight} if config.memory["items"] else {"psnr": 1.0}
    results = [("combine", "fused", parts), ("combine", "psnr_only", {"psnr": 1.0})]
    if config.memory["items"]:
        results.append(("combine", "distance_only", {"distance": 1.0}))
    return Fusion(
        assign="mean",
        paper=(("negate", "psnr"), ("minmax", "video"), *results),
        online=(("negate", "psnr"), ("standardise",), *results),
        default="fused",
    )


class Network(nn.Module):
    """Encoder and decoder; the memory stands between them, in `Model`."""

    width: int
    channels: int
    skips: bool
    items: int
    dtype: Any = None

    def setup(self):
        self.encoder = unet.Encoder(self.width, dtype=self.dtype)
        self.decoder = unet.Decoder(self.width, self.channels, self.skips, dtype=self.dtype)

    def encode(self, x, mask, *, train):
        return self.encoder(x, mask, train=train)

    def decode(self, code, skips, mask, *, train):
        return self.decoder(code, skips, mask, train=train)

    def __call__(self, x, mask, *, train):
        features, skips = self.encode(x, mask, train=train)
        code = jnp.concatenate([features] * (2 if self.items else 1), axis=-1)
        return self.decode(code, skips, mask, train=train)


def model(config) -> Model:
    """The functions below for a completed config."""
    net = Network(
        width=config.width,
        channels=config.input.channels,
        skips=config.task == "prediction",
        items=config.memory["items"],
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
    )
    return Model(config, net, _input_spec(config))


class Model:
    """The pure functions of MNAD for one configuration; nothing here ever changes."""

    def __init__(self, config, net: Network, spec: InputSpec):
        self.net, self.spec = net, spec
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

    def adapt(self, variables, support, *, steps):
        """Plain gradient steps on the training loss of a support batch, state frozen."""
        state = variables["state"]

        def loss(params, support):
            return self.loss(params, state, support, None, train=False)[0]

        params, losses = meta.adapt(
            loss, variables["params"], self.adapt_rate, support, steps=steps
        )
        return {**variables, "params": params}, losses

    def pictures(self, variables, batch):
        """`target`, `output` `[B,H,W,C]` in 0..1; with a memory `matching` probabilities
        `[B,H/8,W/8,M]` and `queries` `[B,H/8,W/8,512]`, each number q as (q + 1) / 2.
        """
        params, stats = variables["params"], variables["state"]["batch_stats"]
        x, target = self.inputs(params, batch)
        features, skips, _ = self.encode(params, stats, x, batch["mask"], train=False)
        answers, drawn = None, {}
        if self.items:
            queries = self.queries(features)
            items = variables["state"]["memory"]
            answers, match = jax.vmap(self.read, in_axes=(0, None))(queries, items)
            drawn["matching"] = match.reshape(*features.shape[:3], -1)
            drawn["queries"] = ((queries + 1) / 2).reshape(features.shape)
        output = self.decode(params, stats, features, answers, skips, batch["mask"], train=False)[0]
        return {"target": (target + 1) / 2, "output": (output + 1) / 2, **drawn}


def published(config) -> Published:
    """Where each tensor of the authors' state dict lies in our variables.

    `encoder.moduleBatchNorm.*` is in their network but no path reaches it: it gets no gradient,
    and never moves: it is dropped.
    """
    halves = {
        "encoder": {f"moduleConv{i}": f"block{i}" for i in (1, 2, 3, 4)},
        "decoder": {
            "moduleConv": "block4",
            **{f"moduleUpsample{i}": f"up{i - 1}" for i in (4, 3, 2)},
            **{f"moduleDeconv{i}": f"block{i}" for i in (3, 2, 1)},
        },
    }
    layers = {}  # their layer → ours, and what it is
    for half, blocks in halves.items():
        for theirs, ours in blocks.items():
            there, here = f"{half}.{theirs}", f"{half}/{ours}"
            if "Upsample" in theirs:
                layers |= {
                    f"{there}.0": (f"{here}/conv", "upsample"),
                    f"{there}.1": (f"{here}/norm", "norm"),
                }
                continue
            for i, index in ((1, 0), (2, 3)):
                layers[f"{there}.{index}"] = (f"{here}/conv{i}", "conv")
                if not (half == "encoder" and ours == "block4" and i == 2):
                    layers[f"{there}.{index + 1}"] = (f"{here}/norm{i}", "norm")
    layers["decoder.moduleDeconv1.6"] = ("decoder/out", "conv")
    values, dead = {}, []
    for there, (here, kind) in layers.items():
        if kind == "norm":
            values[f"{there}.weight"] = (f"params/{here}/scale", "plain")
            values[f"{there}.bias"] = (f"params/{here}/bias", "plain")
            values[f"{there}.running_mean"] = (f"state/batch_stats/{here}/mean", "plain")
            values[f"{there}.running_var"] = (f"state/batch_stats/{here}/var", "plain")
            dead.append(f"{there}.num_batches_tracked")
        else:
            values[f"{there}.weight"] = (f"params/{here}/kernel", kind)
            values[f"{there}.bias"] = (f"params/{here}/bias", "plain")
    unused = "encoder.moduleBatchNorm"
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    dead += [f"{unused}.{name}" for name in names]
    return Published(values, tuple(dead))
