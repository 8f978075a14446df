"""Parts of a pytree of parameters, chosen by path.

A path is written `decoder/conv1/kernel`: keys of dicts, fields of dataclasses and NamedTuples,
positions in lists and tuples. Trees that belong together are matched by path, not by type.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Subset = str | Callable[[str], bool] | None


def chosen(params: Any, subset: Subset) -> Any:
    """The parameters of a subset in their nesting: dicts lack the others, elsewhere None is left.

    Args:
      params: any pytree.
      subset: a regular expression that matches the whole path (`re.fullmatch`, so that a pattern
        that is too short chooses nothing rather than too much), or a function of the path; None
        chooses all.

    Raises:
      ValueError: nothing is chosen; names the paths that are nearest.

    Example:
      >>> chosen({"body": {"w": 1.0}, "head": [{"w": 2.0, "b": 3.0}, 4.0]}, "head/.*/w")
      {'head': [{'w': 2.0}, None]}
    """
    if subset is None:
        return params
    names = [name for name, _ in named(params)]
    moves = subset if callable(subset) else re.compile(subset).fullmatch
    moving = {name for name in names if moves(name)}
    if not moving:
        near = names[:3] if callable(subset) else difflib.get_close_matches(subset, names, 3, 0)
        raise ValueError(
            f"subset={subset!r} chooses no parameter: a regular expression must match the whole "
            f"path. {'Some' if callable(subset) else 'Near'} paths: {', '.join(near)}."
        )
    marked = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if _name(path) in moving else None, params
    )
    return _pruned(marked)


def _pruned(tree):
    if isinstance(tree, dict):
        branches = {key: _pruned(branch) for key, branch in tree.items()}
        return {key: branch for key, branch in branches.items() if jax.tree.leaves(branch)}
    return jax.tree.map(
        lambda part: _pruned(part) if isinstance(part, dict) else part,
        tree,
        is_leaf=lambda part: isinstance(part, dict),
    )


def merged(moved: Any, params: Any) -> Any:
    """`params` with the leaves of `moved` in the places that have their paths."""
    leaves = dict(named(moved))
    return jax.tree_util.tree_map_with_path(lambda path, p: leaves.get(_name(path), p), params)


def spread(step_size: Any, moving: Any) -> Any:
    """A step size for each of the parameters that move, in their nesting.

    Args:
      step_size: a number for all, or a pytree with the same paths as `moving`; each leaf a number
        or an array that broadcasts to its parameter.
      moving: what `chosen` gave.

    Raises:
      ValueError: other paths, or a shape that does not fit; names them.
    """
    if jax.tree_util.all_leaves([step_size]) and jnp.ndim(step_size) == 0:
        return jax.tree.map(lambda _: step_size, moving)
    sizes, parameters = dict(named(step_size)), dict(named(moving))
    lacking = [name for name in parameters if name not in sizes]
    unused = [name for name in sizes if name not in parameters]
    if lacking or unused:
        raise ValueError(
            "step_size is one number, or has the paths of the parameters that move. Lacking: "
            f"{lacking[:3] or 'none'}; not among those that move: {unused[:3] or 'none'} (of "
            f"{len(parameters)}; init_step_size with the same subset makes them)."
        )
    for name, p in parameters.items():
        size, whole = jnp.shape(sizes[name]), jnp.shape(p)
        fits = len(size) == len(whole) and all(
            a in (1, b) for a, b in zip(size, whole, strict=False)
        )
        if size and not fits:
            raise ValueError(f"The step size of {name} has shape {size}, the parameter {whole}.")
    return jax.tree_util.tree_map_with_path(lambda path, _: sizes[_name(path)], moving)


def named(tree: Any) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf, in the tree's order.

    Raises:
      ValueError: two leaves have one path.
    """
    found = [(_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    if len(dict(found)) < len(found):
        raise ValueError("Two parameters have one path, such as keys 1 and '1' of a dict.")
    return found


def _name(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")
