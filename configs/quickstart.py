"""A small MNAD on one synthetic camera: installs nothing, downloads nothing.

    python -m vad_jax.train --config=configs/quickstart.py

Writes `data/synthetic` (seconds), trains and evaluates in a few minutes on two cores. Of the rates
1e-3, 2e-3, 4e-3 and 8e-3 this has the least loss on the held-out video of the set that another seed
makes; number and length of the test videos were chosen with their labels in sight.
"""

from vad_jax import config as configs


def get_config():
    """Frame prediction at 64x64, grey, width 8."""
    config = configs.defaults("mnad")
    config.data.update(
        name="synthetic_camera", root="data/synthetic", validation=("05",), backend="resident"
    )
    config.input.update(height=64, width=64, channels=1)
    config.width = 8
    config.stages.train.update(epochs=8, batch_size=4, learning_rate=4e-3)
    return config
