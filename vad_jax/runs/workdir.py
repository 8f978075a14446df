"""The files of a run beside its checkpoints: what was asked for, on what, with what."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from vad_jax import atomic as files
from vad_jax import config as configs
from vad_jax.data.frames import Frames, identity
from vad_jax.types import CheckpointError

log = logging.getLogger(__name__)

_PACKAGES = (
    "vad_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "opencv-python",
)


@contextlib.contextmanager
def locked(folder: Path, flag: str = "--workdir") -> Iterator[None]:
    """Keeps other processes from writing into a folder, which is made if need be.

    Args:
      folder: a workdir, or another folder of results.
      flag: the option that names it.

    Raises:
      CheckpointError: another process works in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A stranger's workdir may hold a link here, to a file that is not ours to write.
        options = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.fdopen(os.open(folder / "lock", options, 0o644), "r+")
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written ({error.strerror}): give another {flag}, where you may "
            "write."
        ) from None
    with file:
        _lock(file, folder, flag)
        yield


def _lock(file, folder: Path, flag: str) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise CheckpointError(
            f"{folder} is in use by process {file.read(20) or '(unknown)'}: wait for it, stop it, "
            f"or give another {flag}."
        ) from None
    except OSError as error:  # some network file systems cannot
        log.warning("%s cannot be locked (%s): start nothing else in it.", folder, error.strerror)
        return
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def claim(workdir: Path, config, training: Sequence[Frames], validation: Sequence[Frames]) -> str:
    """Makes the workdir of a run, or checks that it already is this run's; returns its digest.

    Raises:
      CheckpointError: it holds a run of another config or other data; the differences are named. Or
        what an adaptation that was interrupted left.
    """
    data = {
        "identity": identity([*training, *validation]),
        "training": {video.name: len(video) for video in training},
        "validation": {video.name: len(video) for video in validation},
    }
    if (workdir / "config.json").exists():
        _same_run(workdir, config, data)
    elif _half_adapted(workdir):  # its checkpoint would pass for one of this run
        raise CheckpointError(
            f"{workdir} holds an adaptation that was interrupted: give that command again, or "
            "another --workdir."
        )
    _describe(workdir, data)
    _finish(workdir, config)
    return digest(config, data)


@contextlib.contextmanager
def derived(
    workdir: Path, config, data: dict[str, Any], *, adapted: dict[str, Any]
) -> Iterator[str]:
    """The workdir of a run that is adapted from another; only the end of the block makes it one.

    So the same command can be given again after an error: what was left is removed first.

    Args:
      workdir: new.
      config, data: of the other run.
      adapted: plain values: from which run, and how.

    Yields:
      The run's digest.
    """
    if _half_adapted(workdir):
        for left in ("checkpoints", "statistics"):  # perhaps of later steps than come now
            shutil.rmtree(workdir / left, ignore_errors=True)
        for left in ("normal.npz", "normal_windows.npz"):
            (workdir / left).unlink(missing_ok=True)
    data = {**data, "adapted": adapted}
    _describe(workdir, data)
    yield digest(config, data)
    _finish(workdir, config)


def _half_adapted(workdir: Path) -> bool:
    """Whether an adaptation into the workdir began and came to no end."""
    if (workdir / "config.json").exists():
        return False
    try:
        data = json.loads((workdir / "data.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "adapted" in data


def _describe(workdir: Path, data: dict[str, Any]) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    _write(workdir / "environment.json", json.dumps(environment(), indent=1))
    _write(workdir / "data.json", json.dumps(data, indent=1))


def _finish(workdir: Path, config) -> None:
    """Writes what makes the workdir a run's."""
    _write(workdir / "config.json", configs.to_json(config))


def digest(config, data: dict[str, Any]) -> str:
    """Of a run's config and data, as its checkpoints keep it; `data` as `read` returns it."""
    return configs.digest(config, data["identity"])


def read(workdir: Path) -> tuple[Any, dict[str, Any]]:
    """The completed config of a run and what data it saw.

    Raises:
      CheckpointError: this is no workdir of a run.
    """
    try:
        config = configs.from_json((workdir / "config.json").read_text())
        config = configs.complete(config)
        data = json.loads((workdir / "data.json").read_text())
        whole = {"identity", "training", "validation"} <= data.keys()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{workdir} holds no run ({Path(error.filename).name} is missing): give the folder "
            "that `vad_jax.train` wrote."
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{workdir}: damaged config.json or data.json ({error}).") from error
    if not whole:
        raise CheckpointError(f"{workdir}: damaged data.json, an entry is missing.")
    return config, data


def environment() -> dict[str, Any]:
    """Versions, machine, devices and the time of day: for people, never compared."""
    import jax

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_origin(folder: Path, position: dict[str, Any], digest: str) -> None:
    """Refuses a checkpoint that another run saved.

    Args:
      folder: where it lies.
      position: of the checkpoint.
      digest: of the run that takes it, as `claim` returns it.

    Raises:
      CheckpointError: it was saved under another config or on other data.
    """
    if position.get("digest") != digest:
        raise CheckpointError(
            f"{folder}: step {position.get('step')} was saved by a run of another config or other "
            "data than config.json and data.json beside it say. Put back this run's checkpoints, "
            "or train in another workdir."
        )


def _same_run(workdir: Path, config, data: dict[str, Any]) -> None:
    stored, seen = read(workdir)
    if "adapted" in seen:
        raise CheckpointError(
            f"{workdir} was adapted from {seen['adapted'].get('from')} and holds no training to go "
            "on with: give another --workdir, or evaluate and score this one."
        )
    differences = configs.difference(config, stored)
    differences = [line for line in differences if not _longer(line, config, stored)]
    if seen["identity"] != data["identity"]:
        differences.append("data: other videos, lengths or bytes than those of the run")
    if differences:
        raise CheckpointError(
            f"{workdir} holds a run of another config:\n  "
            + "\n  ".join(differences)
            + "\nGive another --workdir, or the config of that run."
        )


def _longer(line: str, ours, theirs) -> bool:
    """More epochs of a constant rate go on with the same run; a cosine would be another one."""
    key = line.split(":")[0].split(".")
    if key[0] != "stages" or key[-1] not in ("epochs", "steps"):
        return False
    now, then = ours.stages[key[1]], theirs.stages[key[1]]
    both = now[key[2]], then[key[2]]
    return now.schedule == "constant" and None not in both and both[0] > both[1]


def _write(path: Path, text: str) -> None:
    with files.whole(path) as file:
        file.write(text + "\n")
