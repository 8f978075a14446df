"""What the commands share: flags, overrides of a config, errors as messages, exit codes."""

from __future__ import annotations

import ast
import contextlib
import difflib
import errno
import importlib.util
import inspect
import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
from absl import app, flags
from absl import logging as absl_logging

from vad_jax.config import flatten
from vad_jax.types import ConfigError, VadError

_PREFIX = "--config."


class Outcome(NamedTuple):
    """What a command has done: the figures that `--json` prints, and its exit code."""

    figures: dict[str, Any] | None = None
    exit_code: int = 0


def run(main: Callable[[], Outcome]) -> None:
    """Runs a command: parses flags, turns the house's errors into a message and an exit code."""
    _define_flags()
    _log_to_stderr()
    try:
        app.run(lambda _: _guarded(main), flags_parser=_parse)
    except VadError as error:
        _stop(error)


def _define_flags() -> None:
    """The flags of all commands, under the name of the one that runs: --help lists those."""
    here = {"module_name": sys.argv[0]}
    flags.DEFINE_bool("json", False, "Print the figures as one last line of JSON.", **here)
    flags.DEFINE_bool(
        "keep_heap",
        False,
        "On a CPU: keep the memory of a step for the next one. Where page faults are dear it saves "
        "up to a fifth of a large step, elsewhere nothing: try it. Resident memory stays at its "
        "peak until the command ends.",
        **here,
    )
    flags.DEFINE_string(
        "compile_cache",
        None,
        "Folder that keeps compiled programs for the next command, or none; benchmarks that time "
        "compiling do without. Default: "
        "JAX_COMPILATION_CACHE_DIR where it is set, else ~/.cache/vad_jax/compiled.",
        **here,
    )


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
        elif argument.startswith("--"):
            name, equals, value = argument.partition("=")
            kept.append(name.replace("-", "_").replace("__", "--", 1) + equals + value)
        else:
            kept.append(argument)
    _OVERRIDES.update(overrides)
    if {"--help", "-h"} & set(kept):
        app.usage(shorthelp=True, writeto_stdout=True, exitcode=0)
    try:
        rest = flags.FLAGS(kept)
    except flags.Error as error:
        raise ConfigError(f"{error} (--help lists the flags)") from None
    if len(rest) > 1:
        raise ConfigError(f"Unexpected argument {rest[1]!r} (--help lists the flags).")
    return rest


_OVERRIDES: dict[str, str] = {}  # of this process's command line


def _guarded(main: Callable[[], Outcome]) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _prepare()
        outcome = main()
    except VadError as error:
        _stop(error)
    except KeyboardInterrupt:
        said = "Stopped. The same command goes on from what is saved, if anything is."
        print(said, file=sys.stderr, flush=True)
        os._exit(3)  # at once: taking Python down while XLA compiles in a thread crashes
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        print(f"{error.filename or 'A file'}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)
    if flags.FLAGS.json:
        print(json.dumps(outcome.figures))
    sys.exit(outcome.exit_code)


@contextlib.contextmanager
def until_signal() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C and SIGTERM only turn the answer of what it yields to true.

    The work that asks for it can so end where it can go on later. A second signal interrupts at
    once. Outside the main thread, where Python takes no signals, nothing changes.
    """
    asked = []

    def handle(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("Stopping as soon as all is saved; again: at once.", file=sys.stderr, flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def _prepare() -> None:
    """What must be set before the first array."""
    from vad_jax import runtime

    given = flags.FLAGS
    if given.keep_heap:
        runtime.keep_heap()
    if given.compile_cache == "none":
        runtime.no_compilation_cache()
    else:
        runtime.compilation_cache(folder=given.compile_cache)


def _stop(error: VadError) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def command_line(module: str, given: dict[str, Any]) -> str:
    """The command that does the same again: what was given of its flags."""
    written = (
        f"--{name}" if v is True else f"--{name}={shlex.quote(str(v))}"
        for name, v in given.items()
        if v
    )
    return f"python -m vad_jax.{module} " + " ".join(written)


def config_of(path: str) -> ml_collections.ConfigDict:
    """The config of a file, `configs/NAME.py` or `configs/NAME.py:PRESET`, with the overrides.

    Raises:
      ConfigError: no such file or preset, no `get_config` in it, an unknown key, a value of the
        wrong type.
    """
    file, _, preset = path.partition(":")
    if not Path(file).is_file():
        raise ConfigError(
            f"There is no config file {file!r}: give --config=configs/NAME.py:PRESET."
        )
    spec = importlib.util.spec_from_file_location(f"config_{Path(file).stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    get_config = getattr(module, "get_config", None)
    if get_config is None:
        raise ConfigError(f"{file} has no function `get_config`: it is no config file.")
    if preset and not inspect.signature(get_config).parameters:
        raise ConfigError(f"{file} has no presets: give --config={file}.")
    config = get_config(preset) if preset else get_config()
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
