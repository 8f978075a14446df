"""How θ is adapted to a scene, and meta-learned to be: first parameters and step sizes (MPU)."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from vad_jax.learning import meta
from vad_jax.methods.mpn.model import Model
from vad_jax.methods.mpn.network import joined
from vad_jax.nets.masked import masked_mean


class Adaptation:
    """Pure functions beside those of a `Model`; nothing here ever changes."""

    def __init__(self, model: Model, config):
        self.model, self.rate = model, config.adapt.learning_rate
        published = config.adapt_weights == "published"
        self.weights = model.weights | ({"compact": 0.1, "diverse": 0.1} if published else {})

    # Meta-training

    def begin(self, variables):
        """θ and its step sizes as parameters, the frozen rest as state."""
        theta, rest = self.model.split(variables["params"])
        step_size = variables["state"].get("step_size")
        if step_size is None:
            step_size = self.model.step_sizes(theta)
        return {"params": {"init": theta, "step_size": step_size}, "state": {"frozen": rest}}

    def finish(self, variables):
        params = joined(variables["params"]["init"], variables["state"]["frozen"])
        return {"params": params, "state": {"step_size": variables["params"]["step_size"]}}

    def episode_loss(self, params, state, batch, key, *, train):
        """The loss on the query windows after steps on the support windows, mean over episodes.

        Source: MPN eqs. (9) to (11).
        """
        del key, train
        model, mask = self.model, batch["mask"]

        def loss(theta, features):
            total, (parts, _) = model.objective(theta, features, model.weights)
            return total, parts

        episodes = {**self.features(state["frozen"], batch), "mask": mask}
        given = {**params, "step_size": model.mapped(params["step_size"])}
        total, losses = meta.meta_loss(loss, given, episodes, has_aux=True, **model.inner)
        parts = {name: masked_mean(value, mask) for name, value in losses.aux.items()}
        return total, (state, {**parts, **inner_parts(losses, given["step_size"], mask)})

    def features(self, frozen, batch):
        """Of the windows of `support` and `query`, by these names, arrays `[E, K or Q, …]`.

        Computed once, in one batch: they do not depend on θ.
        """
        sides = ("support", "query")
        windows = {side: batch[side] for side in sides}
        sizes = {side: windows[side].shape[:2] for side in sides}
        flat = jnp.concatenate(
            [frames.reshape(-1, *frames.shape[2:]) for frames in windows.values()]
        )
        mask = jnp.concatenate([batch[f"{side}_mask"].reshape(-1) for side in sides])
        every = jax.lax.stop_gradient(self.model.features(frozen, flat, mask))
        ends = math.prod(sizes["support"])
        parted = {
            "support": jax.tree.map(lambda x: x[:ends], every),
            "query": jax.tree.map(lambda x: x[ends:], every),
        }
        return {
            side: jax.tree.map(lambda x, s=side: x.reshape(*sizes[s], *x.shape[1:]), value)
            for side, value in parted.items()
        }

    # A new scene

    def adapt(self, variables, support, *, steps, learning_rate=None):
        """Gradient steps on θ, by the learned step sizes or, without, at `adapt.learning_rate`.

        A rate that is given takes the place of both.

        Source: MPN eqs. (9), (10).
        """
        model = self.model
        theta, rest = model.split(variables["params"])
        features = model.features(rest, support["frames"], support["mask"])
        step_size = variables["state"].get("step_size")
        rate = self.rate if step_size is None else model.mapped(step_size)
        rate = rate if learning_rate is None else learning_rate

        def loss(theta, features):
            return model.objective(theta, features, self.weights)[0]

        theta, losses = meta.adapt(loss, theta, rate, features, steps=steps)
        return {**variables, "params": joined(theta, rest)}, losses

    def rule(self, variables):
        """How `adapt` steps, in words."""
        if "step_size" in variables["state"]:
            return "by learned step sizes"
        return f"at the rate {self.rate:g} (adapt.learning_rate)"


def inner_parts(losses: meta.Losses, step_size: Any, mask: jax.Array) -> dict[str, jax.Array]:
    """What is logged of the inner loop: its first loss, and the range of the step sizes."""
    flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(step_size)])
    flat = jax.lax.stop_gradient(flat)
    return {
        "inner": masked_mean(losses.inner[:, 0], mask),
        "step_size_least": jnp.min(flat),
        "step_size_mean": jnp.mean(flat),
        "step_size_most": jnp.max(flat),
        "step_size_negative": jnp.mean((flat < 0).astype(flat.dtype)),
    }
