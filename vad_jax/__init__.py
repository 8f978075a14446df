"""Video anomaly detection in JAX.

`create(config)` makes a method's pure functions, `load(workdir)` a detector from a finished run;
`meta` is the meta-learning that stands on its own. All of it is imported when it is first used,
so that `import vad_jax` is quick and never imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vad_jax.types import Method

__version__ = "0.1.0"
_ROOMS = ("config", "evaluation", "interop", "scoring", "types")
__all__ = ["Detector", "create", "load", "meta"]


def create(config) -> Method:
    """The method that `config.method` names, as pure functions.

    Args:
      config: from a config file or `vad_jax.config.defaults(method)`.

    Raises:
      ConfigError: an unknown method, or values that cannot work.
    """
    from vad_jax import config as configs

    config = configs.complete(config)
    return configs.module(config.method).create(config)


def __getattr__(name: str) -> Any:
    if name == "meta":
        from vad_jax.learning import meta

        return meta
    if name == "Detector":
        from vad_jax.detector import Detector

        return Detector
    if name == "load":
        from vad_jax.runs.loading import load

        return load
    if name in _ROOMS:
        return importlib.import_module(f"vad_jax.{name}")
    raise AttributeError(f"module 'vad_jax' has no attribute {name!r}")
