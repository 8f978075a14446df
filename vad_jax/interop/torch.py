"""Published PyTorch state dicts to our variables, and our trees back to their names.

Which tensor is which is said by the method's own file (`published(config)`); here are only the
layouts. Kernels of a convolution are `[O, I, *k]` there, of a transposed one `[I, O, *k]`, both
`[*k, I, O]` here, whether k has two sizes or three; a linear layer's are `[O, I]` there, `[I, O]`
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import config as configs
from vad_jax.learning.subsets import named
from vad_jax.types import DataError, Published, Variables

# Layouts with a kernel: whether the axes of channels are `[I, O, …]` there, not `[O, I, …]`.
_TURNED = {"conv": False, "upsample": True, "linear": False}


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
      memory: items `[M, C]` for a method that has them.
      step_size: for a method with learned step sizes, by state-dict name, those of every tensor
        that is adapted: into `state["step_size"]`, also where the configuration has no stage that
        learns them.

    Returns:
      Also the state that is not given, or that no published tensor is of: a fresh start's.

    Raises:
      DataError: a tensor or a step size is missing, unknown, or of the wrong shape, and is named;
        items or step sizes for a method that has none; a method without published tensors.
    """
    config = configs.complete(config)
    table = _table(config)
    method = configs.module(config.method).create(config)
    unknown = sorted(set(tensors) - set(table.values) - set(table.dead))
    _refuse(unknown, "is not a tensor of this network", config)
    _refuse(sorted(set(table.values) - set(tensors)), "is missing", config)
    found = {path: _ours(tensors[name], kind) for name, (path, kind) in table.values.items()}
    dtype = next(iter(found.values())).dtype
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    if step_size is not None:
        sizes = _step_sizes(config, table, tensors, step_size)
        shapes["state"]["step_size"] = _nested(sizes)
        found |= {f"state/step_size/{path}": size for path, size in sizes.items()}
    if memory is not None:
        if table.memory is None:
            raise DataError(
                f"{config.method} has no memory in this configuration: leave memory out."
            )
        found[table.memory] = np.asarray(memory, dtype)
    found |= _fresh(config, method, shapes, found, dtype)

    leaves = []
    _refuse([p for p, _ in named(shapes) if p not in found], "is in no table of tensors", config)
    for path, like in named(shapes):
        if found[path].shape != like.shape:
            raise DataError(
                f"{path} has shape {like.shape} in this configuration, {found[path].shape} in the "
                f"tensors: {_called(config)}. Check that these keys are those of the tensors."
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

    Raises:
      DataError: the method has no published tensors.
    """
    table = _table(configs.complete(config))
    whole = params if set(params) == {"params", "state"} else {"params": params}
    flat = dict(named(whole))
    return {
        name: _theirs(flat[path], kind)
        for name, (path, kind) in table.values.items()
        if path in flat
    }


def _table(config) -> Published:
    method = configs.module(config.method)
    if not hasattr(method, "published"):
        raise DataError(
            f"{config.method} has no published tensors: its module has no function `published`."
        )
    return method.published(config)


def _step_sizes(config, table, tensors, given) -> dict[str, np.ndarray]:
    """Path below `state/step_size` → the step sizes of that parameter."""
    if not table.step_sizes:
        raise DataError(f"{config.method} has no step sizes: leave step_size out.")
    _refuse(sorted(set(given) - set(table.step_sizes)), "has no step size", config)
    missing = [name for name in table.step_sizes if name not in given]
    _refuse(missing, "has no step size among those given", config)
    sizes = {}
    for name, array in given.items():
        if np.shape(array) != np.shape(tensors[name]):
            raise DataError(
                f"The step size of {name} has shape {np.shape(array)}, the tensor "
                f"{np.shape(tensors[name])}: give one for each parameter."
            )
        path, kind = table.values[name]
        sizes[path.removeprefix("params/")] = _ours(array, kind)
    return sizes


def _fresh(config, method, shapes, found, dtype) -> dict[str, np.ndarray]:
    """The state that nothing was found for, from a fresh start; numbers in the tensors' dtype."""
    absent = {path for path, _ in named(shapes) if path.startswith("state/")} - set(found)
    if not absent:
        return {}

    @jax.jit  # what none of these depends on is not computed: no weight is drawn
    def begun(key):
        return {path: leaf for path, leaf in named(method.init(key)) if path in absent}

    leaves = begun(jax.random.key(config.seed))
    return {path: _of_dtype(leaf, dtype) for path, leaf in leaves.items()}


def _of_dtype(leaf, dtype):
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _ours(array: Any, kind: str) -> np.ndarray:
    array = np.asarray(array)
    if kind == "plain":
        return array
    if _TURNED[kind]:
        array = array.swapaxes(0, 1)
    return np.moveaxis(array, (0, 1), (-1, -2))  # [O, I, *k] → [*k, I, O]


def _theirs(array: Any, kind: str) -> np.ndarray:
    array = np.asarray(array)
    if kind == "plain":
        return array
    array = np.moveaxis(array, (-1, -2), (0, 1))
    return array.swapaxes(0, 1) if _TURNED[kind] else array


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
            f"{names[0]}{too} {what}: {_called(config)}. Check that the configuration is the one "
            "the tensors were made with."
        )


def _called(config) -> str:
    """The method and its own keys that name or count something, `mnad, variant code, width 64`."""
    own = configs.module(config.method).KEYS.items()
    plain = {key: config[key] for key, entry in own if "." not in key and not entry.evaluation}
    said = [f"{key} {value}" for key, value in plain.items() if type(value) in (str, int)]
    return ", ".join([config.method, *said])
