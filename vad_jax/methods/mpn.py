"""MPN and MPU: dynamic prototypes, and a new scene in a few shots (Lv, Chen, Cui, Xu, Li, Yang,
CVPR 2021).

A U-Net predicts the fifth frame from four. Late in its decoder a unit makes M prototypes out of the
frame's own feature map, rebuilds every pixel from them and adds the result. What is badly
predicted, or far from every prototype, is strange. θ, the unit and all behind it, can be
meta-learned: an initialisation and a step size for each parameter, with which one gradient step on
a few clips of a new scene adapts it.

`variant="code"` is what the authors' published code computes, `variant="paper"` the printed
formulas where they differ. Letters: B rows, E episodes, K support and Q query windows, N pixels of
the map at the plug, M prototypes, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import config_dict

from vad_jax.learning import meta, optim
from vad_jax.nets import prototypes, unet
from vad_jax.nets.conv import torch_uniform
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.memory import length, root, unit
from vad_jax.nets.pixels import sees_and_target
from vad_jax.types import (
    SEGMENTS,
    ConfigError,
    EpisodeSpec,
    Fusion,
    InputSpec,
    Method,
    Published,
    Scores,
    Stage,
)

# Where the unit stands → the decoder's levels behind it; at 1/8 it takes the encoder's output.
_BEHIND = {"1/1": (1,), "1/2": (2, 1), "1/4": (3, 2, 1), "1/8": (4, 3, 2, 1)}
_CHANNELS = {"1/1": 2, "1/2": 4, "1/4": 8, "1/8": 8}  # of the map there, times the width
_TAPS = tuple(math.exp(-((i - 7) ** 2) / 8) / (2 * math.sqrt(2 * math.pi)) for i in range(15))
_ALIKE = 0.99  # mean cosine of the prototypes above which they are one for all that matters


def defaults() -> dict[str, Any]:
    """The published setting; a placeholder is filled by `complete` from the variant."""

    def number():  # a new one for each key: one placeholder in two places is one value
        return config_dict.placeholder(float)

    def stage():
        return {
            "epochs": config_dict.placeholder(int),
            "steps": config_dict.placeholder(int),
            "batch_size": config_dict.placeholder(int),
            "learning_rate": number(),
            "schedule": "constant",
        }

    return {
        "variant": "code",
        "width": 64,
        "input": {"height": 256, "width": 256, "channels": 3, "stride": 1, "step": 1},
        "plug": "1/1",
        "prototypes": 10,  # 0: the plain autoencoder
        "weights": {"frame": 1.0, "compact": 1.0, "diverse": number(), "score": number()},
        # Against prototypes that become one, off as published:
        "attention_scale": 1.0,  # of the first attention weights
        "temperature": {"attention": 1.0, "match": 1.0},
        "sampling": "shuffled",
        "episodes": "disjoint",
        "step_size_map": "identity",
        "meta": {
            "steps": 1,
            "order": 2,
            "step_size": number(),
            "step_size_learning_rate": number(),
            "support": 2,
            "query": 2,
            "remat": False,
        },
        "stage_names": config_dict.placeholder(tuple),
        "stages": {"pretrain": stage(), "joint": stage(), "meta": stage()},
        # Without learned step sizes θ is fine-tuned at this rate; with them it is not read.
        "adapt": {"steps": 1, "learning_rate": 1e-4},
        "adapt_weights": "training",
    }


CHOICES = {
    "variant": ("code", "paper"),
    "plug": tuple(_BEHIND),
    "sampling": ("shuffled", "video_batch"),
    "episodes": ("disjoint", "published"),
    "step_size_map": ("identity", "softplus"),
    "adapt_weights": ("training", "published"),
    "meta.order": (1, 2),
    "stages.pretrain.schedule": ("cosine", "constant"),
    "stages.joint.schedule": ("cosine", "constant"),
    "stages.meta.schedule": ("cosine", "constant"),
}


EVALUATION = ("weights.score", "adapt_weights")  # training never sees them


def complete(config) -> None:
    """Fills in what follows from the variant, where the user said nothing.

    Source: the paper's section 4, the published commands. The paper trains 60 epochs and does not
    say how long before them the autoencoder alone: as long. Its meta-training is as many episodes
    as the code's.
    """
    code = config.variant == "code"
    if config.stage_names is None:
        config.stage_names = ("joint",) if code else ("pretrain", "joint")
    if config.weights.diverse is None:
        config.weights.diverse = 1e-4 if code else 0.01
    if config.weights.score is None:
        config.weights.score = (0.7 if "meta" in config.stage_names else 0.5) if code else 1.0
    if config.meta.step_size is None:
        config.meta.step_size = 1e-6 if code else 1e-5
    rates = {"pretrain": 1e-4, "joint": 1e-4, "meta": 1e-6 if code else 1e-5}
    batches = {"pretrain": 4, "joint": 4, "meta": 1 if code else 10}
    for name, stage in config.stages.items():
        if stage.epochs is None and stage.steps is None:
            if name == "meta":
                stage.steps = 16_000 if code else 1_600
            elif code:
                stage.steps = 16_000
            else:
                stage.epochs = 60
        if stage.learning_rate is None:
            stage.learning_rate = rates[name]
        if stage.batch_size is None:
            stage.batch_size = batches[name]
    if config.meta.step_size_learning_rate is None:
        config.meta.step_size_learning_rate = config.stages.meta.learning_rate


def create(config) -> Method:
    """The method of a completed config."""
    _check(config)
    functions = Model(config)
    stages = {
        name: functools.partial(Stage, name=name, optimizer=_optimizer(config, name))
        for name in config.stages
    }
    windows = dataclasses.replace(functions.spec, order=config.sampling)
    episode = EpisodeSpec(config.meta.support, config.meta.query, config.episodes)
    made = {
        "pretrain": stages["pretrain"](
            inputs=windows,
            loss=functions.pretrain_loss,
            trainable=lambda path: not path.startswith("prototype/"),
        ),
        "joint": stages["joint"](
            inputs=windows, loss=functions.joint_loss, remark=functions.remark
        ),
        "meta": stages["meta"](
            inputs=dataclasses.replace(functions.spec, episode=episode),
            loss=functions.episode_loss,
            begin=functions.begin,
            finish=functions.finish,
        ),
    }
    return Method(
        inputs=functions.spec,
        stages=tuple(made[name] for name in config.stage_names),
        fusion=_fusion(config),
        init=functions.init,
        start=lambda variables: (),
        score=functions.score,
        carry_over="none",
        adapt=functions.adapt,
        pictures=functions.pictures,
    )


def _check(config) -> None:
    for side in ("height", "width"):
        if config.input[side] % 8 or config.input[side] < 8:
            raise ConfigError(
                f"input.{side} = {config.input[side]}: the U-Net halves it three times, so it must "
                "be a multiple of 8."
            )
    if config.input.channels not in (1, 3):
        raise ConfigError(f"input.channels = {config.input.channels}: 1 (grey) or 3 (colour).")
    if config.prototypes < 0:
        raise ConfigError(f"prototypes = {config.prototypes}: 0 for none, or at least 1.")
    code = config.variant == "code"
    if not (0 <= config.weights.score <= 1 if code else config.weights.score >= 0):
        what = "a share, from 0 to 1" if code else "a factor, not negative"
        raise ConfigError(f"weights.score = {config.weights.score}: {what}.")
    if config.temperature.match != 1 and not code:
        raise ConfigError(
            "temperature.match has no effect with variant=paper, whose matching is no softmax: "
            "leave it at 1."
        )
    for key, value in (
        ("attention_scale", config.attention_scale),
        *((f"temperature.{name}", value) for name, value in config.temperature.items()),
    ):
        if not 0 < value < math.inf:
            raise ConfigError(f"{key} = {value}: must be finite and greater than 0.")
    if config.sampling == "video_batch":
        for name in set(config.stage_names) - {"meta"}:
            if (size := config.stages[name].batch_size) > SEGMENTS:
                raise ConfigError(
                    f"stages.{name}.batch_size = {size}: with sampling=video_batch its windows are "
                    f"of different ones of a video's {SEGMENTS} segments, so {SEGMENTS} at most."
                )
    if not 0 <= config.meta.step_size_learning_rate < math.inf:
        raise ConfigError(
            f"meta.step_size_learning_rate = {config.meta.step_size_learning_rate}: finite and not "
            "negative; 0 keeps the step sizes as they begin."
        )
    for name in ("support", "query"):
        if config.meta[name] < 1:
            raise ConfigError(f"meta.{name} = {config.meta[name]}: at least 1 window.")
    softplus = config.step_size_map == "softplus"
    if config.meta.step_size < 0 or (softplus and config.meta.step_size == 0):
        raise ConfigError(
            f"meta.step_size = {config.meta.step_size}: not negative at the start"
            + (", and above 0 with step_size_map=softplus." if softplus else ".")
        )


def _input_spec(config) -> InputSpec:
    return InputSpec(
        frames=5,
        sees=(0, 1, 2, 3),
        target=4,
        scored=(4,),
        height=config.input.height,
        width=config.input.width,
        channels=config.input.channels,
        colour="bgr" if config.input.channels == 3 else "grey",
        stride=config.input.stride,
        step=config.input.step,
    )


def _optimizer(config, name):
    """Adam; in meta-training a second rate for the step sizes (two Adams but for their rates)."""

    def optimizer(*, steps_per_epoch, steps):
        settings = config.stages[name]
        adam = optim.adam(
            settings.learning_rate,
            settings.schedule,
            steps_per_epoch=steps_per_epoch,
            steps=steps,
        )
        if name != "meta":
            return adam
        factor = config.meta.step_size_learning_rate / settings.learning_rate
        scaled = optax.masked(optax.scale(factor), {"init": False, "step_size": True})
        return optax.chain(adam, scaled)

    return optimizer


def _fusion(config) -> Fusion:
    """The parts of frame and feature map, together and apart.

    `code`: both as PSNR, min–max a video, weighted, smoothed by a Gaussian of 15 frames that looks
    seven ahead. `paper`: the plain sum. Source: MPN eq. (12), the published script; turned so that
    higher is stranger.
    """
    code = config.variant == "code"
    kind = "psnr" if code else "error"
    frame, feature = f"{kind}_frame", f"{kind}_feature"
    weight = config.weights.score
    share = {frame: weight, feature: 1 - weight} if code else {frame: 1.0, feature: weight}
    parts = (frame, feature) if config.prototypes else (frame,)
    if not config.prototypes:
        share = {frame: 1.0}
    results = [("combine", "fused", share)]
    if config.prototypes:
        results += [("combine", "frame_only", {frame: 1.0})]
        results += [("combine", "feature_only", {feature: 1.0})]
    turned = [("negate", part) for part in parts] if code else []
    scaled = [("minmax", "video")] if code else []
    smoothed = [("smooth", _TAPS, "nearest", False)] if code else []
    return Fusion(
        assign="mean",
        paper=(*turned, *scaled, *results, *smoothed),
        online=(*turned, ("standardise",), *results),
        default="fused",
    )


class Attention(nn.Module):
    """The weights `[C, M]` of the linear layer that attends to the map."""

    prototypes: int
    scale: float

    @nn.compact
    def __call__(self, channels: int):
        def init(key, shape, dtype=float):
            return self.scale * torch_uniform(channels)(key, shape, dtype)

        return self.param("kernel", init, (channels, self.prototypes))


class Network(nn.Module):
    """The U-Net without BatchNorm, in two halves that meet at the plug, and the unit's weights."""

    width: int
    channels: int
    plug: str
    prototypes: int
    scale: float
    dtype: Any = None

    def setup(self):
        self.encoder = unet.Encoder(self.width, norm=False, dtype=self.dtype)
        self.decoder = unet.Decoder(self.width, self.channels, norm=False, dtype=self.dtype)
        if self.prototypes:
            self.prototype = Attention(self.prototypes, self.scale)

    def before(self, x):
        """The map at the plug, and the skips that what is behind it needs."""
        behind = _BEHIND[self.plug]
        x, skips = self.encoder(x, None, train=False)
        levels = tuple(level for level in unet.LEVELS if level not in behind)
        x = self.decoder(x, skips, None, train=False, levels=levels)
        return x, skips[: len(behind) - 1]

    def behind(self, x, skips):
        """The frame."""
        return self.decoder(x, skips, None, train=False, levels=_BEHIND[self.plug])

    def attention(self):
        return self.prototype(_CHANNELS[self.plug] * self.width)

    def __call__(self, x):
        x, skips = self.before(x)
        if self.prototypes:
            self.attention()
        return self.behind(x, skips)


class Model:
    """The pure functions of MPN for one configuration; nothing here ever changes.

    Features are what θ is applied to, and do not depend on it: `map` `[B, h, w, C]` of unit length,
    `skips`, `target` `[B, H, W, c]`, `mask` `[B]`.
    """

    def __init__(self, config):
        self.net = Network(
            width=config.width,
            channels=config.input.channels,
            plug=config.plug,
            prototypes=config.prototypes,
            scale=config.attention_scale,
            dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        )
        self.spec = _input_spec(config)
        self.prototypes, self.paper = config.prototypes, config.variant == "paper"
        self.signed_ratio = self.paper and config.plug == "1/8" and config.prototypes > 0
        self.temperature = config.temperature.attention, config.temperature.match
        self.weights = {name: config.weights[name] for name in ("frame", "compact", "diverse")}
        published = config.adapt_weights == "published"
        self.adapt_weights = self.weights | ({"compact": 0.1, "diverse": 0.1} if published else {})
        self.softplus = config.step_size_map == "softplus"
        self.learns_step_sizes = "meta" in config.stage_names
        self.first_step_size = config.meta.step_size
        self.inner = {name: config.meta[name] for name in ("steps", "order", "remat")}
        self.adapt_rate = config.adapt.learning_rate
        behind = _BEHIND[config.plug]
        self.adapted = tuple(f"block{level}" for level in behind) + ("out",)
        self.adapted += tuple(f"up{level - 1}" for level in behind if level > 1)

    # Variables and inputs

    def init(self, key):
        """Parameters, and step sizes where they are to be learned."""
        spec = self.spec
        x = jnp.zeros((1, spec.height, spec.width, len(spec.sees) * spec.channels))
        params = self.net.init(key, x)["params"]
        theta, _ = self.split(params)
        state = {"step_size": self.step_sizes(theta)} if self.learns_step_sizes else {}
        return {"params": params, "state": state}

    def step_sizes(self, theta):
        """The first step sizes, one a parameter, as `step_size_map` takes them."""
        value = self.first_step_size
        raw = math.log(math.expm1(value)) if self.softplus else value
        return meta.init_step_size(theta, raw)

    def mapped(self, step_size):
        """Step sizes as they are used."""
        return jax.tree.map(jax.nn.softplus, step_size) if self.softplus else step_size

    def split(self, params):
        """θ, the unit and all behind it, and the rest, in the nesting of the parameters."""
        decoder = params["decoder"]
        theta = {"decoder": {name: decoder[name] for name in decoder if name in self.adapted}}
        rest = {name: decoder[name] for name in decoder if name not in self.adapted}
        if self.prototypes:
            theta["prototype"] = params["prototype"]
        return theta, {"encoder": params["encoder"]} | ({"decoder": rest} if rest else {})

    def joined(self, theta, rest):
        """The parameters that `split` took apart."""
        return {**rest, **theta, "decoder": {**rest.get("decoder", {}), **theta["decoder"]}}

    def features(self, params, frames, mask):
        """What θ is applied to, of windows `[B, T, H, W, c]`; `params` may lack θ."""
        dtype = jax.tree.leaves(params)[0].dtype
        x, target = sees_and_target(self.spec, frames, dtype)
        x, skips = self.net.apply({"params": params}, x, method="before")
        return {
            "map": unit(x.astype(dtype)),
            "skips": tuple(skip.astype(dtype) for skip in skips),
            "target": target,
            "mask": mask,
        }

    # The unit

    def dynamic(self, weights, features):
        """The unit on one image's map `[N, C]`.

        Returns:
          What is added to the map `[N, C]`, and what the losses and pictures need: `prototypes`
          `[M, C]`, `attention`, `similarity` and `match` `[N, M]`.

        Source: MPN eqs. (1) to (3).
        """
        attend, choose = self.temperature
        attention = prototypes.attention(features, weights, temperature=attend)
        made = prototypes.ensemble(features, attention)
        if not self.paper:
            made = unit(made)
        similarity = prototypes.similarity(features, made)
        if self.paper:
            match = prototypes.ratio_matching(similarity)
            rebuilt = prototypes.retrieve(match, made)
        else:
            match = prototypes.softmax_matching(similarity, temperature=choose)
            rebuilt = prototypes.retrieve_unit(match, made)
        seen = {"prototypes": made, "attention": attention}
        return rebuilt, {**seen, "similarity": similarity, "match": match}

    def unit(self, theta, features):
        """The unit on a batch of maps: the maps behind it, and what `dynamic` says, `[B, …]`."""
        maps = features["map"]
        flat = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        weights = self.net.apply({"params": theta}, method="attention")
        rebuilt, seen = jax.vmap(self.dynamic, in_axes=(None, 0))(weights, flat)
        return maps + rebuilt.reshape(maps.shape), {**seen, "pixels": flat, "rebuilt": rebuilt}

    def frame(self, theta, maps, skips):
        """The predicted frame `[B, H, W, c]` in -1..1."""
        output = self.net.apply({"params": theta}, maps, skips, method="behind")
        return output.astype(maps.dtype)

    def compactness(self, pixels, seen):
        """How far one image's pixels `[N, C]` are from the prototypes that match them best.

        Source: MPN eq. (6); the code's is the mean over all N·C squares.
        """
        square = prototypes.squared_distances(
            pixels, seen["prototypes"], seen["similarity"], seen["match"]
        )
        return jnp.mean(root(square)) if self.paper else jnp.mean(square) / pixels.shape[-1]

    def diversity(self, made):
        if self.paper:
            return prototypes.diversity(made)
        return prototypes.squared_diversity(made)

    # Training

    def pretrain_loss(self, params, state, batch, key, *, train):
        """The frame loss of the autoencoder alone: nothing is added to the map."""
        del key, train  # MPN has neither augmentation nor statistics
        features = self.features(params, batch["frames"], batch["mask"])
        output = self.frame(params, features["map"], features["skips"])
        loss = masked_mean(self.frame_loss(output, features["target"]), batch["mask"])
        return self.weights["frame"] * loss, (state, {"frame": loss})

    def joint_loss(self, params, state, batch, key, *, train):
        """Frame loss, compactness and diversity, and what shows whether prototypes are alike."""
        if not self.prototypes:
            return self.pretrain_loss(params, state, batch, key, train=train)
        features = self.features(params, batch["frames"], batch["mask"])
        total, (parts, seen) = self.objective(params, features, self.weights)
        alike = jax.vmap(self.likeness)(jax.lax.stop_gradient(seen))
        alike = {name: masked_mean(value, batch["mask"]) for name, value in alike.items()}
        return total, (state, {**parts, **alike})

    def objective(self, theta, features, weights):
        """All that depends on θ: the weighted loss, its parts, and what the unit saw.

        Source: MPN eqs. (4) to (8).
        """
        mask = features["mask"]
        maps, seen = features["map"], {}
        if self.prototypes:
            maps, seen = self.unit(theta, features)
        output = self.frame(theta, maps, features["skips"])
        parts = {"frame": masked_mean(self.frame_loss(output, features["target"]), mask)}
        if self.prototypes:
            compact = jax.vmap(self.compactness)(seen["pixels"], seen)
            diverse = jax.vmap(self.diversity)(seen["prototypes"])
            parts["compact"] = masked_mean(compact, mask)
            parts["diverse"] = masked_mean(diverse, mask)
        return sum(weights[name] * parts[name] for name in parts), (parts, seen)

    def frame_loss(self, output, target):
        """Of each row: the mean square, in `paper` the length of the difference."""
        if self.paper:
            return length((output - target).reshape(output.shape[0], -1))
        return jnp.mean(jnp.square(output - target), axis=(1, 2, 3))

    def likeness(self, seen):
        """How much one image's prototypes, attentions and rebuilt pixels are alike."""
        attention, match = seen["attention"], seen["match"]
        number, made = attention.shape[0], unit(seen["prototypes"])
        best = jnp.argmax(match, axis=-1)
        won = jnp.mean(best[:, None] == jnp.arange(self.prototypes)[None], axis=0)
        spread = jnp.sum(jnp.var(seen["rebuilt"], axis=0))
        found = {
            "attention_peak": number * jnp.max(attention),
            "attention_entropy": jnp.mean(jnp.sum(_entropy(attention), axis=0)),
            "match_entropy": jnp.mean(jnp.sum(_entropy(match), axis=-1)),
            "popular": jnp.max(won),
            "rebuilt_spread": jnp.sqrt(spread),
        }
        if self.prototypes > 1:
            mean, least = prototypes.pair_distances(made)
            # Of unit vectors: cos = 1 - d² / 2, in the mean over pairs.
            square = 2 - 2 * jnp.matmul(made, made.T, precision=jax.lax.Precision.HIGHEST)
            pairs = self.prototypes * (self.prototypes - 1)
            found["pair_distance"], found["pair_distance_least"] = mean, least
            found["pair_cosine"] = 1 - jnp.sum(square) / (2 * pairs)
        return found

    def remark(self, parts):
        """Says that the prototypes have become one, which published trainings show, too.

        And that the paper's matching is guarded where the map has signs.
        """
        said = []
        if (cosine := parts.get("pair_cosine", 0.0)) > _ALIKE:
            said.append(
                f"the prototypes are nearly one (mean cosine {cosine:.5f}). So they are published; "
                "attention_scale, temperature.attention, temperature.match or a larger "
                "weights.diverse move them apart."
            )
        if self.signed_ratio:
            said.append(
                "variant=paper divides by sums of similarities, which at plug=1/8 may vanish: "
                "those nearer to 0 than 1e-6 count as 1e-6, with their sign."
            )
        return " ".join(said) or None

    # Meta-training

    def begin(self, variables, statistics=None):
        """θ and its step sizes as parameters, the frozen rest as state."""
        del statistics
        theta, rest = self.split(variables["params"])
        step_size = variables["state"].get("step_size")
        if step_size is None:
            step_size = self.step_sizes(theta)
        return {"params": {"init": theta, "step_size": step_size}, "state": {"frozen": rest}}

    def finish(self, variables):
        params = self.joined(variables["params"]["init"], variables["state"]["frozen"])
        return {"params": params, "state": {"step_size": variables["params"]["step_size"]}}

    def episode_loss(self, params, state, batch, key, *, train):
        """The loss on the query windows after steps on the support windows, mean over episodes.

        The features of all windows are computed once: they do not depend on θ.

        Source: MPN eqs. (9) to (11).
        """
        del key, train
        sides = ("support", "query")
        windows = {side: batch[side] for side in sides}
        sizes = {side: windows[side].shape[:2] for side in sides}
        flat = jnp.concatenate(
            [frames.reshape(-1, *frames.shape[2:]) for frames in windows.values()]
        )
        mask = jnp.concatenate([batch[f"{side}_mask"].reshape(-1) for side in sides])
        every = jax.lax.stop_gradient(self.features(state["frozen"], flat, mask))
        ends = math.prod(sizes["support"])
        episodes = {
            "support": jax.tree.map(lambda x: x[:ends], every),
            "query": jax.tree.map(lambda x: x[ends:], every),
        }
        episodes = {
            side: jax.tree.map(lambda x, s=side: x.reshape(*sizes[s], *x.shape[1:]), value)
            for side, value in episodes.items()
        }

        def loss(theta, features):
            total, (parts, _) = self.objective(theta, features, self.weights)
            return total, parts

        given = {**params, "step_size": self.mapped(params["step_size"])}
        total, losses = meta.meta_loss(
            loss, given, {**episodes, "mask": batch["mask"]}, has_aux=True, **self.inner
        )
        mask = batch["mask"]
        parts = {name: masked_mean(value, mask) for name, value in losses.aux.items()}
        return total, (state, {**parts, **self.inner_parts(losses, given["step_size"], mask)})

    def inner_parts(self, losses, step_size, mask):
        """What is logged of the inner loop: its first loss, and the range of the step sizes."""
        flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(step_size)])
        flat = jax.lax.stop_gradient(flat)
        inner = losses.inner
        return {
            "inner": masked_mean(inner[:, 0], mask),
            "step_size_least": jnp.min(flat),
            "step_size_mean": jnp.mean(flat),
            "step_size_most": jnp.max(flat),
            "step_size_negative": jnp.mean((flat < 0).astype(flat.dtype)),
        }

    # Test time

    def score(self, variables, carry, batch):
        """Parts `psnr_frame` and `psnr_feature` in dB (`paper`: `error_frame`, `error_feature`).

        Maps are squared errors of the frame. Source: MPN section 3.4, the published script.
        """
        params = variables["params"]
        features = self.features(params, batch["frames"], batch["mask"])
        output, seen = self.predicted(params, features)
        target = features["target"]
        square = jnp.square(output - target)
        if self.paper:
            parts = {"error_frame": length((output - target).reshape(output.shape[0], -1))}
        else:  # between images in 0..1
            parts = {"psnr_frame": _decibels(jnp.mean(square, axis=(1, 2, 3)) / 4)}
        if self.prototypes:
            compact = jax.vmap(self.compactness)(seen["pixels"], seen)
            if self.paper:
                parts["error_feature"] = compact
            else:
                parts["psnr_feature"] = _decibels(compact)
        mask = batch["mask"]
        parts = {name: jnp.where(mask, part, jnp.nan)[:, None] for name, part in parts.items()}
        return carry, Scores(parts, maps=jnp.mean(square, axis=-1)[:, None])

    def predicted(self, params, features):
        maps, seen = features["map"], {}
        if self.prototypes:
            maps, seen = self.unit(params, features)
        return self.frame(params, maps, features["skips"]), seen

    def adapt(self, variables, support, *, steps):
        """Gradient steps on θ, by the learned step sizes or, without, at `adapt.learning_rate`.

        Source: MPN eqs. (9), (10).
        """
        theta, rest = self.split(variables["params"])
        features = self.features(rest, support["frames"], support["mask"])
        step_size = variables["state"].get("step_size")
        rate = self.adapt_rate if step_size is None else self.mapped(step_size)

        def loss(theta, features):
            return self.objective(theta, features, self.adapt_weights)[0]

        theta, losses = meta.adapt(loss, theta, rate, features, steps=steps)
        return {**variables, "params": self.joined(theta, rest)}, losses

    def pictures(self, variables, batch):
        """`target`, `output` `[B,H,W,C]` in 0..1; `prototypes` `[B,h,w,M]`, each one's attention,
        and their sum `normalcy` `[B,h,w,1]`, both as shares of the largest value of the image.
        """
        params = variables["params"]
        features = self.features(params, batch["frames"], batch["mask"])
        output, seen = self.predicted(params, features)
        drawn = {"target": (features["target"] + 1) / 2, "output": (output + 1) / 2}
        if self.prototypes:
            shape = features["map"].shape[:3]
            maps = seen["attention"].reshape(*shape, self.prototypes)
            drawn["prototypes"] = _share(maps)
            drawn["normalcy"] = _share(jnp.sum(maps, axis=-1, keepdims=True))
        return drawn


def _decibels(square):
    """A mean square as PSNR; what is under 1e-10 counts as that."""
    return 10 * jnp.log10(1 / jnp.maximum(square, 1e-10))


def _entropy(shares):
    """`-p log p` of each share; 0 where there is none."""
    positive = shares > 0
    return -jnp.where(positive, shares * jnp.log(jnp.where(positive, shares, 1)), 0)


def _share(maps):
    return maps / jnp.max(maps, axis=(1, 2, 3), keepdims=True)


def published(config) -> Published:
    """Where each tensor of the authors' state dict lies in our variables."""
    blocks = {
        "encoder.moduleConv1": "encoder/block1",
        "encoder.moduleConv2": "encoder/block2",
        "encoder.moduleConv3": "encoder/block3",
        "encoder.moduleConv4": "encoder/block4",
        "decoder.moduleConv": "decoder/block4",
        "decoder.moduleDeconv3": "decoder/block3",
        "decoder.moduleDeconv2": "decoder/block2",
        "ohead": "decoder/block1",
    }
    layers = {}
    for theirs, ours in blocks.items():
        for i, index in ((1, 0), (2, 2)):
            layers[f"{theirs}.{index}"] = (f"{ours}/conv{i}", "conv")
    for level in (3, 2, 1):
        layers[f"decoder.moduleUpsample{level + 1}.0"] = (f"decoder/up{level}/conv", "upsample")
    layers["ohead.4"] = ("decoder/out", "conv")
    values = {}
    for theirs, (ours, kind) in layers.items():
        values[f"{theirs}.weight"] = (f"params/{ours}/kernel", kind)
        values[f"{theirs}.bias"] = (f"params/{ours}/bias", "plain")
    if config.prototypes:
        values["prototype.Mheads.weight"] = ("params/prototype/kernel", "linear")
    return Published(values, (), step_sizes=True)
