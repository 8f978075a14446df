"""All commands behind one name: `vad_jax COMMAND …`, or `python -m vad_jax COMMAND …`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from vad_jax import cli
from vad_jax.overview import COMMANDS, overview
from vad_jax.types import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that is named first; without one says what there is. The exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        command = importlib.import_module(f"vad_jax.{given[0]}")
        if argv is not None:
            return command.main(given[1:])
        sys.argv = [f"vad_jax {given[0]}", *given[1:]]  # its own arguments: Ctrl-C ends it at once
        return command.main()
    return cli.answered(lambda: _other(given), own_process=argv is None)


def _other(given: list[str]) -> int:
    if not given or given[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    near = difflib.get_close_matches(given[0], COMMANDS, n=1, cutoff=0.5)
    raise ConfigError(
        f"There is no command {given[0]!r}."
        + (f" Did you mean {near[0]}?" if near else "")
        + f" There are: {', '.join(COMMANDS)}."
    )


if __name__ == "__main__":
    sys.exit(main())
