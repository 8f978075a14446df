"""MPN's defaults: what follows from the variant, what is refused, that keys are independent."""

import importlib.util
import logging
from pathlib import Path

import jax
import numpy as np
import pytest
from support.footage import frames_of
from support.mpn import small_config

import vad_jax
from vad_jax import config as configs
from vad_jax import config_files
from vad_jax.data.footage import Footage
from vad_jax.learning import loop
from vad_jax.runs import training
from vad_jax.runs.workdir import Workdir
from vad_jax.types import ConfigError, DataError

FILE = Path(__file__).resolve().parents[2] / "configs" / "mpn.py"


def completed(**changes):
    config = configs.defaults("mpn")
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


@pytest.mark.parametrize(
    ("variant", "expected", "stages", "lengths", "batches"),
    [
        (
            "code",
            (1e-4, 0.5, 1e-6, 1e-6, 1e-6, 1e-4),
            ("joint",),
            {"pretrain": (None, 16_000), "joint": (None, 16_000), "meta": (None, 16_000)},
            {"pretrain": 4, "joint": 4, "meta": 1},
        ),
        (
            "paper",
            (0.01, 1.0, 1e-5, 1e-5, 1e-5, 1e-4),
            ("pretrain", "joint"),
            {"pretrain": (60, None), "joint": (60, None), "meta": (None, 1_600)},
            {"pretrain": 4, "joint": 4, "meta": 10},
        ),
    ],
)
def test_the_variant_decides_what_the_user_left_open(variant, expected, stages, lengths, batches):
    config = completed(variant=variant)
    found = (
        config.weights.diverse,
        config.weights.score,
        config.meta.step_size,
        config.meta.step_size_learning_rate,
        config.stages.meta.learning_rate,
        config.stages.joint.learning_rate,
    )
    assert found == expected
    assert config.stage_names == stages
    assert {name: (s.epochs, s.steps) for name, s in config.stages.items()} == lengths
    assert {name: stage.batch_size for name, stage in config.stages.items()} == batches


def test_few_shot_scores_weigh_the_frame_more():
    assert completed(stage_names=("joint", "meta")).weights.score == 0.7
    assert completed(stage_names=("joint", "meta"), variant="paper").weights.score == 1.0


def test_a_key_that_is_set_moves_no_other():
    config = completed(
        **{"weights.diverse": 0.5, "stages.meta.learning_rate": 1e-3, "stages.joint.epochs": 3}
    )
    assert config.weights.to_dict() == {"frame": 1.0, "compact": 1.0, "diverse": 0.5, "score": 0.5}
    assert config.meta.step_size_learning_rate == 1e-3  # the same, unless it is said
    assert config.stages.joint.learning_rate == 1e-4
    assert (config.stages.joint.epochs, config.stages.joint.steps) == (3, None)
    other = completed(**{"meta.step_size_learning_rate": 1e-7})
    assert other.stages.meta.learning_rate == 1e-6


def test_a_stored_config_comes_back_value_for_value():
    config = completed(variant="paper", stage_names=("meta",), **{"weights.score": 0.0})
    stored = configs.complete(configs.from_json(configs.to_json(config)))
    assert configs.flatten(stored) == configs.flatten(config)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input.height": 20}, r"input.height = 20.*multiple of 8"),
        ({"input.channels": 2}, r"input.channels = 2: 1 \(grey\) or 3"),
        ({"prototypes": -1}, r"prototypes = -1"),
        ({"weights.score": 1.5}, r"weights.score = 1.5: a share, from 0 to 1"),
        ({"weights.score": -0.1}, r"weights.score = -0.1: a share"),
        ({"weights.score": -1.0, "variant": "paper"}, r"weights.score = -1.0: a factor, not neg"),
        ({"temperature.match": 0.0}, r"temperature.match = 0.0: must be finite and greater"),
        ({"temperature.attention": -1.0}, r"temperature.attention = -1.0"),
        ({"attention_scale": 0.0}, r"attention_scale = 0.0"),
        ({"meta.step_size_learning_rate": -1.0}, r"step_size_learning_rate = -1.0.*not negative"),
        (
            {"sampling": "video_batch", "stages.joint.batch_size": 33},
            r"stages.joint.batch_size = 33.*32 at most",
        ),
        ({"temperature.match": 0.5, "variant": "paper"}, r"temperature.match has no effect"),
        ({"meta.steps": 0}, r"meta.steps = 0"),
        ({"meta.support": 0}, r"meta.support = 0: at least 1 window"),
        ({"meta.query": 0}, r"meta.query = 0: at least 1 window"),
        (
            {"meta.chunk": 0, "stages.meta.batch_size": 4},
            r"meta.chunk = 0: from 1 to stages.meta.batch_size = 4 episodes",
        ),
        ({"meta.chunk": 5, "stages.meta.batch_size": 4}, r"meta.chunk = 5: from 1 to"),
        ({"meta.step_size": -1e-3}, r"meta.step_size = -0.001: not negative at the start"),
        ({"meta.step_size": 0.0, "step_size_map": "softplus"}, r"above 0 with step_size_map"),
        ({"plug": "1/3"}, r"plug = '1/3': must be one of 1/1, 1/2, 1/4, 1/8"),
        ({"meta.order": 3}, r"meta.order = 3: must be one of 1, 2"),
        ({"stage_names": ("train",)}, r"stage_names names 'train'.*joint, meta, pretrain"),
    ],
)
def test_what_cannot_work_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        vad_jax.create(completed(**changes))


@pytest.mark.parametrize(("key", "value"), [("chunk", 1), ("unroll", True)])
def test_settings_that_are_younger_than_the_first_runs(key, value):
    config = completed()
    older = config.to_dict()
    del older["meta"][key]
    assert configs.digest(older, "data") == configs.digest(config, "data")
    config.meta[key] = value
    assert configs.digest(older, "data") != configs.digest(config, "data")


def test_what_the_other_variant_may_have_is_not_refused():
    vad_jax.create(completed(variant="paper", **{"weights.score": 3.0}))
    vad_jax.create(completed(**{"temperature.match": 0.5}))
    vad_jax.create(completed(**{"meta.step_size": 0.0}))


def preset(name):
    spec = importlib.util.spec_from_file_location("config_mpn", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(name)


def test_stages_from_the_command_line_train_and_collapse_is_said_once(
    synthetic_root, tmp_path, caplog
):
    config = preset("tiny")
    as_in_meta_run = {"batch_size": "5", "learning_rate": "1e-3"}  # the programs are its, too
    flags = {
        "data.name": "synthetic",
        "data.root": str(synthetic_root),
        "data.cache": str(tmp_path / "cache"),
        "data.validation": "05",
        "data.backend": "resident",
        "stage_names": "('joint','meta')",
        "input.step": "12",
        "evaluate_at_end": "false",
        **{f"stages.joint.{key}": value for key, value in as_in_meta_run.items()},
        **{f"stages.meta.{key}": value for key, value in as_in_meta_run.items()},
    }
    config_files.override(config, flags)
    with caplog.at_level(logging.WARNING, "vad_jax"):
        assert training.train(config, tmp_path / "run") is None
    said = [record.getMessage() for record in caplog.records if "nearly one" in record.getMessage()]
    assert len(said) == 1  # after the first of two epochs
    assert said[0].startswith("joint: the prototypes are nearly one (mean cosine 0.99")
    folders = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert folders == {"joint", "meta"}
    sizes = jax.tree.leaves(vad_jax.load(tmp_path / "run").variables["state"]["step_size"])
    assert any((np.asarray(leaf) != np.float32(0.01)).any() for leaf in sizes)


def test_joint_training_goes_on_from_a_meta_trained_run_without_its_step_sizes(
    meta_run, tmp_path, caplog
):
    earlier = vad_jax.load(meta_run[0])
    config = earlier.config.copy_and_resolve_references()
    config.stage_names, config.init_from = ("joint",), str(meta_run[0])
    config.stages.joint.update(epochs=None, steps=1, learning_rate=1e-12)
    config.evaluate_at_end = False
    with caplog.at_level(logging.INFO, "vad_jax"):
        training.train(config, tmp_path / "run")
    said = f"Left in {meta_run[0]}, as no stage of this run uses it: state/step_size/decoder/"
    assert said in caplog.text
    found = vad_jax.load(tmp_path / "run").variables
    assert found["state"] == {}
    jax.tree.map(  # a step moves a parameter by the rate
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11),
        found["params"], earlier.variables["params"],
    )  # fmt: skip


def test_other_parameters_than_an_earlier_run_s_are_refused(meta_run, tmp_path):
    config = vad_jax.load(meta_run[0]).config.copy_and_resolve_references()
    config.init_from, config.prototypes = str(meta_run[0]), 0
    with pytest.raises(ConfigError, match=r"do not fit this config: params/prototype/kernel\. "):
        training.train(config, tmp_path / "run")


def test_step_sizes_are_not_read_as_something_else(meta_run, tmp_path):
    config = vad_jax.load(meta_run[0]).config.copy_and_resolve_references()
    config.init_from, config.step_size_map = str(meta_run[0]), "softplus"
    said = r"step_size_map=identity, which gives state/step_size/.* give --config.step_size_map=id"
    with pytest.raises(ConfigError, match=said):
        training.train(config, tmp_path / "run")


def film(name, length):
    rng = np.random.default_rng(0)
    return frames_of(rng.integers(0, 256, (length, 16, 16, 1), dtype=np.uint8), name)


@pytest.mark.parametrize(
    ("stage", "changes", "length", "need"),
    [
        ("joint", {}, 4, "a window of 5 whole frames"),
        ("joint", {"sampling": "video_batch"}, 35, "32 windows of 5 whole frames"),
        ("meta", {}, 9, "two windows of 5 whole frames that share none"),
        ("meta", {"episodes": "published"}, 131, "128 windows of 5 whole frames"),
    ],
)
def test_videos_that_are_all_too_short_are_named_with_what_they_need(
    tmp_path, stage, changes, length, need
):
    config = small_config(stage_names=(stage,), **changes)
    method = vad_jax.create(config)
    init = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, np.float32),
        jax.eval_shape(method.init, jax.random.key(0)),
    )
    with pytest.raises(DataError, match=rf"No training video has {need}.*: 07 \({length} frames\)"):
        loop.train(
            method,
            config,
            Footage([film("07", length)]),
            Footage([]),
            Workdir(tmp_path),
            digest="d",
            init=init,
        )


def test_a_held_out_video_without_an_episode_is_named(tmp_path):
    config = small_config(stage_names=("meta",))
    method = vad_jax.create(config)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    init = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    with pytest.raises(DataError, match=r"data.validation: .* stage meta in 08 \(9 frames"):
        loop.train(
            method,
            config,
            Footage([film("07", 40)]),
            Footage([film("08", 9)]),
            Workdir(tmp_path),
            digest="d",
            init=init,
        )
