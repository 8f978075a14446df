"""Variables from and to other frameworks; imported when first used."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "torch":
        return importlib.import_module("vad_jax.interop.torch")
    raise AttributeError(f"module 'vad_jax.interop' has no attribute {name!r}")
