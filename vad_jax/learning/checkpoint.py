"""Checkpoints of one stage, by Orbax: variables, optimiser slots, position.

The slots are kept by path, so that a file does not depend on Optax's class names.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vad_jax.learning import optim
from vad_jax.types import CheckpointError, Variables

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints in `checkpoints/STAGE`; use as a context so that writing is finished."""

    def __init__(self, folder: Path, *, keep: int = 2):
        self.folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        names = ("variables", "slots", "position")
        self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=names)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, variables: Variables, slots: Any, position: dict[str, Any]) -> None:
        """Begins to write a checkpoint; `position` has `step`, `epoch` and the run's digest."""
        saved = self._manager.save(
            position["step"],
            args=_items(
                ocp.args.StandardSave, variables, slots, position=ocp.args.JsonSave(position)
            ),
        )
        if not saved:
            raise CheckpointError(
                f"{self.folder}: step {position['step']} was not saved. Is the disk full?"
            )

    def newest(self) -> int | None:
        """The step of the newest checkpoint once all writing is done, or None."""
        self._manager.wait_until_finished()
        return self._manager.latest_step()

    def latest(self, variables: Variables, slots: Any) -> tuple[Variables, Any, dict] | None:
        """The newest checkpoint that can be read, or None if there is none.

        Args:
          variables, slots: trees of arrays or of their shapes, as they were saved.

        Raises:
          CheckpointError: there are checkpoints, and none can be read.
        """
        failures = {}
        restore = _items(
            ocp.args.StandardRestore, variables, slots, position=ocp.args.JsonRestore()
        )
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._manager.restore(step, args=restore)
            except (ValueError, OSError, KeyError) as error:
                failures[step] = _first_line(error)
                log.warning("%s: step %d cannot be read, %s", self.folder, step, failures[step])
                continue
            for damaged in failures:  # else Orbax refuses to save those steps anew
                self._manager.delete(damaged)
            structure = jax.tree.structure(slots)
            leaves = found.slots.values() if "slots" in found else []
            return found.variables, jax.tree.unflatten(structure, leaves), found.position
        if failures:
            raise CheckpointError(f"{self.folder}: no checkpoint can be read: {failures}.")
        return None


def read_variables(folder: Path, variables: Variables) -> tuple[Variables, dict[str, Any]]:
    """The newest readable variables of a stage, and their position.

    Raises:
      CheckpointError: there is none, or they do not fit `variables`' shapes.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} does not exist: train first, or name another workdir.")
    failures = []
    with ocp.CheckpointManager(folder.absolute()) as manager:
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                found = manager.restore(
                    step,
                    args=ocp.args.Composite(
                        variables=ocp.args.StandardRestore(variables),
                        position=ocp.args.JsonRestore(),
                    ),
                )
                return found.variables, found.position
            except (ValueError, OSError, KeyError) as error:
                failures.append(f"step {step}: {_first_line(error)}")
    raise CheckpointError(f"{folder}: no checkpoint can be read {failures or '(there is none)'}.")


def _items(kind, variables: Variables, slots: Any, *, position) -> ocp.args.Composite:
    """What a checkpoint holds; an optimiser without state (plain SGD) has no slots."""
    items = {"variables": kind(variables), "position": position}
    if jax.tree.leaves(slots):
        items["slots"] = kind(_by_path(slots))
    return ocp.args.Composite(**items)


def _by_path(tree: Any) -> dict[str, Any]:
    """Leaves by number and path, so that their order is the tree's."""
    leaves = jax.tree.leaves(tree)
    named = zip(optim.paths(tree), leaves, strict=True)
    return {f"{i:05d} {path}".replace("/", "."): leaf for i, (path, leaf) in enumerate(named)}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
