"""MNAD (Park, Noh, Ham, CVPR 2020): a U-Net with a memory of normal patterns.

    python -m vad_jax.train --config=configs/mnad.py:ped2_small --config.data.root=PATH/TO/ped2

Choices are made on the held-out training videos (`data.validation`), never on test labels.
"""

from vad_jax import config as configs


def tiny(config):
    """The smallest that works: conformance tests."""
    config.input.update(height=16, width=16, channels=1)
    config.width = 4
    config.memory.items = 4
    config.stages.train.update(epochs=2, batch_size=4, learning_rate=2e-3)


def ped2(config):
    """The paper's setting, frame prediction: 256x256, 60 epochs; published 97.0 micro AUC."""
    config.data.update(name="ucsd_ped2", root="data/ped2")


def ped2_reconstruction(config):
    """The paper's reconstruction of single frames; published 90.2 micro AUC."""
    ped2(config)
    config.task = "reconstruction"


def ped2_middle(config):
    """Sixteen frames in, the ninth out; published 91.0 micro AUC."""
    ped2(config)
    config.task = "middle"


def ped2_small(config):
    """Grey, 64x64, width 16: minutes on two cores."""
    ped2(config)
    config.input.update(height=64, width=64, channels=1)
    config.width = 16
    config.data.validation = ("15", "16")
    config.stages.train.epochs = 8


def ped2_small_reconstruction(config):
    """`ped2_small`, one frame rebuilt."""
    ped2_small(config)
    config.task = "reconstruction"


def _ablation(**changes):
    def preset(config):
        ped2_small(config)
        config.update_from_flattened_dict(changes)

    return preset


# The rows of the paper's table 2, at the small size; the score from PSNR alone is in every run's
# evaluation as `psnr_only`.
ABLATIONS = {
    "ped2_small_no_memory": {"memory.items": 0},
    "ped2_small_no_losses": {"weights.compact": 0.0, "weights.separate": 0.0},
    "ped2_small_compact_only": {"weights.separate": 0.0},
    "ped2_small_separate_only": {"weights.compact": 0.0},
    "ped2_small_never_update": {"memory.update": "never"},
    "ped2_small_always_update": {"memory.update": "always"},
    "ped2_small_reset_video": {"memory.reset": "video"},
    "ped2_small_paper": {"variant": "paper"},
}

PRESETS = {
    preset.__name__: preset
    for preset in (
        tiny,
        ped2,
        ped2_reconstruction,
        ped2_middle,
        ped2_small,
        ped2_small_reconstruction,
    )
} | {name: _ablation(**changes) for name, changes in ABLATIONS.items()}


def get_config(preset: str = "ped2"):
    """The config of a preset."""
    return configs.preset(configs.defaults("mnad"), PRESETS, preset)
