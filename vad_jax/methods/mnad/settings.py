"""The keys of MNAD's configuration: what they are, what follows from others, what is refused."""

from __future__ import annotations

import functools
import operator

from vad_jax.learning import optim
from vad_jax.types import ConfigError, InputSpec, Key, window_spec

_WINDOWS = {  # frames, sees, target
    "prediction": (5, (0, 1, 2, 3), 4),
    "reconstruction": (1, (0,), 0),
    "middle": (16, tuple(range(16)), 8),
}

# To be read as config.memory["items"]: a ConfigDict has methods `items` and `update`.
KEYS = {
    "variant": Key(
        "code",
        "code: what the published code computes; paper: the printed formulas where they differ",
        choices=("code", "paper"),
    ),
    "task": Key(
        "prediction",
        "prediction: the fifth frame from four; reconstruction: a frame from itself; middle: the "
        "ninth frame from sixteen, itself among them",
        choices=tuple(_WINDOWS),
    ),
    "width": Key(
        64, "channels of the U-Net's first level; of a query eight times as many", above=0
    ),
    "input.height": Key(256, "pixels, a multiple of 8", above=0),
    "input.width": Key(256, "pixels, a multiple of 8", above=0),
    "input.channels": Key(3, "1: grey, 3: colour"),
    "input.stride": Key(1, "frames of the video from one of a window to the next", above=0),
    "input.step": Key(1, "frames from the start of a window to that of the next", above=0),
    "memory.items": Key(10, "number of items, at least 2; 0: no memory"),
    "memory.update": Key(
        "gated",
        "which scored windows move the memory; gated: those that look normal",
        choices=("gated", "always", "never"),
        evaluation=True,
    ),
    "memory.reset": Key(
        None,
        "where the trained memory begins anew: with the test set or with each of its videos; "
        "filled in from the variant",
        kind=str,
        choices=("set", "video"),
        evaluation=True,
    ),
    "gate.threshold": Key(
        None,
        "point score under which a window looks normal; filled in from the task",
        kind=float,
        evaluation=True,
    ),
    "gate.error": Key(
        "square",
        "what the point score weighs: squared differences of pixels, or their length over channels",
        choices=("square", "norm"),
        evaluation=True,
    ),
    "weights.compact": Key(None, "of compactness; filled in from the task", kind=float),
    "weights.separate": Key(None, "of separateness; filled in from the task", kind=float),
    "weights.score": Key(
        None,
        "share of the PSNR in the score, the rest is the distance's; filled in from the task",
        kind=float,
        least=0,
        most=1,
        evaluation=True,
    ),
    "margin": Key(1.0, "by which the second item should be farther than the nearest"),
    "stage_names": Key(("train",), "stages that are trained, in order"),
    "stages.train.epochs": Key(60, "length; None where it is given as steps", above=0),
    "stages.train.steps": Key(None, "length; None where it is given as epochs", kind=int, above=0),
    "stages.train.batch_size": Key(4, "windows of a step", above=0),
    "stages.train.learning_rate": Key(
        None, "of Adam; filled in from task and variant", kind=float, above=0
    ),
    "stages.train.schedule": Key("cosine", "of the learning rate", choices=optim.SCHEDULES),
}


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


def check(config) -> None:
    """Looks over the values of a completed config.

    Raises:
      ConfigError: one that cannot work.
    """
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
    if config.input.channels not in (1, 3):
        raise ConfigError(f"input.channels = {config.input.channels}: 1 (grey) or 3 (colour).")


def input_spec(config) -> InputSpec:
    """The windows of the task."""
    frames, sees, target = _WINDOWS[config.task]
    return window_spec(config.input, frames=frames, sees=sees, target=target)
