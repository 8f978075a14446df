"""Video anomaly detection in JAX.

    load(workdir)     the detector of a finished run: `.score(frames)`, `.stream()`, `.adapt(clips)`
    create(config)    a method as pure functions; `vad_jax.config.defaults("mnad")` is a config
    Detector          what `load` gives
    meta              meta-learning that stands on its own: differentiable gradient steps
    config  config_files  datasets  evaluation  interop  scoring  types      the rooms behind them

The jobs of the commands are functions, too: `from vad_jax.runs.training import train`, and so on.
On a command line `python -m vad_jax` lists commands, presets, data sets and config keys.

All of it is imported when it is first used, so that `import vad_jax` is quick and never imports
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vad_jax.types import Method

__version__ = "0.1.0"
_ROOMS = ("config", "config_files", "datasets", "evaluation", "interop", "scoring", "types")
_NAMES = {"Detector": "detector", "load": "runs.loading"}  # where each is at home
__all__ = ["Detector", "create", "load", "meta"]


def create(config) -> Method:
    """The method that `config.method` names, as pure functions.

    Args:
      config: from a config file or `vad_jax.config.defaults(method)`.

    Raises:
      ConfigError: no config, an unknown method, or values that cannot work.
    """
    from vad_jax import config as configs

    config = configs.complete(config)
    return configs.module(config.method).create(config)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"vad_jax.{_NAMES[name]}"), name)
    if name == "meta":
        return importlib.import_module("vad_jax.learning.meta")
    if name in _ROOMS:
        return importlib.import_module(f"vad_jax.{name}")
    raise AttributeError(f"module 'vad_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What completion offers: everything public, imported or not."""
    return sorted({*globals(), *__all__, *_ROOMS})
