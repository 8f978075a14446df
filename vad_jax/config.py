"""Configurations: every key with its type and its one default, checks, hash and difference.

A method's own keys live in its file (`methods/NAME.py: defaults`); here are those that all share.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
from ml_collections import config_dict

from vad_jax.types import ConfigError

# What does not change the numbers of a training run, so that it may differ on resuming.
_OUTSIDE_HASH = (
    "data.root",
    "data.labels",
    "data.backend",
    "data.cache",
    "evaluate_at_end",
    "adapt",
    "log_steps",
    "checkpoint",
)

# Keys that are younger than the first runs, at the value that means what those did.
_YOUNGER = {"data.exclude": None, "meta.chunk": None, "meta.unroll": False}

_CHOICES = {
    "precision": ("float32", "bfloat16"),
    "data.backend": ("tf", "resident"),
    "data.on_bad_frame": ("error", "skip"),
    "data.exclude": ("hf2vad",),
}


def _shared() -> dict[str, Any]:
    return {
        "seed": 0,
        "precision": "float32",
        "data": {
            "name": "folder",
            "root": config_dict.placeholder(str),  # the raw folder, or the set that was built of it
            "validation": (),  # names of training videos that are held out
            "labels": config_dict.placeholder(
                str
            ),  # a file or folder; else found beside the videos
            "backend": "tf",  # or "resident": the frames lie on the device
            "cache": "~/.cache/vad_jax",  # decoded frames, memory-mapped; built sets, unpacked
            "on_bad_frame": "error",
            "exclude": config_dict.placeholder(str),  # "hf2vad": Avenue's training without its
            # unclean frames; published figures train on everything
        },
        "evaluate_at_end": True,
        "init_from": config_dict.placeholder(str),  # an earlier workdir: start from its variables
        "log_steps": 50,  # steps that one line of metrics.jsonl sums up
        "checkpoint": {"epochs": 1, "keep": 2},
    }


def module(method: str) -> types.ModuleType:
    """The file of a method.

    Raises:
      ConfigError: there is no such method.
    """
    otherwise = f"method = {method!r}: there is no vad_jax/methods/{method}.py."
    if not str(method).isidentifier():  # it may come from a stranger's workdir
        raise ConfigError(otherwise)
    return imported(f"vad_jax.methods.{method}", otherwise)


def imported(name: str, otherwise: str) -> types.ModuleType:
    """A module by name; ConfigError with the text `otherwise` where there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(otherwise) from None


def defaults(method: str) -> ml_collections.ConfigDict:
    """Every key of a method with its default, typed: an unknown key or a wrong type is an error."""
    config = ml_collections.ConfigDict({"method": method, **_shared()})
    for key, value in module(method).defaults().items():
        config[key] = ml_collections.ConfigDict(value) if isinstance(value, dict) else value
    config.lock()
    return config


def preset(
    config: ml_collections.ConfigDict,
    presets: Mapping[str, Callable[[ml_collections.ConfigDict], None]],
    name: str,
) -> ml_collections.ConfigDict:
    """Applies one of a config file's presets.

    Raises:
      ConfigError: there is no preset of that name.
    """
    if name not in presets:
        raise ConfigError(f"There is no preset {name!r}; there are: {', '.join(sorted(presets))}.")
    presets[name](config)
    return config


def complete(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A checked copy in which every key that follows from others is filled in.

    Raises:
      ConfigError: a value that is missing, not among the choices, or not positive where it must
        be.
    """
    config = config.copy_and_resolve_references()
    method = module(config.method)
    flat = flatten(config)
    for key, choices in {**_CHOICES, **method.CHOICES}.items():
        if flat[key] is not None and flat[key] not in choices:
            allowed = ", ".join(map(str, choices))
            raise ConfigError(f"{key} = {flat[key]!r}: must be one of {allowed}.")
    given = flatten(defaults(config.method))
    for key, value in flat.items():
        a_length = key.startswith("stages.") and key.endswith((".epochs", ".steps"))  # one is None
        if value is None and given.get(key) is not None and not a_length:
            raise ConfigError(f"{key} = None: it needs a value, like its default {given[key]!r}.")
    method.complete(config)
    for key, value in flatten(config).items():
        counts = key.rsplit(".", 1)[-1] in _POSITIVE
        if counts and value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{key} = {value}: must be finite and greater than 0.")
    if config.seed < 0:
        raise ConfigError(f"seed = {config.seed}: must not be negative.")
    if not config.stage_names:
        raise ConfigError(f"stage_names is empty; stages has {', '.join(config.stages)}.")
    for name in config.stage_names:
        if name not in config.stages:
            raise ConfigError(
                f"stage_names names {name!r}, but stages has {', '.join(config.stages)}."
            )
        stage = config.stages[name]
        if (stage.epochs is None) == (stage.steps is None):
            raise ConfigError(
                f"stages.{name}: give the length as epochs or as steps, the other is None; "
                f"epochs = {stage.epochs}, steps = {stage.steps}."
            )
    return config


_POSITIVE = {
    "width",
    "height",
    "stride",
    "step",
    "epochs",
    "steps",
    "batch_size",
    "learning_rate",
    "log_steps",
    "keep",
}


def flatten(config: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """`{"data.name": …}`: one entry a value, sequences as tuples."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            flat |= flatten(value, prefix=f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list | tuple) else value
    return flat


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """One line for each key in which two configs would train differently."""
    a, b = _hashed(flatten(ours)), _hashed(flatten(theirs))
    keys = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return [f"{key}: {a.get(key)!r} here, {b.get(key)!r} there" for key in keys]


def digest(config: Mapping[str, Any], data_identity: str) -> str:
    """SHA-256 over all that decides what a run computes: not paths, workdir or evaluation.

    The length of a stage counts only where the rate depends on it: with a constant rate a longer
    run goes on where a shorter one ended.
    """
    flat = _hashed(flatten(config))
    for stage in config["stages"]:
        if flat[f"stages.{stage}.schedule"] == "constant":
            del flat[f"stages.{stage}.epochs"], flat[f"stages.{stage}.steps"]
    content = json.dumps([flat, data_identity], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def recipe(config: Mapping[str, Any]) -> str:
    """SHA-256 over what training and evaluation do, but for the seed: equal for repetitions."""
    flat = flatten(config)
    outside = (*_OUTSIDE_HASH, "seed")
    return hashlib.sha256(json.dumps(_kept(flat, outside), sort_keys=True).encode()).hexdigest()


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == name or key.startswith(name + ".") for name in sections)


def _hashed(flat: Mapping[str, Any]) -> dict[str, Any]:
    outside = (*_OUTSIDE_HASH, *module(flat["method"]).EVALUATION)
    return _kept(flat, outside)


def _kept(flat: Mapping[str, Any], outside: Sequence[str]) -> dict[str, Any]:
    return {
        key: value
        for key, value in flat.items()
        if not _within(key, outside) and not (key in _YOUNGER and value == _YOUNGER[key])
    }


def to_json(config: ml_collections.ConfigDict) -> str:
    """The whole config as text, keys sorted."""
    return json.dumps(config.to_dict(), indent=1, sort_keys=True)


def from_json(text: str) -> ml_collections.ConfigDict:
    """The config that `to_json` wrote: this version's defaults with its values.

    Raises:
      ConfigError: it has a key or a type that this version does not know.
    """
    stored = json.loads(text)
    config = defaults(stored["method"])
    try:
        config.update_from_flattened_dict(flatten(stored))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"config.json does not fit this version of vad_jax: {error}") from error
    return config
