"""Checkpoints of one stage, by Orbax: variables, optimiser slots, position.

Orbax makes a step whole or not at all, but does not notice bytes that change later. So each step
has a manifest beside it, `STEP.sha256.json`, written last: a step without one was never saved, and
one that differs from it is named and passed over. Which steps there are is read from the disk.

The slots are kept by path, so that a file does not depend on Optax's class names.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vad_jax import atomic
from vad_jax.learning.subsets import named
from vad_jax.types import CheckpointError, Variables

log = logging.getLogger(__name__)

MANIFESTS = "*.sha256.json"  # of the steps of a stage


class Checkpoints:
    """The checkpoints in `checkpoints/STAGE`, of which the newest `keep` stay."""

    def __init__(self, folder: Path, *, keep: int = 2):
        self.folder, self._keep = folder.absolute(), keep
        _refuse_links(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = _steps(self.folder)
        for left in self.folder.iterdir():  # by a process that was killed while it saved
            unsealed = saved and left.name.isdecimal() and int(left.name) not in saved
            if unsealed or ".orbax-checkpoint-tmp" in left.name or left.name.endswith(".part"):
                _remove(left)

    def save(self, variables: Variables, slots: Any, position: dict[str, Any]) -> None:
        """Writes a checkpoint; `position` has `step`, `epoch` and the run's digest.

        Raises:
          CheckpointError: it could not be written (a full disk); the steps before it stay.
        """
        step = position["step"]
        _forget(self.folder, step)  # one that was passed over as damaged
        items = _items(
            ocp.args.StandardSave, variables, slots, position=ocp.args.JsonSave(position)
        )
        try:
            with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
                checkpointer.save(self.folder / str(step), args=items)
            _seal(self.folder, step)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.folder}: step {step} could not be saved, {_first_line(error)} "
                f"({shutil.disk_usage(self.folder).free / 1e6:.1f} MB free). Make room and give "
                "the same command again: it goes on from the newest step that was saved."
            ) from error
        for old in _steps(self.folder)[self._keep :]:
            _forget(self.folder, old)

    def newest(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return next(iter(_steps(self.folder)), None)

    def latest(self, variables: Variables, slots: Any) -> tuple[Variables, Any, dict] | None:
        """The newest checkpoint that is whole, or None if there is none.

        Args:
          variables, slots: trees of arrays or of their shapes, as they were saved.

        Raises:
          CheckpointError: there are checkpoints, and none is whole.
        """
        found, damaged = _restored(
            self.folder,
            _items(ocp.args.StandardRestore, variables, slots, position=ocp.args.JsonRestore()),
        )
        if found is None:
            return None
        for step in damaged:  # else they would count among those that are kept
            _forget(self.folder, step)
        leaves = found.slots.values() if "slots" in found else []
        slots = jax.tree.unflatten(jax.tree.structure(slots), leaves)
        return found.variables, slots, found.position


def read_variables(folder: Path, variables: Variables) -> tuple[Variables, dict[str, Any]]:
    """The newest variables of a stage that are whole, and their position.

    Raises:
      CheckpointError: there are none, or they do not fit `variables`' shapes.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} does not exist: train first, or name another workdir.")
    _refuse_links(folder)
    found, _ = _restored(
        folder.absolute(),
        ocp.args.Composite(
            variables=ocp.args.StandardRestore(variables), position=ocp.args.JsonRestore()
        ),
    )
    if found is None:
        raise CheckpointError(
            f"{folder} holds no checkpoint (a step counts with its manifest STEP.sha256.json)."
        )
    return found.variables, found.position


def check_origin(folder: Path, position: dict[str, Any], digest: str) -> None:
    """Refuses a checkpoint that another run saved.

    Args:
      folder: where it lies.
      position: of the checkpoint.
      digest: of the run that takes it, config and data.

    Raises:
      CheckpointError: it was saved under another config or on other data.
    """
    if position.get("digest") != digest:
        raise CheckpointError(
            f"{folder}: step {position.get('step')} was saved by a run of another config or other "
            "data than config.json and data.json beside it say. Put back this run's checkpoints, "
            "or train in another workdir."
        )


def _restored(folder: Path, args: ocp.args.Composite) -> tuple[Any, list[int]]:
    """The newest step that is whole, or None where there is no step; and the damaged ones.

    A step whose bytes are those that were saved is no damaged one, though it may fail to restore:
    it has other shapes, or the disk has a moment of trouble.
    """
    failures, damaged = {}, []
    for step in _steps(folder):
        links = [path for path in _all(folder, step) if path.is_symlink()]
        if links:  # would have another file read, or written over
            reason = f"{links[0]} is a symbolic link: put the file itself there"
        elif reason := _damage(folder, step):
            damaged.append(step)
        else:
            try:
                with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
                    return checkpointer.restore(folder / str(step), args=args), damaged
            except (ValueError, OSError, KeyError) as error:
                reason = _first_line(error)
        failures[step] = reason
        log.warning("%s: step %d is passed over, %s", folder, step, reason)
    if failures:
        told = "; ".join(f"step {step}: {reason}" for step, reason in failures.items())
        raise CheckpointError(f"{folder}: no checkpoint can be read. {told}.")
    return None, []


def _steps(folder: Path) -> list[int]:
    """The steps that were saved to their end, newest first."""
    names = (path.name.removesuffix(".sha256.json") for path in folder.glob(MANIFESTS))
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _manifest(folder: Path, step: int) -> Path:
    return folder / f"{step}.sha256.json"


def _seal(folder: Path, step: int) -> None:
    """Writes the manifest: with it the step counts as saved."""
    with atomic.whole(_manifest(folder, step)) as file:
        json.dump(_hashes(folder / str(step)), file, indent=1)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): atomic.sha256(path) for path in found}


def _all(folder: Path, step: int) -> list[Path]:
    """The manifest, the folder of a step, and all in it."""
    kept = folder / str(step)
    return [_manifest(folder, step), kept, *kept.rglob("*")]


def _refuse_links(folder: Path) -> None:
    """A stage's folder and the one above it must lie where they seem to."""
    for path in (folder, folder.parent):
        if path.is_symlink():
            raise CheckpointError(f"{path} is a symbolic link: put the folder itself there.")


def _damage(folder: Path, step: int) -> str | None:
    """What is wrong with a step's files, nothing of them parsed but the manifest; or None."""
    kept = folder / str(step)
    try:
        expected = json.loads(_manifest(folder, step).read_text())
    except (OSError, ValueError) as error:
        return f"{_manifest(folder, step)} is damaged ({_first_line(error)})"
    if not isinstance(expected, dict):
        return f"{_manifest(folder, step)} is damaged (no table of hashes)"
    found = _hashes(kept)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not what was saved"
            return f"{kept / name} {what}"
    return None


def _forget(folder: Path, step: int) -> None:
    """Removes a step, its manifest first: half of one must not count."""
    _remove(_manifest(folder, step))
    _remove(folder / str(step))


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for wait in (0.1, 0.5, 2.0):  # threads of a save that failed may still be writing
        try:
            shutil.rmtree(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
            if not path.exists():
                return
            time.sleep(wait)
    shutil.rmtree(path)


def _items(kind, variables: Variables, slots: Any, *, position) -> ocp.args.Composite:
    """What a checkpoint holds; an optimiser without state (plain SGD) has no slots."""
    items = {"variables": kind(variables), "position": position}
    if jax.tree.leaves(slots):
        items["slots"] = kind(_by_path(slots))
    return ocp.args.Composite(**items)


def _by_path(tree: Any) -> dict[str, Any]:
    """Leaves by number and path, so that their order is the tree's."""
    numbered = enumerate(named(tree))
    return {f"{i:05d} {path}".replace("/", "."): leaf for i, (path, leaf) in numbered}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
