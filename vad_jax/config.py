"""Configurations: every key with its type and its one default, checks, hash and difference.

A method's own keys stand in its settings (`KEYS`, by flat names like `memory.items`), those that
all share here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import operator
import pkgutil
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
from ml_collections import config_dict

from vad_jax.types import ConfigError, Key

KEYS = {
    "seed": Key(0, "of first weights, of the order of the rows, of augmentation", least=0),
    "precision": Key(
        "float32",
        "what the network computes in; parameters, losses and memory are always float32",
        choices=("float32", "bfloat16"),
    ),
    "data.name": Key("folder", "of the data set"),
    "data.root": Key(None, "the raw folder, or the set that was built of it", kind=str),
    "data.videos": Key(
        "normal",
        "training videos that are taken: those that have no class of anomaly, or all",
        choices=("normal", "all"),
        before="all",
    ),
    "data.validation": Key((), "names of training videos that are held out"),
    "data.labels": Key(None, "a file or folder; else found beside the videos", kind=str),
    "data.backend": Key(
        "tf",
        "resident: the frames lie on the device; tf: they are streamed",
        choices=("tf", "resident"),
    ),
    "data.cache": Key(
        "~/.cache/vad_jax", "folder of decoded frames, memory-mapped, and of built sets, unpacked"
    ),
    "data.on_bad_frame": Key(
        "error", "what a frame does that cannot be decoded", choices=("error", "skip")
    ),
    "data.levels": Key(
        (),
        "LOW,HIGH of pictures with more than 8 bits a value: what is black and what white",
        before=(),
    ),
    "data.exclude": Key(
        None,
        "hf2vad: Avenue's training without its unclean frames; published figures train on all",
        kind=str,
        choices=("hf2vad",),
        before=None,
    ),
    "adapt.steps": Key(1, "gradient steps of an adaptation to a scene", above=0),
    "adapt.learning_rate": Key(1e-4, "of those steps, where none was learned", above=0),
    "evaluate_at_end": Key(True, "whether training ends with an evaluation"),
    "init_from": Key(None, "an earlier workdir: start from its variables", kind=str),
    "log_steps": Key(50, "steps that one line of metrics.jsonl sums up", above=0),
    "checkpoint.epochs": Key(1, "epochs from one checkpoint to the next", above=0),
    "checkpoint.keep": Key(2, "checkpoints of a stage that are kept", above=0),
}

# What does not change the numbers of a training run, so that it may differ on resuming; which
# videos are taken is part of the data's identity.
_OUTSIDE_HASH = (
    "data.root",
    "data.labels",
    "data.backend",
    "data.cache",
    "data.videos",
    "evaluate_at_end",
    "adapt",
    "log_steps",
    "checkpoint",
)


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


def methods() -> tuple[str, ...]:
    """The names of all methods."""
    package = importlib.import_module("vad_jax.methods")
    return tuple(found.name for found in pkgutil.iter_modules(package.__path__))


def keys(method: str) -> dict[str, Key]:
    """Every key of a method by its flat name, the shared ones first.

    Raises:
      ConfigError: there is no such method.
    """
    return {**KEYS, **module(method).KEYS}


def state_keys(method: str) -> tuple[str, ...]:
    """The keys that the meaning of a run's state depends on."""
    return tuple(key for key, entry in keys(method).items() if entry.state)


def defaults(method: str) -> ml_collections.ConfigDict:
    """Every key of a method with its default, typed: an unknown key or a wrong type is an error."""
    nested: dict[str, Any] = {"method": method}
    for key, entry in keys(method).items():
        *sections, name = key.split(".")
        home = nested
        for section in sections:
            home = home.setdefault(section, {})
        # A new placeholder for each key: one in two places is one value.
        empty = entry.default is None
        home[name] = config_dict.placeholder(entry.kind) if empty else entry.default
    config = ml_collections.ConfigDict(nested)
    config.lock()
    return config


def describe(method: str) -> str:
    """Every key of a method with its default, its choices and what it is, as text."""
    return _described(keys(method))


def describe_shared() -> str:
    """The same of the keys that every method has."""
    return _described(KEYS)


def _described(table: Mapping[str, Key]) -> str:
    lines = []
    for key, entry in table.items():
        default = "" if entry.default is None else f" = {entry.default}"
        choices = f" ({' | '.join(map(str, entry.choices))})" if entry.choices else ""
        about = entry.about + ("; training never sees it" if entry.evaluation else "")
        indent = {"initial_indent": "    ", "subsequent_indent": "    "}
        lines += [f"{key}{default}{choices}", textwrap.fill(about, 92, **indent)]
    return "\n".join(lines)


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
      ConfigError: this is no config; a value that is missing, not among the choices, or outside its
        bounds.
    """
    if not (isinstance(config, ml_collections.ConfigDict) and "method" in config):
        raise ConfigError(_no_config(config))
    config = config.copy_and_resolve_references()
    table = keys(config.method)
    flat = flatten(config)
    for key, entry in table.items():
        _check_choice(key, entry, flat[key])
    config.data.levels = _levels(flat["data.levels"])
    module(config.method).complete(config)
    flat = flatten(config)
    for key, entry in table.items():
        _check_bounds(key, entry, flat[key])
    if "stages" in config:
        _check_stages(config)
    return config


def _no_config(given: Any) -> str:
    method = given if isinstance(given, str) and given.isidentifier() else "mnad"
    return (
        f"{type(given).__name__} {given!r:.80} is no config. One is made by "
        f'vad_jax.config.defaults("{method}"), or of a file by '
        'vad_jax.config_files.config_of("configs/NAME.py:PRESET").'
    )


def _levels(given: Sequence[float | str]) -> tuple[float, ...]:
    """`data.levels` as numbers; a command line gives texts."""
    try:
        levels = tuple(map(float, given))
    except ValueError:
        levels = (math.nan,)
    if len(levels) not in (0, 2) or not all(map(math.isfinite, levels)):
        raise ConfigError(f"data.levels = {given!r}: give two numbers, LOW,HIGH, or none.")
    return levels


def _check_choice(key: str, entry: Key, value: Any) -> None:
    if value is None:
        length = key.startswith("stages.") and key.endswith((".epochs", ".steps"))  # one is None
        if entry.default is not None and not length:
            raise ConfigError(
                f"{key} = None: it needs a value, like its default {entry.default!r}."
            )
    elif entry.choices and value not in entry.choices:
        allowed = ", ".join(map(str, entry.choices))
        raise ConfigError(f"{key} = {value!r}: must be one of {allowed}.")


def _check_bounds(key: str, entry: Key, value: Any) -> None:
    bounds = (
        ("greater than", entry.above, operator.gt),
        ("at least", entry.least, operator.ge),
        ("at most", entry.most, operator.le),
    )
    given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
    if value is None or not given:
        return
    if not (math.isfinite(value) and all(holds(value, bound) for _, bound, holds in given)):
        said = " and ".join(f"{words} {bound:g}" for words, bound, _ in given)
        raise ConfigError(f"{key} = {value}: must be finite and {said}.")


def _check_stages(config: ml_collections.ConfigDict) -> None:
    """That what is trained has stages, and each of those one length."""
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
    for stage in config.get("stages", {}):
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
    table = keys(flat["method"])
    evaluation = (key for key, entry in table.items() if entry.evaluation)
    return _kept(flat, (*_OUTSIDE_HASH, *evaluation))


def _kept(flat: Mapping[str, Any], outside: Sequence[str]) -> dict[str, Any]:
    """Without what is outside, and without younger keys that mean what runs before them did."""
    before = _before(flat["method"])
    return {
        key: value
        for key, value in flat.items()
        if not _within(key, outside) and not (key in before and value == before[key])
    }


def _before(method: str) -> dict[str, Any]:
    """What runs meant that are older than a key."""
    return {key: entry.before for key, entry in keys(method).items() if entry.younger}


def to_json(config: ml_collections.ConfigDict) -> str:
    """The whole config as text, keys sorted."""
    return json.dumps(config.to_dict(), indent=1, sort_keys=True)


def from_json(text: str) -> ml_collections.ConfigDict:
    """The config that `to_json` wrote: this version's defaults with its values.

    A key that is younger than the text gets the value that was meant before there was one.

    Raises:
      ConfigError: it has a key or a type that this version does not know.
    """
    stored = flatten(json.loads(text))
    method = stored["method"]
    config, table = defaults(method), keys(method)
    unknown = [key for key in stored if key not in table and key != "method"]
    if unknown:
        raise ConfigError(
            f"config.json has the key {unknown[0]!r}, which this version of vad_jax does not know: "
            "the run may be of a newer one. Use that, or a run of this version."
        )
    try:
        config.update_from_flattened_dict(_before(method) | stored)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"config.json does not fit this version of vad_jax: {error}") from error
    return config
