"""What the commands share: flags, overrides of a config, errors as messages, exit codes."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from vad_jax.config import flatten
from vad_jax.types import ConfigError, VadError

_PREFIX = "--config."


def run(main: Callable[[], dict[str, Any] | None]) -> None:
    """Runs a command: parses flags, turns the house's errors into a message and an exit code.

    `main` returns the figures that `--json` prints as the last line.
    """
    flags.DEFINE_bool("json", False, "Print the figures as one last line of JSON.")
    _log_to_stderr()
    try:
        app.run(lambda _: _guarded(main), flags_parser=_parse)
    except VadError as error:
        _stop(error)


def _log_to_stderr() -> None:
    """Our own messages plainly; of the libraries only warnings (Orbax says a page a checkpoint)."""
    ours = logging.getLogger("vad_jax")
    ours.addHandler(logging.StreamHandler())
    ours.setLevel(logging.INFO)
    ours.propagate = False
    absl_logging.set_verbosity(absl_logging.WARNING)


def _parse(argv: Sequence[str]) -> list[str]:
    """Flags by absl; `--config.KEY=VALUE` is taken out before and kept for `config`.

    ml_collections' own overrides cannot be used: they read `config.memory.items` as an attribute
    and find the method of that name.
    """
    kept, overrides = [], {}
    for argument in argv:
        if argument.startswith(_PREFIX):
            key, equals, value = argument.removeprefix(_PREFIX).partition("=")
            if not equals:
                raise ConfigError(f"{argument}: write {_PREFIX}{key}=VALUE.")
            overrides[key] = value
        else:
            kept.append(argument)
    _OVERRIDES.update(overrides)
    try:
        rest = flags.FLAGS(kept)
    except flags.Error as error:
        raise ConfigError(f"{error} (--help lists the flags)") from None
    if len(rest) > 1:
        raise ConfigError(f"Unexpected argument {rest[1]!r} (--help lists the flags).")
    return rest


_OVERRIDES: dict[str, str] = {}  # of this process's command line


def _guarded(main: Callable[[], dict[str, Any] | None]) -> None:
    try:
        figures = main()
    except VadError as error:
        _stop(error)
    if flags.FLAGS.json:
        print(json.dumps(figures))


def _stop(error: VadError) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def config_of(path: str):
    """The config of a file, `configs/NAME.py` or `configs/NAME.py:PRESET`, with the overrides.

    Raises:
      ConfigError: no such file or preset, an unknown key, a value of the wrong type.
    """
    file, _, preset = path.partition(":")
    if not Path(file).is_file():
        raise ConfigError(
            f"There is no config file {file!r}: give --config=configs/NAME.py:PRESET."
        )
    spec = importlib.util.spec_from_file_location(f"config_{Path(file).stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(preset) if preset else module.get_config()
    override(config, _OVERRIDES)
    return config


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
        except (ValueError, SyntaxError, TypeError):
            raise ConfigError(
                f"{key}={text!r}: expected a value of type {kind.__name__}."
            ) from None


def _value(text: str, kind: type) -> Any:
    if text == "None":
        return None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}[text.lower()] if text else False
    if kind is tuple:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text.strip("()[]").split(",")
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(str(item).strip() for item in items if str(item).strip())
    return kind(ast.literal_eval(text)) if kind is float else kind(text)
