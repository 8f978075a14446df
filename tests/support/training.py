"""Training without a config file or a data set: small methods, on noise."""

import json
import types

import numpy as np
from support.footage import frames_of

from vad_jax.data.footage import Footage
from vad_jax.learning import loop
from vad_jax.runs.workdir import Workdir


def settings(method, *, epochs=2, batch_size=5, log_steps=10, backend="resident", every=1):
    """What the loop asks of a config; `every`: epochs from one checkpoint to the next."""
    stage = types.SimpleNamespace(epochs=epochs, steps=None, batch_size=batch_size)
    return types.SimpleNamespace(
        seed=0,
        log_steps=log_steps,
        data=types.SimpleNamespace(backend=backend),
        checkpoint=types.SimpleNamespace(epochs=every, keep=2),
        stages={stage_.name: stage for stage_ in method.stages},
    )


def noise(*seeds, length=20, size=8):
    """Videos of noise, one a seed, named by it."""
    return Footage(
        [
            frames_of(
                np.random.default_rng(seed).integers(0, 256, (length, size, size, 1), np.uint8),
                name=f"{seed:02d}",
            )
            for seed in seeds
        ]
    )


def train(method, config, training, validation, folder, **options):
    """The loop, in a folder that is made."""
    folder.mkdir(exist_ok=True)
    files = Workdir(folder)
    return loop.train(method, config, training, validation, files, digest="d", **options)


def lines(folder):
    """The log of a run."""
    return [json.loads(line) for line in Workdir(folder).log.read_text().splitlines()]


def without_times(entries):
    """Lines of the log but for what the machine has to do with."""
    times = ("clips_per_second", "seconds")
    return [{k: v for k, v in entry.items() if k not in times} for entry in entries]
