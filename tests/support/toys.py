"""Small methods that use what the published ones do not: many scored frames, labels, a lead.

Each is a few lines of mathematics, so that the laws of the house are held over every one of its
promises before a tenant needs them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.learning import optim
from vad_jax.nets import drawing
from vad_jax.nets.masked import masked_mean
from vad_jax.nets.pixels import numbers
from vad_jax.types import Fusion, InputSpec, Method, Scores, Stage

SIZE = 8


def spec(**changes):
    """Windows of 16 frames that score them all, every 8 frames."""
    given = {
        "frames": 16,
        "sees": tuple(range(16)),
        "target": None,
        "scored": tuple(range(16)),
        "height": SIZE,
        "width": SIZE,
        "channels": 1,
        "colour": "grey",
        "step": 8,
    }
    return InputSpec(**(given | changes))


def motion(inputs, batch, dtype):
    """Squared differences between neighbouring frames of a window, `[B, T, H, W]`."""
    frames = numbers(batch["frames"], inputs.range, dtype)[..., 0]  # [B, L, H, W]
    before = jnp.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    return jnp.square(frames - before)[:, inputs.lead :]


def toy(
    inputs=None,
    *,
    assign="mean",
    labels=0,
    carried="none",
    smooth=(),
    stages=("level",),
):
    """A method that calls motion strange.

    Args:
      inputs: its windows.
      assign: rows to frames.
      labels: K, or 0: each label sees a part of the picture.
      carried: `carry_over`; the carry is the mean motion of the stream so far.
      smooth: operations at the end of `online`.
      stages: `level` learns the mean motion of normal footage.
    """
    inputs = inputs or spec()

    def init(key):
        del key
        level = jnp.zeros((SIZE, SIZE))
        params = {"level": level, "frozen": {"scale": jnp.ones(())}}
        if not stages:
            return {"params": {}, "state": {}}
        measured = {"excess": {"mean": jnp.zeros(()), "std": jnp.ones(())}}
        return {"params": params, "state": {"measured": measured}}

    def excess(params, batch):
        level = params["level"] if params else jnp.zeros((SIZE, SIZE))
        dtype = level.dtype
        maps = motion(inputs, batch, dtype) - level[None, None]
        return maps[:, np.asarray(inputs.scored)]

    def start(variables):
        return () if carried == "none" else {"mean": jnp.zeros(()), "number": jnp.zeros(())}

    def score(variables, carry, batch):
        maps = excess(variables["params"], batch)
        mask = batch["mask"]
        error = jnp.mean(maps, axis=(2, 3))  # [B, S]
        if carried != "none":

            def row(carry, values):
                own, counts = values
                number = carry["number"] + counts
                mean = carry["mean"] + counts * (jnp.mean(own) - carry["mean"]) / jnp.maximum(
                    number, 1
                )
                return {"mean": mean, "number": number}, own - carry["mean"]

            carry, error = jax.lax.scan(row, carry, (error, mask.astype(error.dtype)))
        parts = {"excess": error}
        if labels:
            thirds = jnp.array_split(jnp.arange(SIZE), labels)
            each = [jnp.mean(maps[..., place], axis=(2, 3)) for place in thirds]
            parts = {"excess": jnp.stack(each, axis=-1)}
        parts = {
            name: jnp.where(mask.reshape(-1, *[1] * (part.ndim - 1)), part, jnp.nan)
            for name, part in parts.items()
        }
        return carry, Scores(parts, maps=maps)

    def loss(params, state, batch, key, *, train):
        del key, train
        each = jnp.mean(jnp.square(excess(params, batch)), axis=(1, 2, 3))
        value = masked_mean(each, batch["mask"])
        return value, (state, {"level": value})

    def measure(params, state, batch):
        del state
        return {"excess": jnp.mean(excess(params, batch), axis=(1, 2, 3))}

    def adapt(variables, support, *, steps, learning_rate=None):
        del support, learning_rate
        return variables, jnp.zeros((steps,))

    def pictures(variables, batch):
        maps = excess(variables["params"], batch)[..., None]
        frames = numbers(batch["frames"], (0.0, 1.0), maps.dtype)[:, inputs.lead :]
        seen = frames[:, np.asarray(inputs.scored)]
        return {
            "target": drawing.image(seen, "frame"),
            "motion": drawing.image(jnp.clip(maps, 0, 4), "motion", range=(0.0, 4.0)),
        }

    level = Stage(
        name="level",
        inputs=inputs,
        loss=loss,
        optimizer=lambda *, steps_per_epoch, steps: optim.adam(
            1e-2, "constant", steps_per_epoch=steps_per_epoch, steps=steps
        ),
        trainable=lambda path: not path.startswith("frozen/"),
        measure=measure,
    )
    operations = (("assign", assign), ("standardise",), ("combine", "fused", {"excess": 1.0}))
    return Method(
        inputs=inputs,
        stages=tuple({"level": level}[name] for name in stages),
        fusion=Fusion(
            paper=(("assign", assign), ("minmax", "video"), ("combine", "fused", {"excess": 1.0})),
            online=(*operations, *smooth),
            default="fused",
        ),
        init=init,
        start=start,
        score=score,
        carry_over=carried,
        adapt=adapt,
        pictures=pictures,
        labels=lambda variables: tuple(f"part {i}" for i in range(labels)) if labels else None,
    )


class Clip:
    """A video of noise as scoring takes it; the frames in `lost` are not there."""

    def __init__(self, name, length, *, lost=(), seed=0, size=SIZE):
        rng = np.random.default_rng([seed, length])
        self.name = name
        self.frames = rng.integers(0, 256, (length, size, size, 1)).astype(np.uint8)
        self.lost = set(lost)

    def __len__(self):
        return len(self.frames)

    def stream(self):
        for i, frame in enumerate(self.frames):
            yield None if i in self.lost else frame
