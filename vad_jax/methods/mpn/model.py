"""MPN's model: features, the unit that makes prototypes of them, losses, score, pictures."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vad_jax.learning import meta
from vad_jax.methods.mpn import network
from vad_jax.methods.mpn.collapse import likeness
from vad_jax.methods.mpn.settings import input_spec
from vad_jax.nets import drawing, prototypes
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.memory import length, root, unit
from vad_jax.nets.pixels import sees_and_target
from vad_jax.types import Scores


class Model:
    """The pure functions of MPN for one configuration; nothing here ever changes.

    Features are what θ is applied to, and do not depend on it: `map` `[B, h, w, C]` of unit length,
    `skips`, `target` `[B, H, W, c]`, `mask` `[B]`.
    """

    def __init__(self, config):
        self.net = network.Network(
            width=config.width,
            channels=config.input.channels,
            plug=config.plug,
            prototypes=config.prototypes,
            scale=config.attention_scale,
            dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
        )
        self.spec, self.plug = input_spec(config), config.plug
        self.prototypes, self.paper = config.prototypes, config.variant == "paper"
        self.temperature = config.temperature.attention, config.temperature.match
        self.weights = {name: config.weights[name] for name in ("frame", "compact", "diverse")}
        self.softplus = config.step_size_map == "softplus"
        self.learns_step_sizes = "meta" in config.stage_names
        self.first_step_size = config.meta.step_size
        self.inner = {
            name: config.meta[name] for name in ("steps", "order", "remat", "unroll", "chunk")
        }

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
        """θ and the frozen rest of the parameters."""
        return network.split(params, plug=self.plug)

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

    # Its losses

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
        alike = jax.vmap(likeness)(jax.lax.stop_gradient(seen))
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

    def pictures(self, variables, batch):
        """`target` and `output`; `prototypes` `[B,1,h,w,M]`, each one's attention, and their sum
        `normalcy` `[B,1,h,w,1]`, both as shares of the largest value of the image.
        """
        params = variables["params"]
        features = self.features(params, batch["frames"], batch["mask"])
        output, seen = self.predicted(params, features)
        drawn = {
            "target": drawing.image(((features["target"] + 1) / 2)[:, None], "frame"),
            "output": drawing.image(((output + 1) / 2)[:, None], "output"),
        }
        if self.prototypes:
            shape = features["map"].shape[:3]
            maps = seen["attention"].reshape(*shape, self.prototypes)
            total = jnp.sum(maps, axis=-1, keepdims=True)
            drawn["prototypes"] = drawing.maps(_share(maps)[:, None], "attention of prototypes")
            drawn["normalcy"] = drawing.maps(_share(total)[:, None], "sum of the attentions")
        return drawn


def _decibels(square):
    """A mean square as PSNR; what is under 1e-10 counts as that."""
    return 10 * jnp.log10(1 / jnp.maximum(square, 1e-10))


def _share(maps):
    return maps / jnp.max(maps, axis=(1, 2, 3), keepdims=True)
