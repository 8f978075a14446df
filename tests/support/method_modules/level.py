"""A method whose footage is strange where it moves more than normal footage did at that place.

A few lines of mathematics in the house's form, so that what the commands promise of every method
is tried in a second. Its windows are those of MNAD's prediction: five frames, of which the fifth is
scored; `tests/runs/conftest.py` puts it among the methods.
"""

import dataclasses

from support.toys import spec, toy

from vad_jax.learning import meta, optim
from vad_jax.types import Key

KEYS = {
    "input.step": Key(4, "frames from the start of a window to that of the next", above=0),
    "stage_names": Key(("level",), "stages that are trained, in order"),
    "stages.level.epochs": Key(2, "length; None where it is given as steps", above=0),
    "stages.level.steps": Key(None, "length; None where it is given as epochs", kind=int, above=0),
    "stages.level.batch_size": Key(5, "windows of a step", above=0),
    "stages.level.learning_rate": Key(1e-2, "of Adam", above=0),
    "stages.level.schedule": Key("constant", "of the learning rate", choices=optim.SCHEDULES),
}


def complete(config):
    """Nothing follows from other keys."""


def create(config):
    """The method of a completed config."""
    settings = config.stages.level
    method = toy(
        spec(frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), step=config.input.step),
        stages=config.stage_names,
    )
    stage = dataclasses.replace(
        method.stages[0],
        optimizer=lambda *, steps_per_epoch, steps: optim.adam(
            settings.learning_rate, settings.schedule, steps_per_epoch=steps_per_epoch, steps=steps
        ),
    )

    def adapt(variables, support, *, steps, learning_rate=None):
        rate = config.adapt.learning_rate if learning_rate is None else learning_rate

        def loss(params, support):
            return stage.loss(params, variables["state"], support, None, train=False)[0]

        params, losses = meta.adapt(loss, variables["params"], rate, support, steps=steps)
        return {**variables, "params": params}, losses

    return dataclasses.replace(method, stages=(stage,), adapt=adapt)
