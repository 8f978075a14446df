"""MPN and MPU: dynamic prototypes, and a new scene in a few shots (Lv, Chen, Cui, Xu, Li, Yang,
CVPR 2021).

A U-Net predicts the fifth frame from four. Late in its decoder a unit makes M prototypes out of the
frame's own feature map, rebuilds every pixel from them and adds the result. What is badly
predicted, or far from every prototype, is strange. θ, the unit and all behind it, can be
meta-learned: an initialisation and a step size for each parameter, with which one gradient step on
a few clips of a new scene adapts it.

`variant="code"` is what the authors' published code computes, `variant="paper"` the printed
formulas where they differ. Letters of the package: B rows, E episodes, K support and Q query
windows, N pixels of the map at the plug, M prototypes, C channels.

In the order of the paper: `network` (the U-Net and where the unit stands in it), `model` (the unit,
its losses, the score), `adaptation` (meta-training, a new scene), `fusion`; beside them `settings`,
`collapse` (what a training log shows of the prototypes) and `published` (tensor names).
"""

from __future__ import annotations

import dataclasses
import functools

import optax

from vad_jax.learning import optim
from vad_jax.methods.mpn import collapse
from vad_jax.methods.mpn.adaptation import Adaptation
from vad_jax.methods.mpn.fusion import fusion
from vad_jax.methods.mpn.model import Model
from vad_jax.methods.mpn.published import published
from vad_jax.methods.mpn.settings import KEYS, SEGMENTS, check, complete
from vad_jax.types import EpisodeSpec, Method, Stage

__all__ = ["KEYS", "Model", "complete", "create", "published"]


def create(config) -> Method:
    """The method of a completed config.

    Raises:
      ConfigError: values that cannot work.
    """
    check(config)
    model = Model(config)
    adaptation = Adaptation(model, config)
    windows = dataclasses.replace(
        model.spec, segments=SEGMENTS if config.sampling == "video_batch" else 0
    )
    episode = EpisodeSpec(
        config.meta.support,
        config.meta.query,
        segments=SEGMENTS if config.episodes == "published" else 0,
    )
    signed_ratio = config.variant == "paper" and config.plug == "1/8" and config.prototypes > 0
    stages = {
        "pretrain": Stage(
            name="pretrain",
            inputs=windows,
            loss=model.pretrain_loss,
            optimizer=_optimizer(config, "pretrain"),
            trainable=lambda path: not path.startswith("prototype/"),
        ),
        "joint": Stage(
            name="joint",
            inputs=windows,
            loss=model.joint_loss,
            optimizer=_optimizer(config, "joint"),
            remark=functools.partial(collapse.remark, signed_ratio=signed_ratio),
        ),
        "meta": Stage(
            name="meta",
            inputs=dataclasses.replace(model.spec, row=episode),
            loss=adaptation.episode_loss,
            optimizer=_optimizer(config, "meta"),
            begin=adaptation.begin,
            finish=adaptation.finish,
            builds_on="the network in front of the plug, which it freezes",
        ),
    }
    return Method(
        inputs=model.spec,
        stages=tuple(stages[name] for name in config.stage_names),
        fusion=fusion(config),
        init=model.init,
        start=lambda variables: (),
        score=model.score,
        carry_over="none",
        adapt=adaptation.adapt,
        rule=adaptation.rule,
        pictures=model.pictures,
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
