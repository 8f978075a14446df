"""MNAD: learning memory-guided normality (Park, Noh, Ham, CVPR 2020).

A U-Net predicts the fifth frame from four (or rebuilds a frame) and passes its code through a
memory of normal patterns. At test time a badly predicted frame, and queries far from every item,
are strange; frames that look normal go on updating the memory.

`variant="code"` is what the authors' published code computes, `variant="paper"` the printed
formulas where they differ. Letters of the package: B rows, N = H/8 · W/8 queries of a row, M items,
C channels.

In the order of the paper: `network` (the U-Net, in halves), `model` (the memory between them, the
losses, the score), `fusion`; beside them `settings` and `published` (tensor names). The memory's
own mathematics lies in `nets/memory.py`.
"""

from __future__ import annotations

from vad_jax.learning import optim
from vad_jax.methods.mnad.fusion import fusion
from vad_jax.methods.mnad.model import Model
from vad_jax.methods.mnad.published import published
from vad_jax.methods.mnad.settings import KEYS, check, complete
from vad_jax.types import Method, Stage

__all__ = ["KEYS", "Model", "complete", "create", "published"]


def create(config) -> Method:
    """The method of a completed config.

    Raises:
      ConfigError: values that cannot work.
    """
    check(config)
    model = Model(config)
    stages = {
        "train": Stage(
            name="train",
            inputs=model.spec,
            loss=model.loss,
            optimizer=lambda *, steps_per_epoch, steps: optim.adam(
                config.stages.train.learning_rate,
                config.stages.train.schedule,
                steps_per_epoch=steps_per_epoch,
                steps=steps,
            ),
        )
    }
    # If the memory does not change at test time, windows are scored in batches, in any order.
    moves = config.memory["items"] > 0 and config.memory["update"] != "never"
    return Method(
        inputs=model.spec,
        stages=tuple(stages[name] for name in config.stage_names),
        fusion=fusion(config),
        init=model.init,
        start=model.start,
        score=model.score,
        carry_over=config.memory.reset if moves else "none",
        adapt=model.adapt,
        rule=lambda variables: f"at the rate {model.adapt_rate:g} (adapt.learning_rate)",
        pictures=model.pictures,
    )
