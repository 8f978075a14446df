"""A run's folder: the names of its files, each in one place, and what makes the folder a run's."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad_jax import atomic
from vad_jax import config as configs
from vad_jax.data.frames import Frames, identity
from vad_jax.evaluation.score_files import (
    CONTROLS_FILE,
    METRICS_FILE,
    PICTURES_FOLDER,
    REPORT_FILE,
    SCORES_FILE,
)
from vad_jax.learning.checkpoint import MANIFESTS
from vad_jax.runs.describing import environment
from vad_jax.types import CheckpointError

VERSION = 1  # of a run's files; a newer release that writes others counts up


def _file(name: str) -> Any:
    """The property that is a file of a folder."""
    return property(lambda self: self.folder / name, doc=f"`{name}` of the run.")


@dataclass(frozen=True)
class Workdir:
    """The files of a run, or of scores from elsewhere, by their names.

    Attributes:
      folder: of the run.
    """

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    # What training writes.
    config = _file("config.json")
    data = _file("data.json")
    environment = _file("environment.json")
    log = _file("metrics.jsonl")
    normal = _file("normal.npz")
    normal_windows = _file("normal_windows.npz")
    # What evaluation writes.
    scores = _file(SCORES_FILE)
    controls = _file(CONTROLS_FILE)
    metrics = _file(METRICS_FILE)
    report = _file(REPORT_FILE)
    comparison = _file("comparison.html")
    pictures = _file(PICTURES_FOLDER)

    def checkpoints(self, stage: str) -> Path:
        """The folder of a stage's checkpoints."""
        return self.folder / "checkpoints" / stage

    def few_shot(self, tag: str) -> Path:
        """The figures of a K-shot evaluation."""
        return self.folder / f"shots_{tag}.json"

    def few_shot_scores(self, tag: str, shots: int) -> Path:
        """Its scores for one number of shots."""
        return self.folder / f"shots_{tag}_{shots}.npz"

    def begun(self) -> bool:
        """Whether it holds something of a run: a checkpoint, or what was made of one."""
        saved = self.checkpoints("*").relative_to(self.folder) / MANIFESTS
        made = (self.normal, self.scores, self.metrics)
        return any(self.folder.glob(str(saved))) or any(file.exists() for file in made)

    def forget_results(self) -> None:
        """Removes what was made of a run's variables, which are no more."""
        made = (self.normal, self.normal_windows, self.scores, self.controls, self.metrics)
        shots = [self.folder.glob(pattern) for pattern in ("shots_*.json", "shots_*.npz")]
        for file in (*made, self.report, self.comparison, *shots[0], *shots[1]):
            file.unlink(missing_ok=True)


def claim(
    workdir: Workdir, config, training: Sequence[Frames], validation: Sequence[Frames]
) -> str:
    """Makes the workdir of a run, or checks that it already is this run's; returns its digest.

    Its first checkpoint makes a workdir a run's: a start that came to none binds nobody.

    Raises:
      CheckpointError: it holds a run of another config or other data; the differences are named. Or
        what an adaptation that was interrupted left.
    """
    data = {
        "identity": identity([*training, *validation]),
        "training": {video.name: len(video) for video in training},
        "validation": {video.name: len(video) for video in validation},
    }
    if workdir.config.exists():
        stored, seen = read(workdir)
        if workdir.begun():
            _same_run(workdir, config, data, stored, seen)
        else:
            workdir.log.unlink(missing_ok=True)
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
    workdir: Workdir, config, data: dict[str, Any], *, adapted: dict[str, Any]
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
    if _half_adapted(workdir):  # perhaps of later steps than come now
        shutil.rmtree(workdir.checkpoints("").parent, ignore_errors=True)
        for left in (workdir.normal, workdir.normal_windows):
            left.unlink(missing_ok=True)
    data = {**data, "adapted": adapted}
    _describe(workdir, data)
    yield digest(config, data)
    _finish(workdir, config)


def _half_adapted(workdir: Workdir) -> bool:
    """Whether an adaptation into the workdir began and came to no end."""
    if workdir.config.exists():
        return False
    try:
        data = json.loads(workdir.data.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "adapted" in data


def _describe(workdir: Workdir, data: dict[str, Any]) -> None:
    workdir.folder.mkdir(parents=True, exist_ok=True)
    _write(workdir.environment, json.dumps(environment(), indent=1))
    _write(workdir.data, json.dumps({"version": VERSION, **data}, indent=1))


def _finish(workdir: Workdir, config) -> None:
    """Writes what makes the workdir a run's."""
    _write(workdir.config, configs.to_json(config))


def digest(config, data: dict[str, Any]) -> str:
    """Of a run's config and data, as its checkpoints keep it; `data` as `read` returns it."""
    return configs.digest(config, data["identity"])


def read(workdir: Workdir) -> tuple[Any, dict[str, Any]]:
    """The completed config of a run and what data it saw.

    Raises:
      CheckpointError: this is no workdir of a run, or one of a newer version.
    """
    try:
        text = workdir.config.read_text()
        data = json.loads(workdir.data.read_text())
        if (version := data.get("version", VERSION)) > VERSION:  # the first runs say none
            raise CheckpointError(
                f"{workdir} was written by a newer vad_jax (files of version {version}; this one "
                f"reads up to {VERSION}): update vad_jax, or train anew in another workdir."
            )
        config = configs.complete(configs.from_json(text))
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
    return config, {key: value for key, value in data.items() if key != "version"}


def _same_run(
    workdir: Workdir, config, data: dict[str, Any], stored: Any, seen: dict[str, Any]
) -> None:
    if "adapted" in seen:
        raise CheckpointError(
            f"{workdir} was adapted from {seen['adapted'].get('from')} and holds no training to go "
            "on with: give another --workdir, or evaluate and score this one."
        )
    differences = configs.difference(config, stored)
    differences = [line for line in differences if not _longer(line, config, stored)]
    if seen["identity"] != data["identity"]:
        differences.append("data: other videos, lengths or bytes than those of the run")
        taken, then = config.data.videos, stored.data.videos
        if taken != then:
            differences.append(
                f"data.videos: {taken!r} here, {then!r} there: --config.data.videos={then} takes "
                "the training videos of that run"
            )
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
    with atomic.whole(path) as file:
        file.write(text + "\n")
