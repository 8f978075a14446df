"""MPN and MPU (Lv et al., CVPR 2021): dynamic prototypes, and a new scene in a few shots.

    python -m vad_jax.train --config=configs/mpn.py:ped2_small --config.data.root=PATH/TO/ped2

Choices are made on the held-out training videos (`data.validation`), never on test labels.
"""

from vad_jax import config as configs


def tiny(config):
    """The smallest that works: conformance tests; all three stages."""
    config.input.update(height=16, width=16, channels=1)
    config.width = 4
    config.prototypes = 4
    config.stage_names = ("pretrain", "joint", "meta")
    for stage in ("pretrain", "joint"):
        config.stages[stage].update(epochs=2, batch_size=4, learning_rate=2e-3)
    config.stages.meta.update(epochs=1, batch_size=4, learning_rate=2e-3)
    config.meta.update(step_size=1e-2, step_size_learning_rate=1e-3)


def ped2(config):
    """The published code's setting: 256x256, 16,000 steps; published 96.9 micro AUC."""
    config.data.update(name="ucsd_ped2", root="data/ped2")


def ped2_small(config):
    """Grey, 64x64, width 16: minutes on two cores."""
    ped2(config)
    config.input.update(height=64, width=64, channels=1)
    config.width = 16
    config.data.validation = ("15", "16")
    config.stages.joint.epochs = 8


PRESETS = {preset.__name__: preset for preset in (tiny, ped2, ped2_small)}


def get_config(preset: str = "ped2"):
    """The config of a preset."""
    return configs.preset(configs.defaults("mpn"), PRESETS, preset)
