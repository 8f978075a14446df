"""Published PyTorch state dicts to our variables, and our trees back to their names.

Which tensor is which is said by the method's own file (`published(config)`); here are only the
layouts. Kernels: convolution `[O, I, kh, kw]` there, `[kh, kw, I, O]` here; transposed convolution
`[I, O, kh, kw]` there, `[kh, kw, I, O]` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import config as configs
from vad_jax.types import DataError, Variables

_TO_OURS = {"conv": (2, 3, 1, 0), "upsample": (2, 3, 0, 1), "plain": None}
_TO_TORCH = {"conv": (3, 2, 0, 1), "upsample": (2, 3, 0, 1), "plain": None}


def variables(
    config,
    tensors: Mapping[str, np.ndarray],
    *,
    memory: np.ndarray | None = None,
    step_size: Mapping[str, np.ndarray] | None = None,
) -> Variables:
    """Variables in the finished layout from a published state dict.

    Args:
      config: of the method and size that the tensors belong to.
      tensors: state-dict name → array in torch layout; the dtype is kept (float64 needs
        `jax_enable_x64`). Tensors that the published network never uses are left out.
      memory: items `[M, C]` for a method that has them; without them a fresh start's.
      step_size: for a method with learned step sizes, by state-dict name.

    Raises:
      DataError: a tensor is missing, unknown, or of the wrong shape; it is named.
    """
    config = configs.complete(config)
    source = configs.module(config.method)
    method = source.create(config)
    table = source.published(config)
    unknown = sorted(set(tensors) - set(table.values) - set(table.dead))
    _refuse(unknown, "is not a tensor of this network", config)
    _refuse(sorted(set(table.values) - set(tensors)), "is missing", config)
    if step_size is not None:
        raise DataError(f"{config.method} has no step sizes: leave step_size out.")
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    found = {}
    for name, (path, kind) in table.values.items():
        array = np.asarray(tensors[name])
        axes = _TO_OURS[kind]
        found[path] = array if axes is None else array.transpose(axes)
    if memory is not None:
        found["state/memory"] = np.asarray(memory, next(iter(found.values())).dtype)
    elif "memory" in shapes["state"]:
        dtype = next(iter(found.values())).dtype
        initial = method.init(jax.random.key(config.seed))["state"]["memory"]
        found["state/memory"] = np.asarray(initial, dtype)

    def fill(path, like):
        path = jax.tree_util.keystr(path, simple=True, separator="/")
        if found[path].shape != like.shape:
            raise DataError(
                f"{path} has shape {like.shape} in this configuration, {found[path].shape} in the "
                "tensors. Check task, width, channels and memory.items."
            )
        return jnp.asarray(found[path])

    return jax.tree_util.tree_map_with_path(fill, shapes)


def tensors(config, params: Any) -> dict[str, np.ndarray]:
    """State-dict names and torch layout for anything shaped like the parameters.

    Args:
      config: of the method that `params` belong to.
      params: parameters, or their gradients, or step sizes, in the finished layout; or whole
        variables (`{"params": …, "state": …}`), which give BatchNorm's statistics, too.

    Returns:
      Name → array; tensors that the published network never uses are left out.
    """
    config = configs.complete(config)
    table = configs.module(config.method).published(config)
    whole = params if set(params) == {"params", "state"} else {"params": params}
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(whole)
    }
    result = {}
    for name, (path, kind) in table.values.items():
        if path in flat:
            array, axes = np.asarray(flat[path]), _TO_TORCH[kind]
            result[name] = array if axes is None else array.transpose(axes)
    return result


def _refuse(names: list[str], what: str, config) -> None:
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise DataError(
            f"{names[0]}{more} {what}: {config.method}, task {config.get('task', '-')}, width "
            f"{config.width}. Check that the configuration is the one the tensors were made with."
        )
