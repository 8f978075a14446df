"""The keys of MPN's configuration: what they are, what follows from others, what is refused."""

from __future__ import annotations

import math

from vad_jax.learning import optim
from vad_jax.methods.mpn.network import PLUGS
from vad_jax.types import ConfigError, InputSpec, Key, window_spec

SEGMENTS = 32  # of a video, in the sampling of the published code


def _stage(name: str) -> dict[str, Key]:
    """The keys of a stage; what is None is filled in from the variant."""
    keys = {
        "epochs": Key(None, "length; None where it is given as steps", kind=int, above=0),
        "steps": Key(None, "length; None where it is given as epochs", kind=int, above=0),
        "batch_size": Key(
            None, "episodes of a step" if name == "meta" else "windows of a step", kind=int, above=0
        ),
        "learning_rate": Key(None, "of Adam", kind=float, above=0),
        "schedule": Key("constant", "of the learning rate", choices=optim.SCHEDULES),
    }
    return {f"stages.{name}.{key}": entry for key, entry in keys.items()}


KEYS = {
    "variant": Key(
        "code",
        "code: what the published code computes; paper: the printed formulas where they differ",
        choices=("code", "paper"),
    ),
    "width": Key(64, "channels of the U-Net's first level", above=0),
    "input.height": Key(256, "pixels, a multiple of 8", above=0),
    "input.width": Key(256, "pixels, a multiple of 8", above=0),
    "input.channels": Key(3, "1: grey, 3: colour"),
    "input.stride": Key(1, "frames of the video from one of a window to the next", above=0),
    "input.step": Key(1, "frames from the start of a window to that of the next", above=0),
    "plug": Key(
        "1/1", "where in the decoder the unit stands, by the size of the map there", choices=PLUGS
    ),
    "prototypes": Key(10, "number of them; 0: the plain autoencoder"),
    "weights.frame": Key(1.0, "of the frame loss"),
    "weights.compact": Key(1.0, "of compactness"),
    "weights.diverse": Key(None, "of diversity; filled in from the variant", kind=float),
    "weights.score": Key(
        None,
        "code: share of the frame's PSNR in the score, the rest is the feature map's; paper: "
        "factor of the feature map's error; filled in from variant and stages",
        kind=float,
        evaluation=True,
    ),
    "attention_scale": Key(
        1.0,
        "of the first attention weights; against prototypes that become one, 1 as published",
        above=0,
    ),
    "temperature.attention": Key(1.0, "of the attention; 1 as published", above=0),
    "temperature.match": Key(1.0, "of the matching, variant=code; 1 as published", above=0),
    "sampling": Key(
        "shuffled",
        f"of training windows; video_batch: one video's, from different ones of its {SEGMENTS} "
        "segments",
        choices=("shuffled", "video_batch"),
    ),
    "episodes": Key(
        "disjoint",
        "disjoint: the support are windows in a row, the query shares no frame with them; "
        f"published: all begin in one of a video's {SEGMENTS} segments",
        choices=("disjoint", "published"),
    ),
    "step_size_map": Key(
        "identity",
        "from what is learned to the step size that is used",
        choices=("identity", "softplus"),
        state=True,
    ),
    "meta.steps": Key(1, "inner gradient steps", above=0),
    "meta.order": Key(2, "1: no gradient through the inner gradient", choices=(1, 2)),
    "meta.step_size": Key(
        None, "that every step size begins with; filled in from the variant", kind=float
    ),
    "meta.step_size_learning_rate": Key(
        None, "of the step sizes; filled in from stages.meta.learning_rate", kind=float
    ),
    "meta.support": Key(2, "windows of an episode that are adapted on"),
    "meta.query": Key(2, "windows of an episode that judge the result"),
    "meta.remat": Key(
        False, "less memory for more time: inner steps are computed again in the backward pass"
    ),
    "meta.chunk": Key(
        None,
        "less memory for more time: so many episodes at a time and each of them again; None: all "
        "side by side. The features of all are computed at once. Several devices that share a "
        "batch send its episodes to each other where they come in chunks",
        kind=int,
        before=None,
    ),
    "meta.unroll": Key(
        False,
        "inner steps, and episodes if not in chunks, written out: quicker on CPUs, longer to "
        "compile",
        before=False,
    ),
    "stage_names": Key(
        None, "stages that are trained, in order; filled in from the variant", kind=tuple
    ),
    **_stage("pretrain"),
    **_stage("joint"),
    **_stage("meta"),
    "adapt_weights": Key(
        "training",
        "of the losses in an adaptation; published: 0.1 for compactness and diversity",
        choices=("training", "published"),
        evaluation=True,
    ),
}


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
