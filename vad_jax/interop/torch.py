"""Published PyTorch state dicts to our variables, and our trees back to their names.

Which tensor is which is said by the method's own file (`published(config)`); here are only the
layouts. Kernels: convolution `[O, I, kh, kw]` there, `[kh, kw, I, O]` here; transposed convolution
`[I, O, kh, kw]` there, `[kh, kw, I, O]` here; linear layer `[O, I]` there, `[I, O]` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import config as configs
from vad_jax.learning.subsets import named
from vad_jax.types import DataError, Variables

_TO_OURS = {"conv": (2, 3, 1, 0), "upsample": (2, 3, 0, 1), "linear": (1, 0), "plain": None}
_TO_TORCH = {"conv": (3, 2, 0, 1), "upsample": (2, 3, 0, 1), "linear": (1, 0), "plain": None}


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
      step_size: for a method with learned step sizes, by state-dict name, those of every tensor
        that is adapted: into `state["step_size"]`, also where the configuration has no stage that
        learns them. Without it, a configuration that has one gets a fresh start's.

    Raises:
      DataError: a tensor or a step size is missing, unknown, or of the wrong shape; it is named.
    """
    config = configs.complete(config)
    source = configs.module(config.method)
    method = source.create(config)
    table = source.published(config)
    unknown = sorted(set(tensors) - set(table.values) - set(table.dead))
    _refuse(unknown, "is not a tensor of this network", config)
    _refuse(sorted(set(table.values) - set(tensors)), "is missing", config)
    if step_size is not None and not table.step_sizes:
        raise DataError(f"{config.method} has no step sizes: leave step_size out.")
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    found = {}
    for name, (path, kind) in table.values.items():
        found[path] = _ours(tensors[name], kind)
    dtype = next(iter(found.values())).dtype
    if step_size is not None:
        _refuse(sorted(set(step_size) - set(table.step_sizes)), "has no step size", config)
        missing = [name for name in table.step_sizes if name not in step_size]
        _refuse(missing, "has no step size among those given", config)
        sizes = {}
        for name, array in step_size.items():
            path, kind = table.values[name]
            sizes[path.replace("params/", "state/step_size/")] = _ours(array, kind)
            if np.shape(array) != np.shape(tensors[name]):
                raise DataError(
                    f"The step size of {name} has shape {np.shape(array)}, the tensor "
                    f"{np.shape(tensors[name])}: give one for each parameter."
                )
        shapes["state"]["step_size"] = _nested(sizes)["state"]["step_size"]
        found |= sizes
    elif "step_size" in shapes["state"]:
        fresh = jax.jit(method.init)(jax.random.key(config.seed))["state"]["step_size"]
        found |= {f"state/step_size/{p}": np.asarray(x, dtype) for p, x in named(fresh)}
    if memory is not None:
        found["state/memory"] = np.asarray(memory, dtype)
    elif "memory" in shapes["state"]:
        initial = method.init(jax.random.key(config.seed))["state"]["memory"]
        found["state/memory"] = np.asarray(initial, dtype)

    leaves = []
    for path, like in named(shapes):
        if found[path].shape != like.shape:
            raise DataError(
                f"{path} has shape {like.shape} in this configuration, {found[path].shape} in the "
                "tensors. Check that task, width, channels and the like are those of the tensors."
            )
        leaves.append(jnp.asarray(found[path]))
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


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
    flat = dict(named(whole))
    result = {}
    for name, (path, kind) in table.values.items():
        if path in flat:
            array, axes = np.asarray(flat[path]), _TO_TORCH[kind]
            result[name] = array if axes is None else array.transpose(axes)
    return result


def _ours(array: Any, kind: str) -> np.ndarray:
    axes = _TO_OURS[kind]
    return np.asarray(array) if axes is None else np.asarray(array).transpose(axes)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `named` for trees of dicts."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *sections, name = path.split("/")
        home = tree
        for section in sections:
            home = home.setdefault(section, {})
        home[name] = leaf
    return tree


def _refuse(names: list[str], what: str, config) -> None:
    if names:
        others = names[1:4] + ([f"{len(names) - 4} more"] if names[4:] else [])
        too = f" (and {', '.join(others)})" if others else ""
        raise DataError(
            f"{names[0]}{too} {what}: {config.method}, task {config.get('task', '-')}, width "
            f"{config.width}. Check that the configuration is the one the tensors were made with."
        )
