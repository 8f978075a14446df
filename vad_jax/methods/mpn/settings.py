"""The keys of MPN's configuration: defaults, what follows from the variant, what is refused."""

from __future__ import annotations

import math
from typing import Any

from ml_collections import config_dict

from vad_jax.learning import optim
from vad_jax.methods.mpn.network import PLUGS
from vad_jax.types import SEGMENTS, ConfigError, InputSpec, window_spec


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
            # Less memory for more time, the same numbers but for rounding: inner steps computed
            # again in the backward pass; so many episodes at a time and each of them again (None:
            # all side by side). The features of all are computed at once. Several devices that
            # share a batch send its episodes to each other where they come in chunks.
            "remat": False,
            "chunk": config_dict.placeholder(int),
            # Inner steps, and episodes if not in chunks, written out: quicker on CPUs, longer to
            # compile.
            "unroll": False,
        },
        "stage_names": config_dict.placeholder(tuple),
        "stages": {"pretrain": stage(), "joint": stage(), "meta": stage()},
        # Without learned step sizes θ is fine-tuned at this rate; with them it is not read.
        "adapt": {"steps": 1, "learning_rate": 1e-4},
        "adapt_weights": "training",
    }


CHOICES = {
    "variant": ("code", "paper"),
    "plug": PLUGS,
    "sampling": ("shuffled", "video_batch"),
    "episodes": ("disjoint", "published"),
    "step_size_map": ("identity", "softplus"),
    "adapt_weights": ("training", "published"),
    "meta.order": (1, 2),
    **{f"stages.{name}.schedule": optim.SCHEDULES for name in ("pretrain", "joint", "meta")},
}


STATE = ("step_size_map",)  # settings that the meaning of a run's state depends on
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


def check(config) -> None:
    """Looks over the values of a completed config.

    Raises:
      ConfigError: one that cannot work.
    """
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
    chunk, episodes = config.meta.chunk, config.stages.meta.batch_size
    if chunk is not None and not 1 <= chunk <= episodes:
        raise ConfigError(
            f"meta.chunk = {chunk}: from 1 to stages.meta.batch_size = {episodes} episodes at a "
            "time, or None for all side by side."
        )
    softplus = config.step_size_map == "softplus"
    if config.meta.step_size < 0 or (softplus and config.meta.step_size == 0):
        raise ConfigError(
            f"meta.step_size = {config.meta.step_size}: not negative at the start"
            + (", and above 0 with step_size_map=softplus." if softplus else ".")
        )


def input_spec(config) -> InputSpec:
    """Windows of five frames, of which the fifth is predicted from the others."""
    return window_spec(config.input, frames=5, sees=(0, 1, 2, 3), target=4)
