"""Evaluates a trained run on its labelled test videos.

    python -m vad_jax.evaluate --workdir=runs/quickstart [--root=FOLDER] [--labels=FILE]
    python -m vad_jax.evaluate --workdir=runs/a,runs/b,runs/c

Writes `scores.npz`, `metrics.json`, `report.html` and `pictures/` into the workdir and prints the
table. Several workdirs are compared in one table, made from their `metrics.json`; only those that
have none yet are evaluated.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from vad_jax import cli

log = logging.getLogger("vad_jax.evaluate")  # __name__ is `__main__` in a command


def evaluate(
    workdir: str | Path, *, root: str | Path | None = None, labels: str | Path | None = None
) -> dict[str, Any]:
    """Scores the test videos, computes every metric under both protocols, writes the report.

    Args:
      workdir: of a finished run.
      root: the raw data, where it lies elsewhere than the run's config says.
      labels: a label file or folder instead of the one found beside the videos.

    Returns:
      The content of `metrics.json`.

    Raises:
      VadError: no finished run, no test videos, no labels, labels that do not fit.
    """
    import vad_jax
    from vad_jax.learning.workdir import locked

    workdir = Path(workdir)
    detector = vad_jax.load(workdir)
    with locked(workdir):
        return _evaluate(detector, workdir, root, labels)


def _evaluate(detector, workdir, root, labels) -> dict[str, Any]:
    from vad_jax import evaluation, pictures
    from vad_jax.data import splits
    from vad_jax.data.frames import identity
    from vad_jax.learning.workdir import environment
    from vad_jax.scoring import score_videos
    from vad_jax.types import DataError

    began = time.perf_counter()
    config = detector.config
    settings = config.data.copy_and_resolve_references()
    settings.root, settings.labels = str(root or settings.root), labels and str(labels)
    settings.labels = settings.labels or config.data.labels
    if not Path(settings.root).expanduser().exists():
        raise DataError(f"{settings.root} does not exist: say where the data are with --root.")
    dataset = splits.find(settings)
    if not dataset.testing:
        raise DataError(f"{dataset.root} has no test videos: expected them in a folder `testing`.")
    if dataset.labels is None:
        raise DataError(
            f"No labels were found in {dataset.root}. Name a file or folder with --labels; "
            "without labels there is nothing to evaluate."
        )
    videos = splits.testing(dataset, settings, detector.method.inputs)
    lengths = _lengths(dataset, videos)
    fps = dict.fromkeys(lengths, dataset.fps) if dataset.fps else None
    truth = evaluation.read_labels(dataset.labels, lengths, fps=fps)
    with tqdm(total=sum(map(len, videos)), desc="scoring", unit="frame", disable=None) as bar:
        windows = list(
            score_videos(detector.method, detector.variables, videos, progress=bar.update)
        )
    left_out = _left_out(windows, videos, dataset, detector.method.inputs)
    scored = _scored(detector, windows, truth, dataset, identity(videos))
    evaluation.write_scores(workdir / "scores.npz", scored)
    sources = {source.name: source for source in dataset.testing}
    about = environment()
    metrics = evaluation.summarise(
        scored,
        (_grey(sources[video.name]) for video in videos),
        mean_frame=_mean_frame(dataset.training, videos[0].source_size),
        fusion=detector.method.fusion,
        run={
            "config": json.loads(config.to_json_best_effort()),
            "checkpoint": {"step": detector.about["step"], "chosen": "last"},
            "environment": about,
            "command": _command(workdir, root, labels),
            "seconds": round(time.perf_counter() - began, 1),
        },
    )
    metrics["data"]["left_out"] = left_out
    evaluation.write_metrics(workdir / "metrics.json", metrics)
    pictures.draw(detector, videos, scored, workdir / "pictures")
    report = evaluation.render(workdir)
    print(evaluation.table(metrics))
    print(f"Report: {report}\nPictures: {workdir / 'pictures'}")
    for line in left_out:
        log.warning("Left out: %s", line)
    return metrics


def _command(workdir, root, labels) -> str:
    """What makes this evaluation again."""
    given = {"workdir": workdir, "root": root, "labels": labels}
    flags_given = " ".join(f"--{name}={value}" for name, value in given.items() if value)
    return f"python -m vad_jax.evaluate {flags_given}"


def _lengths(dataset, videos) -> dict[str, int]:
    """Frames of every test video in order, unreadable ones too: labels count them."""
    from vad_jax.types import DataError

    read = {video.name: len(video) for video in videos}
    lengths = {}
    for source in dataset.testing:
        if source.name not in read and source.images is None:
            raise DataError(
                f"{source.file} cannot be read, so its frames cannot be counted and the labels "
                "cannot be laid beside the videos. Take it and its labels out of the test set."
            )
        lengths[source.name] = read.get(source.name) or len(source.images)
    return lengths


def _left_out(windows, videos, dataset, spec) -> list[str]:
    """What has no score and why, one line each; an error if nothing has one."""
    from vad_jax.types import DataError

    lines = [
        f"{scores.name} ({scores.length} frames)" for scores in windows if not len(scores.first)
    ]
    needs = f"a window needs {spec.span} whole frames"
    if len(lines) == len(windows):
        raise DataError(f"No test video has a score, {needs}: {', '.join(lines)}.")
    lines = [f"{line}: no score, {needs}" for line in lines]
    lines += [
        f"{video.name}: {len(video.broken)} frames cannot be read, first {video.broken[0]}"
        for video in videos
        if video.broken
    ]
    read = {video.name for video in videos}
    lines += [f"{s.name}: cannot be read" for s in dataset.testing if s.name not in read]
    return lines


def _scored(detector, windows, truth, dataset, data_hash):
    """The frames' parts, labels and scores under both protocols, as `scores.npz` holds them."""
    from vad_jax import evaluation

    fusion = detector.method.fusion
    per_video = [detector.frame_parts(video) for video in windows]
    names = sorted({name for parts in per_video for name in parts})
    parts = {
        name: [
            video.get(name, np.full(windows[i].length, np.nan)) for i, video in enumerate(per_video)
        ]
        for name in names
    }
    scores, further = {}, {}
    for protocol in ("paper", "online"):
        for variant in ("raw", "smoothed"):
            for result in evaluation.results(fusion, protocol):
                value = evaluation.fuse(
                    fusion,
                    parts,
                    detector.statistics,
                    protocol,
                    result=result,
                    smoothed=variant == "smoothed",
                )
                if result == fusion.default:
                    scores[f"{protocol}_{variant}"] = value
                else:
                    further[f"{result}_{protocol}_{variant}"] = value
    turned = {operation[1] for operation in fusion.paper if operation[0] == "negate"}
    return evaluation.Scored(
        names=tuple(video.name for video in windows),
        labels=[truth.values[video.name].astype(np.int8) for video in windows],
        scores=scores,
        parts=parts,
        signs={name: -1 if name in turned else 1 for name in parts},
        results=further,
        meta={
            "method": detector.config.method,
            "config_hash": detector.about["digest"],
            "checkpoint_step": detector.about["step"],
            "data_hash": data_hash,
            "training_data_hash": detector.about["data"]["identity"],
            "label_source": Path(truth.source).name,
            "label_hash": truth.digest,
            "data": dataset.name,
            "fps": dataset.fps,
            "seed": detector.config.seed,
        },
    )


def _grey(source) -> Iterator[np.ndarray]:
    """The raw frames of a video as `[H, W]` grey bytes; a bad one repeats the one before it."""
    from vad_jax.data.decoder import Decoded
    from vad_jax.types import DataError

    last, missing = None, 0
    for picture in Decoded(source, colour="grey"):
        if isinstance(picture, DataError):
            missing += 1
            frames = [] if last is None else [last]
        else:
            frame = picture.pixels[..., 0]
            frames = [frame] * (1 + (missing if last is None else 0))
            last = frame
        yield from frames


def _mean_frame(sources, size: tuple[int, int]) -> np.ndarray | None:
    """The mean of all training frames, float64 `[H, W]`; None where their size is another."""
    from vad_jax.types import DataError

    total, number = 0, 0
    for source in tqdm(sources, desc="mean frame", unit="video", disable=None, leave=False):
        try:
            for frame in _grey(source):
                if frame.shape != size:
                    log.warning("Training frames have another size: no control `distance to mean`.")
                    return None
                total, number = total + frame.astype(np.float64), number + 1
        except DataError as error:  # training left the video out, too
            log.warning("Not in the mean frame: %s", error)
    return total / number if number else None


def outcome(metrics: dict[str, Any] | None) -> cli.Outcome:
    """The metrics as a command's result: exit code 3 where something was left out."""
    partly = metrics is not None and bool(metrics["data"]["left_out"])
    return cli.Outcome(metrics, exit_code=3 if partly else 0)


def compare(workdirs: Sequence[str | Path], **options: Any) -> dict[str, Any]:
    """Prints one table of several runs; evaluates those that have no `metrics.json`.

    Args:
      workdirs: of finished runs.
      options: for `evaluate`.

    Returns:
      Name of a run (its folder's) → the content of its `metrics.json`.

    Raises:
      VadError: two runs of one name, or as `evaluate`.
    """
    from vad_jax import evaluation
    from vad_jax.types import ConfigError

    found = {}
    for workdir in map(Path, workdirs):
        name = workdir.resolve().name
        if name in found:
            raise ConfigError(f"Two workdirs are called {name}: rename one, tables name runs so.")
        if not (workdir / "metrics.json").exists():
            evaluate(workdir, **options)
        found[name] = evaluation.read_metrics(workdir / "metrics.json")
    print(evaluation.comparison(found))
    return found


def main() -> cli.Outcome:
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    if not given.workdir:
        raise ConfigError("Give the run's folder: --workdir=runs/NAME.")
    options = {"root": given.root, "labels": given.labels}
    if len(given.workdir) > 1:
        return cli.Outcome(compare(given.workdir, **options))
    return outcome(evaluate(given.workdir[0], **options))


if __name__ == "__main__":
    flags.DEFINE_list("workdir", None, "Folder of a finished run, or several with commas.")
    flags.DEFINE_string("root", None, "The raw data, where it lies elsewhere than in training.")
    flags.DEFINE_string("labels", None, "Label file or folder instead of the one found.")
    cli.run(main)
