"""Configurations: what is refused and how, what is filled in, what makes a run's hash."""

import importlib.util
import json
from pathlib import Path

import jax
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax import config_files
from vad_jax.types import ConfigError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def config_file(name):
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MNAD = config_file("mnad")


@pytest.fixture
def config():
    return configs.defaults("mnad")


def overridden(**values):
    """The flat config after `--config.KEY=VALUE`; keys by `section__name`."""
    config = configs.defaults("mnad")
    config_files.override(config, {key.replace("__", "."): text for key, text in values.items()})
    return configs.flatten(config)


def completed(**changes):
    config = configs.defaults("mnad")
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return configs.flatten(configs.complete(config))


# Keys and types


def test_an_unknown_key_names_the_nearest(config):
    with pytest.raises(ConfigError, match=r"no config key 'input.heigth'.*mean.*input.height"):
        config_files.override(config, {"input.heigth": "64"})
    with pytest.raises((AttributeError, KeyError), match=r"[Dd]id you mean.*width"):
        config.widht = 3


def test_a_section_is_no_key(config):
    with pytest.raises(ConfigError, match="no config key 'memory'"):
        config_files.override(config, {"memory": "0"})


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("width", "2.5", "int"),
        ("width", "wide", "int"),
        ("width", "", "int"),
        ("margin", "far", "float"),
        ("margin", "(1, 2)", "float"),
        ("weights.score", "", "float"),
        ("evaluate_at_end", "yes", "bool"),
        ("evaluate_at_end", "", "bool"),
        ("stages.train.steps", "ten", "int"),
    ],
)
def test_a_value_of_the_wrong_type_names_key_value_and_type(config, key, text, kind):
    with pytest.raises(ConfigError, match=rf"{key}='{text}'.*type {kind}".replace("(1, 2)", ".*")):
        config_files.override(config, {key: text})


@pytest.mark.parametrize("value", [2.5, "8"])
def test_a_config_file_cannot_set_a_wrong_type_either(config, value):
    with pytest.raises(TypeError):
        config.width = value


def test_overrides_take_the_type_of_their_key():
    flat = overridden(
        memory__items="0", margin="2", weights__score="1e-3", evaluate_at_end="False",
        data__root="my/videos=1", stages__train__steps="100", stages__train__epochs="None",
        input__stride="2", data__labels="None",
    )  # fmt: skip
    assert flat["memory.items"] == 0
    assert flat["margin"] == 2.0
    assert isinstance(flat["margin"], float)
    assert flat["weights.score"] == 1e-3
    assert flat["evaluate_at_end"] is False
    assert flat["data.root"] == "my/videos=1"
    assert (flat["stages.train.steps"], flat["stages.train.epochs"]) == (100, None)
    assert flat["input.stride"] == 2
    assert flat["data.labels"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('("15","16")', ("15", "16")),
        ("('15', '16',)", ("15", "16")),
        ("15,16", ("15", "16")),
        ("[05, 06]", ("05", "06")),
        ("05", ("05",)),
        ("00", ("00",)),
        ("1_001", ("1_001",)),
        ("1e3,0x10", ("1e3", "0x10")),
        ("night/01 a", ("night/01 a",)),
        ("()", ()),
        ("", ()),
    ],
)
def test_names_of_videos_stay_as_they_are_written(text, expected):
    assert overridden(data__validation=text)["data.validation"] == expected


# Choices and presets


def test_an_unknown_preset_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"no preset 'ped3'.*ped2, ped2_middle.*tiny"):
        MNAD.get_config("ped3")


def test_a_preset_of_a_file_without_presets_is_refused():
    with pytest.raises(ConfigError, match=r"quickstart.py has no presets"):
        config_files.config_of(f"{CONFIGS / 'quickstart.py'}:tiny")


def test_a_file_without_get_config_is_no_config_file(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match=r"empty.py has no function `get_config`"):
        config_files.config_of(str(tmp_path / "empty.py"))


@pytest.mark.parametrize("use", [configs.defaults, configs.module])
def test_an_unknown_method_is_named(use):
    with pytest.raises(ConfigError, match=r"method = 'monad'.*vad_jax/methods/monad.py"):
        use("monad")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "predict"),
        ("variant", "ours"),
        ("precision", "float16"),
        ("memory.update", "sometimes"),
        ("memory.reset", "never"),
        ("gate.error", "absolute"),
        ("stages.train.schedule", "linear"),
        ("data.backend", "torch"),
        ("data.on_bad_frame", "ignore"),
        ("data.videos", "abnormal"),
    ],
)
def test_a_value_outside_its_choices_names_them(key, value):
    with pytest.raises(ConfigError, match=rf"{key} = '{value}': must be one of \w+, \w+"):
        completed(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 0),
        ("input.step", -1),
        ("stages.train.batch_size", 0),
        ("stages.train.learning_rate", -1e-3),
        ("stages.train.epochs", 0),
        ("log_steps", 0),
        ("adapt.learning_rate", 0.0),
    ],
)
def test_what_counts_must_be_positive(key, value):
    with pytest.raises(ConfigError, match=rf"{key} = {value}: must be finite and greater than 0"):
        completed(**{key: value})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", -1, "at least 0"),
        ("weights.score", 1.5, "at least 0 and at most 1"),
        ("weights.score", float("nan"), "at least 0 and at most 1"),
    ],
)
def test_a_value_outside_its_bounds_names_them(key, value, said):
    with pytest.raises(ConfigError, match=rf"{key} = {value}: must be finite and {said}\."):
        completed(**{key: value})


@pytest.mark.parametrize("key", ["width", "task", "evaluate_at_end", "input.stride", "margin"])
def test_only_a_key_that_may_be_empty_is_none(config, key):
    config_files.override(config, {key: "None"})
    with pytest.raises(ConfigError, match=rf"{key} = None: it needs a value, like its default"):
        configs.complete(config)


@pytest.mark.parametrize(("epochs", "steps"), [(None, None), (3, 100)])
def test_a_stage_has_epochs_or_steps(epochs, steps):
    with pytest.raises(ConfigError, match=rf"epochs = {epochs}, steps = {steps}"):
        completed(stages__train__epochs=epochs, stages__train__steps=steps)
    assert completed(stages__train__epochs=None, stages__train__steps=7)["stages.train.steps"] == 7


def test_a_stage_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"stage_names names 'tune', but stages has train"):
        completed(stage_names=("train", "tune"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory.items": 1}, r"memory.items = 1.*0 for no memory, or at least 2"),
        ({"memory.items": -1}, r"memory.items = -1"),
        ({"input.height": 60}, r"input.height = 60.*multiple of 8"),
        ({"input.width": 100}, r"input.width = 100.*multiple of 8"),
        ({"input.channels": 2}, r"input.channels = 2: 1 \(grey\) or 3 \(colour\)"),
    ],
)
def test_what_the_network_cannot_do_is_refused(config, changes, message):
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message):
        vad_jax.create(config)


# What follows from what


@pytest.mark.parametrize("task", ["prediction", "reconstruction", "middle"])
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_completion_is_the_published_setting_of_task_and_variant(task, variant):
    """The method's page, sections 5, 7 and 9."""
    found = completed(task=task, variant=variant)
    prediction, code = task == "prediction", variant == "code"
    expected = {
        "weights.compact": 0.1 if prediction else 0.01,
        "weights.separate": 0.1 if prediction else 0.01,
        "weights.score": 0.6 if prediction else 0.7,
        "gate.threshold": 0.01 if prediction else 0.015,
        "gate.error": "square",
        "stages.train.learning_rate": 2e-4 if prediction or code else 2e-5,
        "memory.reset": "set" if code else "video",
        "memory.update": "gated",
        "memory.items": 10,
        "margin": 1.0,
        "stages.train.epochs": 60,
        "stages.train.batch_size": 4,
        "stages.train.schedule": "cosine",
    }
    assert {key: found[key] for key in expected} == expected


def test_what_the_user_set_stays():
    found = completed(task="reconstruction", weights__score=0.0, memory__reset="video")
    assert found["weights.score"] == 0.0
    assert found["memory.reset"] == "video"


def test_completion_leaves_its_argument_and_is_done_once(config):
    before = configs.flatten(config)
    once = configs.complete(config)
    assert configs.flatten(config) == before
    assert configs.flatten(configs.complete(once)) == configs.flatten(once)


# Files, differences, hashes


def test_json_keeps_every_value(config):
    config.data.update(root="x", validation=("15", "16"))
    config.stages.train.update(epochs=None, steps=9)
    back = configs.from_json(configs.to_json(config))
    assert configs.flatten(back) == configs.flatten(config)
    assert configs.to_json(back) == configs.to_json(config)


@pytest.mark.parametrize(
    "change",
    [{"colour": "red"}, {"width": "wide"}, {"method": "monad"}, {"stages": {"tune": {"steps": 3}}}],
)
def test_a_stored_config_of_another_version_is_refused(config, change):
    stored = json.loads(configs.to_json(config)) | change
    with pytest.raises(ConfigError):
        configs.from_json(json.dumps(stored))


def test_a_key_of_a_newer_version_is_named(config):
    stored = json.loads(configs.to_json(config))
    stored["memory"]["forget"] = 0.1
    said = r"the key 'memory.forget', .* does not know: the run may be of a newer"
    with pytest.raises(ConfigError, match=said):
        configs.from_json(json.dumps(stored))


def test_a_key_that_is_younger_than_a_stored_config_means_what_the_run_did(config):
    stored = json.loads(configs.to_json(config))
    for key in ("videos", "exclude"):
        del stored["data"][key]
    back = configs.from_json(json.dumps(stored))
    assert (config.data.videos, back.data.videos) == ("normal", "all")
    assert back.data.exclude is None
    assert configs.digest(back, "data") == configs.digest(config, "data")


def test_differences_name_the_key_and_both_values(config):
    other = configs.defaults("mnad")
    other.memory["items"] = 7
    other.data.root = "elsewhere"
    assert configs.difference(config, other) == ["memory.items: 10 here, 7 there"]


OUTSIDE = {
    "data.root": "elsewhere",
    "data.labels": "mine.npy",
    "data.cache": "other-cache",
    "data.backend": "resident",
    "data.videos": "all",
    "evaluate_at_end": False,
    "log_steps": 7,
    "checkpoint.keep": 5,
    "adapt.steps": 3,
    "memory.update": "never",
    "gate.threshold": 0.5,
    "weights.score": 0.9,
}
INSIDE = {
    "seed": 1,
    "width": 32,
    "variant": "paper",
    "precision": "bfloat16",
    "data.validation": ("15",),
    "data.on_bad_frame": "skip",
    "data.exclude": "hf2vad",
    "init_from": "runs/before",
    "weights.compact": 0.5,
    "stages.train.batch_size": 8,
}


@pytest.mark.parametrize("key", OUTSIDE)
def test_paths_and_logging_are_outside_the_hash(config, key):
    other = configs.defaults("mnad")
    other.update_from_flattened_dict({key: OUTSIDE[key]})
    assert configs.digest(other, "data") == configs.digest(config, "data")
    assert configs.difference(other, config) == []


@pytest.mark.parametrize("key", INSIDE)
def test_what_changes_the_numbers_is_inside_the_hash(config, key):
    other = configs.defaults("mnad")
    other.update_from_flattened_dict({key: INSIDE[key]})
    assert configs.digest(other, "data") != configs.digest(config, "data")
    assert len(configs.difference(other, config)) == 1


def test_a_key_that_is_younger_than_a_run_leaves_its_hash_as_it_was(config):
    older = config.to_dict()
    del older["data"]["exclude"]
    assert configs.digest(older, "data") == configs.digest(config, "data")
    assert configs.recipe(older) == configs.recipe(config)
    config.data.exclude = "hf2vad"
    assert configs.recipe(older) != configs.recipe(config)


def test_other_data_have_another_hash(config):
    assert configs.digest(config, "a") != configs.digest(config, "b")


# Config files


@pytest.mark.parametrize("preset", [*MNAD.PRESETS, "quickstart"])
def test_every_preset_makes_a_method(preset):
    quickstart = preset == "quickstart"
    config = config_file("quickstart").get_config() if quickstart else MNAD.get_config(preset)
    shapes = jax.eval_shape(vad_jax.create(config).init, jax.random.key(0))
    assert ("memory" in shapes["state"]) == (config.memory["items"] > 0)
    kernel = shapes["params"]["encoder"]["block4"]["conv1"]["kernel"]
    assert kernel.shape[-1] == 8 * config.width


def test_presets_do_not_leak_into_each_other():
    before = configs.flatten(MNAD.get_config("ped2"))
    MNAD.get_config("ped2_small_no_losses")
    assert configs.flatten(MNAD.get_config("ped2")) == before
