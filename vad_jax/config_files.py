"""Config files, `configs/NAME.py`, and values that are given for their keys as text."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import ml_collections

from vad_jax.config import flatten
from vad_jax.types import ConfigError


def config_of(path: str, overrides: dict[str, str] | None = None) -> ml_collections.ConfigDict:
    """The config of a file, `configs/NAME.py` or `configs/NAME.py:PRESET`, with the overrides.

    Args:
      path: of the file, with a preset or without.
      overrides: config key → text.

    Raises:
      ConfigError: no such file or preset, no `get_config` in it, an unknown key, a value of the
        wrong type.
    """
    file, _, preset = path.partition(":")
    module = _module(file)
    get_config = getattr(module, "get_config", None)
    if get_config is None:
        raise ConfigError(f"{file} has no function `get_config`: it is no config file.")
    if preset and not inspect.signature(get_config).parameters:
        raise ConfigError(f"{file} has no presets: give --config={file}.")
    config = get_config(preset) if preset else get_config()
    override(config, overrides or {})
    return config


def about(file: str) -> str:
    """The first line of a config file's text.

    Raises:
      ConfigError: there is no such file.
    """
    return (inspect.getdoc(_module(file)) or "").partition("\n")[0]


def presets(file: str) -> dict[str, str]:
    """The presets of a config file and what each is, the first line of its text; perhaps none.

    Raises:
      ConfigError: there is no such file.
    """
    made = getattr(_module(file), "PRESETS", {})
    return {name: (inspect.getdoc(make) or "").partition("\n")[0] for name, make in made.items()}


def _module(file: str) -> Any:
    if not Path(file).is_file():
        raise ConfigError(
            f"There is no config file {file!r}: give --config=configs/NAME.py:PRESET."
        )
    spec = importlib.util.spec_from_file_location(f"config_{Path(file).stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def override(config, values: dict[str, str]) -> None:
    """Sets keys like `data.root` from text, by the type that each key has.

    Raises:
      ConfigError: an unknown key (near ones are named), a value of the wrong type.
    """
    known = flatten(config)
    for key, text in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
            raise ConfigError(
                f"There is no config key {key!r}."
                + (f" Did you mean {' or '.join(near)}?" if near else "")
            )
        *sections, name = key.split(".")
        home = config
        for section in sections:
            home = home[section]
        kind = home.get_type(name)
        try:
            home[name] = _value(text, kind)
        except (KeyError, ValueError, SyntaxError, TypeError):
            raise ConfigError(
                f"{key}={text!r}: expected a value of type {kind.__name__}."
            ) from None


def _value(text: str, kind: type) -> Any:
    if text == "None":
        return None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind is tuple:
        # Split by hand: names of videos like 00 and 1_001 are numbers to Python, 0 and 1001.
        items = (item.strip(" '\"") for item in text.strip(" ()[]").split(","))
        return tuple(item for item in items if item)
    return kind(ast.literal_eval(text)) if kind is float else kind(text)
