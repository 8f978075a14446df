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
    """Grey, 64x64, width 16: minutes on two cores.

    The rate has the lowest held-out loss after one epoch among 1e-4, 5e-4, 1e-3 and 2e-3.
    """
    ped2(config)
    config.input.update(height=64, width=64, channels=1)
    config.width = 16
    config.data.validation = ("15", "16")
    for name in ("pretrain", "joint"):
        config.stages[name].update(epochs=4, learning_rate=1e-3, schedule="cosine")


def scenes(config):
    """`ped2_small`'s network on 64 synthetic scenes: what few-shot adaptation starts from."""
    ped2_small(config)
    config.data.update(name="synthetic_scenes", root="data/scenes")
    config.data.validation = tuple(f"{n:03d}_{i:02d}" for n in range(64, 80) for i in (1, 2))
    config.stages.joint.update(epochs=2, schedule="cosine_by_step")
    config.weights.score = 0.7  # as the published few-shot script weighs, adapted or not
    config.adapt.learning_rate = 1e-2  # of 1e-3, 1e-2, 3e-2 and 1e-1 the best on scenes 64 to 79


def scenes_meta(config):
    """MPU: meta-training on the same scenes, after `--config.init_from=runs/scenes`."""
    scenes(config)
    config.stage_names = ("meta",)
    config.meta.update(step_size=1e-2, step_size_learning_rate=1e-3, support=5, query=5)
    config.stages.meta.update(epochs=2, batch_size=1, learning_rate=3e-4)


def scenes_meta_first_order(config):
    """`scenes_meta`, the gradient through the inner step left out."""
    scenes_meta(config)
    config.meta.order = 1


def _variation(epochs=4, **changes):
    def preset(config):
        ped2_small(config)
        config.update_from_flattened_dict(changes)
        for name in ("pretrain", "joint"):
            config.stages[name].epochs = epochs

    return preset


# The rows of the paper's tables 1, 5 and 6 at the small size, the sweeps with half the epochs; the
# scores from frame and feature map alone (table 4) are in every run's evaluation as `frame_only`
# and `feature_only`.
VARIATIONS = {
    "ped2_small_autoencoder": _variation(prototypes=0),
    "ped2_small_paper": _variation(epochs=2, variant="paper"),
    **{f"ped2_small_m{m}": _variation(epochs=2, prototypes=m) for m in (1, 5, 10, 20, 40)},
    **{f"ped2_small_plug{n}": _variation(epochs=2, plug=f"1/{n}") for n in (2, 4, 8)},
}

PRESETS = {
    preset.__name__: preset
    for preset in (tiny, ped2, ped2_small, scenes, scenes_meta, scenes_meta_first_order)
} | VARIATIONS


def get_config(preset: str = "ped2"):
    """The config of a preset."""
    return configs.preset(configs.defaults("mpn"), PRESETS, preset)
