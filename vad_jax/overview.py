"""What there is, on one page: commands, presets, data sets, config keys."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterable
from pathlib import Path

from vad_jax import config, config_files
from vad_jax.datasets import NAMES

COMMANDS = ("train", "evaluate", "score", "adapt", "convert", "prepare")
_CONFIGS = Path("configs")
_WIDTH = 94  # two indents below the page's 100 columns


def overview() -> str:
    """The page as text; presets are those of the config files below the working folder."""
    parts = {
        "Commands, `vad_jax NAME --help` for the flags of each": _commands(),
        "Presets, `vad_jax train --config=FILE:PRESET`": _presets(),
        "Data sets, `--config.data.name=NAME --config.data.root=FOLDER`": _wrapped(NAMES),
        "Config keys of every method, `--config.KEY=VALUE`": config.describe_shared(),
        "Methods; `vad_jax train --help --config=FILE` adds their own keys": _wrapped(
            config.methods()
        ),
    }
    listed = (f"{head}:\n{textwrap.indent(body, '  ')}" for head, body in parts.items())
    return "Video anomaly detection in JAX.\n\n" + "\n\n".join(listed)


def _commands() -> str:
    return _table(
        (name, importlib.import_module(f"vad_jax.{name}").__doc__.partition("\n")[0])
        for name in COMMANDS
    )


def _presets() -> str:
    files = sorted(_CONFIGS.glob("*.py"))
    if not files:
        return (
            f"none here: the folder `{_CONFIGS}` of the repository has them. Start in its clone, "
            "or give the path of a file of your own."
        )
    lines = []
    for file in files:
        head = textwrap.fill(f"{file}  {config_files.about(str(file))}", _WIDTH)
        lines += [head, *textwrap.indent(_named(file), "  ").splitlines()]
    return "\n".join(lines)


def _named(file: Path) -> str:
    """The presets of a file: those with a text in a table, variations of them below."""
    found = config_files.presets(str(file))
    told = _table((name, text) for name, text in found.items() if text)
    more = _wrapped(name for name, text in found.items() if not text)
    return "\n".join(filter(None, (told, more)))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    layout = {"width": _WIDTH, "subsequent_indent": " " * (width + 2)}
    return "\n".join(textwrap.fill(f"{name:<{width}}  {text}", **layout) for name, text in rows)


def _wrapped(names: Iterable[str]) -> str:
    return textwrap.fill(", ".join(names), _WIDTH)
