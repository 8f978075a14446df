"""A small MNAD on the synthetic set: installs nothing, downloads nothing.

    python -m vad_jax.train --config=configs/quickstart.py

Writes `data/synthetic` (seconds), trains and evaluates in under five minutes on two cores.
"""

from vad_jax import config as configs


def get_config():
    """Frame prediction at 64x64, grey, width 8."""
    config = configs.defaults("mnad")
    config.data.update(name="synthetic", root="data/synthetic", validation=("05",))
    config.input.update(height=64, width=64, channels=1)
    config.width = 8
    config.stages.train.update(epochs=10, batch_size=4, learning_rate=1e-3)
    return config
