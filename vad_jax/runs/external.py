"""Scores that something else made, evaluated: what `vad_jax.evaluate --scores` does."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax import evaluation, messages
from vad_jax.datasets import Dataset, open_dataset
from vad_jax.datasets.folder import shown
from vad_jax.runs.describing import command_line
from vad_jax.runs.locking import locked
from vad_jax.runs.observing import raw_controls
from vad_jax.runs.workdir import Workdir
from vad_jax.types import DataError


def evaluate_scores(
    scores: str | Path,
    output: str | Path,
    *,
    labels: str | Path | None = None,
    data: str = "folder",
    root: str | Path | None = None,
    lower_is_stranger: bool = False,
    normal_scores: str | Path | None = None,
    false_alarms_per_hour: float | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Evaluates scores that something else made, in any framework.

    Args:
      scores: see `evaluation.read_external`.
      output: gets `scores.npz`, `metrics.json` and `report.html`.
      labels: their file or folder; by default those found in `root`.
      data, root: the raw test videos, for names, labels and the controls that look at pixels;
        without them the controls are those of time and place alone.
      lower_is_stranger: the scores fall where it is strange.
      normal_scores: of normal videos that were not trained on, as `scores`; a threshold is
        calibrated on them.
      false_alarms_per_hour: of that threshold; by default 1, or the lowest rate that they reach.
      fps: frames a second of all videos, where the data do not say.

    Returns:
      The content of `metrics.json`.

    Raises:
      VadError: scores, labels or videos that cannot be read or do not fit each other.
    """
    messages.speak()
    began, files = time.perf_counter(), Workdir(Path(output))
    dataset = None if root is None else open_dataset(data, root, labels=labels, fps=fps)
    names = None if dataset is None else [source.name for source in dataset.testing]
    found = evaluation.read_external(
        scores,
        labels or (dataset and dataset.labels),
        names=names,
        lower_is_stranger=lower_is_stranger,
        fps=fps or (dataset and dataset.fps),
        times=dataset and dataset.times,
    )
    rate = fps or found.meta.get("fps") or (dataset and dataset.fps)
    about = {"fps": rate}
    if dataset and dataset.scenes:
        about["scenes"] = [dataset.scenes[name] for name in found.names]
    found = replace(found, meta=found.meta | about)
    normal = None
    if normal_scores is not None:
        videos = evaluation.read_normal(normal_scores, lower_is_stranger=lower_is_stranger)
        normal = evaluation.Normal(videos, "held-out")
    given = {
        "scores": scores,
        "output": output,
        "labels": labels,
        "root": root,
        "data": root and data,
        "lower_is_stranger": lower_is_stranger,
        "normal_scores": normal_scores,
        "false_alarms_per_hour": false_alarms_per_hour,
        "fps": fps,
    }
    with locked(files.folder, "--output"):
        if dataset is not None:
            found = replace(found, controls=_controls(found, dataset))
        evaluation.write_scores(files.scores, found)
        evaluation.write_controls(files.controls, found)
        metrics = evaluation.summarise(
            found,
            normal=normal,
            rate_per_hour=false_alarms_per_hour,
            run={
                "command": command_line("evaluate", given),
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - began, 1),
            },
        )
        metrics["data"]["left_out"] = []
        evaluation.write_metrics(files.metrics, metrics)
        report = evaluation.render(files.folder)
    print(evaluation.table(metrics))
    print(f"Report: {report}")
    return metrics


def _controls(found: evaluation.Scored, dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """The controls of the raw frames, which must be those that were scored."""
    if not dataset.testing:
        raise DataError(f"{dataset.root} has no test videos: expected them in a folder `testing`.")
    names = tuple(source.name for source in dataset.testing)
    if names != found.names:
        raise DataError(
            f"{dataset.root} has the test videos {shown(names)}, but the scores are of "
            f"{shown(found.names)}. Both hold the same videos in the same order."
        )
    seen = raw_controls(dataset)
    for name, frames, labels in zip(names, seen["constant"], found.labels, strict=True):
        if len(frames) != len(labels):
            raise DataError(
                f"{name} has {len(frames)} frames in {dataset.root} but {len(labels)} scores. "
                "Scores count every frame of the raw video; a frame without one is NaN."
            )
    return seen
