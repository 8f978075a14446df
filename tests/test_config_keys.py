"""Tables of keys: what makes a method's config, is described, and needs no stages."""

from types import SimpleNamespace

import pytest

from vad_jax import config as configs
from vad_jax.types import Key


@pytest.fixture
def config():
    return configs.defaults("mnad")


@pytest.mark.parametrize("method", ["mnad", "mpn"])
def test_every_key_of_the_table_is_in_the_config_and_described(method):
    table, flat = configs.keys(method), configs.flatten(configs.defaults(method))
    assert set(flat) == {"method", *table}
    said = configs.describe(method).splitlines()
    for key, entry in table.items():
        (place,) = (i for i, line in enumerate(said) if line.split(" ")[0] == key)
        assert said[place + 1].strip().startswith(entry.about[:40])
        assert all(str(choice) in said[place] for choice in entry.choices)


@pytest.mark.parametrize("method", ["mnad", "mpn"])
def test_every_default_is_inside_its_choices_and_a_place_that_may_be_empty_has_a_type(method):
    for key, entry in configs.keys(method).items():
        assert entry.default is None or not entry.choices or entry.default in entry.choices, key
        assert (entry.kind is None) == (entry.default is not None), key


def test_a_placeholder_is_of_one_key_alone(config):
    config.weights.compact = 0.5
    assert (config.weights.separate, configs.defaults("mnad").weights.compact) == (None, None)


@pytest.fixture
def without_stages(monkeypatch):
    """The config of a method that learns nothing."""
    keys = {"bins": Key(8, "of the histogram", above=0)}
    method = SimpleNamespace(KEYS=keys, complete=lambda config: None)
    found = configs.module
    monkeypatch.setattr(configs, "module", lambda name: method if name == "toy" else found(name))
    return configs.defaults("toy")


def test_a_method_without_stages_has_a_config_like_the_others(without_stages):
    config = configs.complete(without_stages)
    assert "stages" not in config
    assert configs.flatten(configs.from_json(configs.to_json(config))) == configs.flatten(config)
    other = configs.defaults("toy")
    other.bins = 9
    assert configs.difference(other, config) == ["bins: 9 here, 8 there"]
    for made in (configs.recipe, lambda c: configs.digest(c, "data")):
        assert made(other) != made(config) == made(configs.defaults("toy"))
