"""A run judged on its labelled test videos: what `vad_jax.evaluate --workdir` does."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vad_jax import evaluation, messages, pictures
from vad_jax.data.frames import Frames, identity
from vad_jax.datasets import Dataset
from vad_jax.detector import Detector
from vad_jax.runs import normal
from vad_jax.runs.describing import command_line, environment
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.maps import Maps, located_in
from vad_jax.runs.observing import mean_frame, observed_controls
from vad_jax.runs.scores import scored
from vad_jax.runs.testset import open_testset
from vad_jax.runs.workdir import Workdir
from vad_jax.scoring import score_videos
from vad_jax.spelling import counted
from vad_jax.types import DataError, InputSpec, VideoScores

log = logging.getLogger(__name__)


def evaluate(
    workdir: str | Path,
    *,
    root: str | Path | None = None,
    labels: str | Path | None = None,
    all_frames: bool = False,
    false_alarms_per_hour: float | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Scores the test videos, computes every metric under both protocols, writes the report.

    Args:
      workdir: of a finished run.
      root: the raw data, where it lies elsewhere than the run's config says.
      labels: a label file or folder instead of the one found beside the videos.
      all_frames: give the frames before a video's first score that score, as some publications do.
      false_alarms_per_hour: for which a threshold is calibrated on the run's normal videos; by
        default 1, or the lowest rate that they are long enough for.
      fps: frames a second of all videos, where the data do not say.

    Returns:
      The content of `metrics.json`.

    Raises:
      VadError: no finished run, no test videos, no labels, labels that do not fit.
    """
    detector, files = load(workdir), Workdir(Path(workdir))
    given = {"root": root, "labels": labels, "all_frames": all_frames}
    given |= {"false_alarms_per_hour": false_alarms_per_hour, "fps": fps}
    with locked(files.folder):
        return _evaluate(detector, files, given)


def _evaluate(detector: Detector, files: Workdir, given: dict[str, Any]) -> dict[str, Any]:
    began, spec = time.perf_counter(), detector.method.inputs
    tests = open_testset(
        detector.config, root=given["root"], labels=given["labels"], fps=given["fps"]
    )
    controls = evaluation.PixelControls(mean_frame(tests.dataset, tests.settings, spec))
    videos = tests.videos(detector, observers=(controls,))
    truth = tests.labels(videos)
    with tempfile.TemporaryDirectory(prefix="vad_jax-maps-") as folder:
        maps = Maps(Path(folder), spec) if tests.dataset.masks else None
        with messages.progress(total=sum(map(len, videos)), desc="scoring", unit="frame") as bar:
            rows = list(
                score_videos(
                    detector.method, detector.variables, videos, each=maps, progress=bar.update
                )
            )
        located, detections = located_in(maps, videos, tests.dataset, detector.map_99)
    missing = _left_out(rows, videos, tests.dataset, spec)
    found = scored(
        detector,
        rows,
        truth,
        all_frames=given["all_frames"],
        about={
            "data": tests.dataset.name,
            "data_hash": identity(videos),
            "fps": tests.dataset.fps,
            "scenes": _scenes(rows, tests.dataset),
        },
        detections=detections,
        controls=observed_controls(videos, controls),
    )
    evaluation.write_scores(files.scores, found)
    evaluation.write_controls(files.controls, found)
    about = environment()
    metrics = evaluation.summarise(
        found,
        fusion=detector.method.fusion,
        located=located,
        normal=_normal_scores(detector, files),
        rate_per_hour=given["false_alarms_per_hour"],
        run={
            "config": json.loads(detector.config.to_json_best_effort()),
            "checkpoint": {"step": detector.about["step"], "chosen": "last"},
            "environment": about,
            "command": command_line("evaluate", {"workdir": files, **given}),
            "seconds": round(time.perf_counter() - began, 1),
        },
    )
    metrics["data"]["left_out"] = missing
    evaluation.write_metrics(files.metrics, metrics)
    pictures.draw(detector, videos, found, files.pictures)
    report = evaluation.render(files.folder)
    print(evaluation.table(metrics))
    print(f"Report: {report}\nPictures: {files.pictures}")
    for line in missing:
        log.warning("Left out: %s", line)
    return metrics


def _scenes(rows: Sequence[VideoScores], dataset: Dataset) -> list[str] | None:
    """The scene of each test video, where several show one."""
    return [dataset.scenes[found.name] for found in rows] if dataset.scenes else None


def left_out(metrics: dict[str, Any] | None) -> list[str]:
    """What an evaluation had to leave out, a line each."""
    return metrics["data"]["left_out"] if metrics else []


def _normal_scores(detector: Detector, files: Workdir) -> evaluation.Normal | None:
    """The `online` scores of the run's normal videos, unsmoothed.

    None for a run of a version that kept none; its training command, given again, makes them
    without training anew.
    """
    found = normal.scores(detector, files)
    if found is None:
        log.warning(
            "%s keeps no scores of normal videos, so no threshold is calibrated: give its "
            "training command again, they are made without training anew.", files,
        )  # fmt: skip
    return found


def _left_out(
    rows: Sequence[VideoScores], videos: Sequence[Frames], dataset: Dataset, spec: InputSpec
) -> list[str]:
    """What has no score and why, one line each; an error if nothing has one."""
    lines = [
        f"{found.name} ({counted(found.length, 'frame')})" for found in rows if not len(found.first)
    ]
    needs = f"a window needs {counted(spec.span, 'whole frame')}"
    if len(lines) == len(rows):
        raise DataError(f"No test video has a score, {needs}: {', '.join(lines)}.")
    lines = [f"{line}: no score, {needs}" for line in lines]
    lines += [
        f"{video.name}: {counted(len(video.broken), 'frame')} cannot be read, first "
        f"{video.broken[0]}"
        for video in videos
        if video.broken
    ]
    read = {video.name for video in videos}
    lines += [f"{s.name}: cannot be read" for s in dataset.testing if s.name not in read]
    return lines
