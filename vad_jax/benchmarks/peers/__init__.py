"""The same networks in PyTorch, written here for the comparison: one file a method.

A file `peers/NAME.py` has `train_step(config, tensors, memory, *, mode, device)` and
`score(config, tensors, memory, *, mode, device)`, and `meta_step`, where a method meta-learns;
tensors have the names that the method's
`published` gives. Torch is imported by these files only, and inside functions here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import types
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
import numpy as np

from vad_jax import config as configs
from vad_jax.types import ConfigError

MODES = ("eager", "channels_last", "compile")  # the last is channels_last too


def find(method: str) -> types.ModuleType:
    """The file of a method's twin.

    Raises:
      ConfigError: PyTorch is not installed, or nobody has written that twin.
    """
    check_installed()
    return configs.imported(
        f"{__name__}.{method}",
        f"There is no PyTorch twin of {method} to compare with (vad_jax/benchmarks/peers/"
        f"{method}.py): leave --torch out.",
    )


def check_installed() -> None:
    """Raises ConfigError where there is no PyTorch."""
    if importlib.util.find_spec("torch") is None:
        raise ConfigError("--torch needs PyTorch: pip install 'vad_jax[bench]', or leave it out.")


def arm(
    stored: str,
    work: str,
    tensors: Mapping[str, np.ndarray],
    memory: np.ndarray | None,
    frames: np.ndarray,
    mode: str,
    device: str,
) -> Callable[[], Any]:
    """A function without arguments that does the twin's work once and waits for its device.

    Args:
      stored: the completed config as text.
      work: `train_step`, `score` or `meta_step`.
      tensors, memory: what the twin starts with.
      frames: uint8, of the batch.
      mode: of `MODES`.
      device: PyTorch's name.
    """
    config = ml_collections.ConfigDict(json.loads(stored))
    run = getattr(find(config.method), work)(config, tensors, memory, mode=mode, device=device)
    prepare()

    def call():
        result = run(frames)
        wait(device)
        return result

    return call


def device() -> str:
    """PyTorch's name for the kind of device that JAX computes on."""
    import jax
    import torch

    on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    return "cuda" if on_gpu else "cpu"


def prepare(*, allow_tf32: bool = True) -> None:
    """All cores, as XLA takes them, and its default products on NVIDIA: TF32 for float32."""
    import torch

    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    torch.set_num_threads(len(affinity(0)) if affinity else os.cpu_count())
    torch.backends.cuda.matmul.allow_tf32 = allow_tf32
    torch.backends.cudnn.allow_tf32 = allow_tf32
    torch.backends.cudnn.benchmark = True  # XLA tries algorithms when it compiles, too


def wait(device: str) -> None:
    """Until the device has done all that was sent to it; a CPU has."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
