"""What a run says of where and how it was made: for people, never compared."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "vad_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "opencv-python",
)


def environment() -> dict[str, Any]:
    """Versions, machine, devices and the time of day: as a run keeps them."""
    import jax

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command_line(module: str, given: dict[str, Any]) -> str:
    """The command that does the same again: what was given of its flags."""
    written = (
        f"--{name}" if v is True else f"--{name}={shlex.quote(str(v))}"
        for name, v in given.items()
        if v
    )
    return f"python -m vad_jax.{module} " + " ".join(written)
