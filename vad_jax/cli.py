"""What the commands share: flags, overrides of a config, errors as messages, exit codes.

A command is its flags, `main(argv)` and one call of a job in `runs/`; it can be called in process
and then returns its exit code.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ml_collections
from absl import flags
from absl import logging as absl_logging

from vad_jax import messages
from vad_jax.config import describe
from vad_jax.config_files import config_of
from vad_jax.types import ConfigError, VadError

_PREFIX = "--config."
_FAILED, _PARTLY = 2, 3  # exit codes: the user's mistake; part of the work done


class Outcome(NamedTuple):
    """What a command has done: the figures that `--json` prints, and its exit code."""

    figures: dict[str, Any] | None = None
    exit_code: int = 0

    @classmethod
    def of(cls, figures: dict[str, Any] | None, left_out: Any) -> Outcome:
        """Exit code 3 where something was left out."""
        return cls(figures, exit_code=_PARTLY if left_out else 0)


class Command:
    """The flags of one command, and how it runs.

    Args:
      about: the text of `--help`, as a rule the module's docstring.
    """

    def __init__(self, about: str):
        self._about, self._flags = about, flags.FlagValues()
        self._needed: dict[str, str] = {}
        self._define(
            flags.DEFINE_bool, "json", False, "Print the figures as one last line of JSON."
        )
        self._define(
            flags.DEFINE_bool,
            "keep_heap",
            False,
            "On a CPU: keep the memory of a step for the next one. Where page faults are dear it "
            "saves up to a fifth of a large step, elsewhere nothing: try it. Resident memory stays "
            "at its peak until the command ends.",
        )
        self._define(
            flags.DEFINE_string,
            "compile_cache",
            None,
            "Folder that keeps compiled programs for the next command, or none; benchmarks that "
            "time compiling do without. Default: JAX_COMPILATION_CACHE_DIR where it is set, else "
            "~/.cache/vad_jax/compiled.",
        )

    def _define(self, define, name, default, text, *more, **options):
        define(name, default, text, *more, flag_values=self._flags, module_name="", **options)

    def string(self, name: str, default: str | None, text: str, *, needs: str = "") -> None:
        """A flag with a text; `needs` says in words what must be given, where it must."""
        if needs:
            self._needed[name] = needs
        self._define(flags.DEFINE_string, name, default, text + (" Required." if needs else ""))

    def strings(self, name: str, text: str) -> None:
        """A flag that may be given again and again."""
        self._define(flags.DEFINE_multi_string, name, None, text)

    def list(self, name: str, text: str) -> None:
        """A flag with several texts, commas between."""
        self._define(flags.DEFINE_list, name, None, text)

    def integer(
        self, name: str, default: int | None, text: str, *, least: int | None = None
    ) -> None:
        """A flag with a whole number."""
        self._define(flags.DEFINE_integer, name, default, text, lower_bound=least)

    def number(
        self, name: str, default: float | None, text: str, *, least: float | None = None
    ) -> None:
        """A flag with a number."""
        self._define(flags.DEFINE_float, name, default, text, lower_bound=least)

    def switch(self, name: str, text: str, *, default: bool = False) -> None:
        """A flag that is on or off."""
        self._define(flags.DEFINE_bool, name, default, text)

    def choice(self, name: str, default: str, choices: Sequence[str], text: str) -> None:
        """A flag with one of some values."""
        self._define(flags.DEFINE_enum, name, default, list(choices), text)

    def choices(self, name: str, choices: Sequence[str], text: str) -> None:
        """A flag with some of some values, by default all; it may be given again and again."""
        self._define(flags.DEFINE_multi_enum, name, list(choices), list(choices), text)

    def help(self, argv: Sequence[str]) -> str:
        """The text of `--help`; where a config file is among the arguments, its keys, too."""
        listed = self._flags.get_help(include_special_flags=False).strip()
        listed = listed.partition("\n")[2]  # the name of this module
        needed = "".join(f"\n  --{name}=…  {what}" for name, what in self._needed.items())
        text = self._about.strip() + (f"\n\nRequired:{needed}" if needed else "")
        text += f"\n\nFlags:\n{listed}"
        named = [a.partition("=")[2] for a in argv if a.startswith("--config=")]
        if "config" not in self._flags:
            return text
        if not named:
            return f"{text}\n\nWith --config=FILE the keys of its method are listed here, too."
        keys = describe(config_of(named[-1]).method)
        return f"{text}\n\nConfig keys, --config.KEY=VALUE:\n{keys}"

    def run(self, job: Callable[[Given], Outcome], argv: Sequence[str] | None = None) -> int:
        """Runs the command: the house's errors become a message and an exit code.

        Args:
          job: what it does with its flags.
          argv: arguments without the command's name; by default those of this process, which
            Ctrl-C then ends at once.

        Returns:
          The exit code.
        """
        return answered(lambda: self._done(job, argv), own_process=argv is None)

    def _done(self, job: Callable[[Given], Outcome], argv: Sequence[str] | None) -> int:
        arguments = sys.argv[1:] if argv is None else argv
        if {"--help", "-h"} & set(arguments):
            print(self.help(arguments))
            return 0
        given = self._parse(arguments)
        _prepare(given)
        outcome = job(given)
        if given.json:
            print(json.dumps(outcome.figures))
        return outcome.exit_code

    def _parse(self, argv: Sequence[str]) -> Given:
        """The flags by absl. `--config.KEY=VALUE` is taken out before.

        ml_collections' own overrides cannot be used: they read `config.memory.items` as an
        attribute and find the method of that name.
        """
        kept, overrides = ["command"], {}
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
        try:
            rest = self._flags(kept)
        except flags.Error as error:
            raise ConfigError(f"{error} (--help lists the flags)") from None
        if len(rest) > 1:
            raise ConfigError(f"Unexpected argument {rest[1]!r} (--help lists the flags).")
        for name, what in self._needed.items():
            if not self._flags[name].value:
                raise ConfigError(f"Give {what}: --{name}=…")
        return Given(self._flags, overrides)


class Given:
    """What a command line gave: its flags as attributes, and the overrides of a config."""

    def __init__(self, values: flags.FlagValues, overrides: dict[str, str]):
        self._values, self.overrides = values, overrides

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._values[name].value

    def present(self, name: str) -> bool:
        """Whether the flag was given."""
        return bool(self._values[name].present)

    def only(self, *names: str) -> dict[str, Any]:
        """The values of some flags by name."""
        return {name: getattr(self, name) for name in names}

    def read_config(self) -> ml_collections.ConfigDict:
        """The config that the flag `config` names, with the overrides; see `config_of`."""
        return config_of(self._values["config"].value, self.overrides)


def answered(work: Callable[[], int], *, own_process: bool) -> int:
    """The exit code of some work; an error of the house is said and becomes one.

    Args:
      work: all that is done.
      own_process: whether the process does nothing else; Ctrl-C then ends it at once.
    """
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax says a page a checkpoint
    try:
        with messages.on_the_terminal(), _interrupting():
            exit_code = _said(work, own_process)
            print(end="", flush=True)
    except BrokenPipeError:  # `| head` has read enough
        if not (_closed(sys.stdout) or _closed(sys.stderr)):
            raise
        return _PARTLY
    return exit_code


def _said(work: Callable[[], int], own_process: bool) -> int:
    try:
        return work()
    except VadError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        said = "Stopped. The same command goes on from what is saved, if anything is."
        print(said, file=sys.stderr, flush=True)
        if own_process:
            os._exit(_PARTLY)  # taking Python down while XLA compiles in a thread crashes
        return _PARTLY
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        print(f"{error.filename or 'A file'}: {error.strerror}.", file=sys.stderr)
        return _FAILED


@contextlib.contextmanager
def _interrupting() -> Iterator[None]:
    """SIGTERM is as Ctrl-C; only the main thread takes signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def _closed(stream: Any) -> bool:
    """Whether nobody reads it any more; it then leads nowhere, and Python ends without a word."""
    try:
        print(file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False


def _interrupt(number, frame):
    raise KeyboardInterrupt


def _prepare(given: Given) -> None:
    """What must be set before the first array."""
    from vad_jax import runtime

    if given.keep_heap:
        runtime.keep_heap()
    if given.compile_cache == "none":
        runtime.no_compilation_cache()
    else:
        runtime.compilation_cache(folder=given.compile_cache)
