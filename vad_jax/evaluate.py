"""Evaluates a trained run on its labelled test videos.

    python -m vad_jax.evaluate --workdir=runs/quickstart [--root=FOLDER] [--labels=FILE]
        [--false_alarms_per_hour=R]
    python -m vad_jax.evaluate --workdir=runs/a,runs/b,runs/c        (or --workdir once for each)
    python -m vad_jax.evaluate --workdir=runs/a,runs/b --shots=0,1,5,10 [--support=first|normal]
    python -m vad_jax.evaluate --scores=FILE.npz --labels=FILE [--root=FOLDER --data=NAME]

Writes `scores.npz`, `metrics.json`, `report.html` and `pictures/` into the workdir and prints the
table. Several workdirs are compared in one table, made from their `metrics.json`; only those that
have none yet are evaluated. Scores from anywhere: see `evaluation.read_foreign`.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from tqdm import tqdm

from vad_jax import cli

if TYPE_CHECKING:
    from vad_jax.data.frames import Frames
    from vad_jax.datasets import Dataset
    from vad_jax.detector import Detector
    from vad_jax.evaluation.truth.labels import Labels

log = logging.getLogger("vad_jax.evaluate")  # __name__ is `__main__` in a command


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
    import vad_jax
    from vad_jax.runs.workdir import locked

    workdir = Path(workdir)
    detector = vad_jax.load(workdir)
    with locked(workdir):
        given = {"root": root, "labels": labels, "all_frames": all_frames}
        given |= {"false_alarms_per_hour": false_alarms_per_hour, "fps": fps}
        return _evaluate(detector, workdir, given)


def _evaluate(detector, workdir, given) -> dict[str, Any]:
    from vad_jax import evaluation, pictures
    from vad_jax.data.frames import identity
    from vad_jax.data.grey import grey_frames, mean_grey
    from vad_jax.datasets import splits
    from vad_jax.runs.maps import Maps, located_in
    from vad_jax.runs.workdir import environment
    from vad_jax.scoring import score_videos

    began = time.perf_counter()
    dataset, videos, truth = labelled(
        detector, root=given["root"], labels=given["labels"], fps=given["fps"]
    )
    config = detector.config
    with tempfile.TemporaryDirectory(prefix="vad_jax-maps-") as folder:
        maps = Maps(Path(folder), detector.method.inputs) if dataset.masks else None
        with tqdm(total=sum(map(len, videos)), desc="scoring", unit="frame", disable=None) as bar:
            windows = [
                maps.keep(found) if maps else found
                for found in score_videos(
                    detector.method,
                    detector.variables,
                    videos,
                    maps=maps is not None,
                    progress=bar.update,
                )
            ]
        located, detections = located_in(maps, videos, dataset, detector.map_99)
    left_out = _left_out(windows, videos, dataset, detector.method.inputs)
    scored = _scored(detector, windows, truth, dataset, identity(videos), given["all_frames"])
    sources = {source.name: source for source in dataset.testing}
    controls = evaluation.controls(
        (grey_frames(sources[video.name]) for video in videos),
        mean_grey(
            dataset.training,
            videos[0].source_size,
            left_out=splits.excluded(dataset, config.data),
        ),
    )
    scored = replace(scored, detections=detections, controls=controls)
    evaluation.write_scores(workdir / "scores.npz", scored)
    evaluation.write_controls(workdir / "controls.npz", scored)
    about = environment()
    metrics = evaluation.summarise(
        scored,
        fusion=detector.method.fusion,
        located=located,
        normal=_normal_scores(detector, workdir),
        rate_per_hour=given["false_alarms_per_hour"],
        run={
            "config": json.loads(config.to_json_best_effort()),
            "checkpoint": {"step": detector.about["step"], "chosen": "last"},
            "environment": about,
            "command": cli.command_line("evaluate", {"workdir": workdir, **given}),
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


def labelled(
    detector: Detector,
    *,
    root: str | Path | None = None,
    labels: str | Path | None = None,
    fps: float | None = None,
) -> tuple[Dataset, list[Frames], Labels]:
    """The test set of a run: its raw data, the decoded videos, the labels (`evaluation.Labels`).

    Arguments as `evaluate`'s.

    Raises:
      VadError: no data, no test videos, no labels, labels that do not fit.
    """
    from vad_jax import evaluation
    from vad_jax.datasets import splits
    from vad_jax.types import DataError

    settings = detector.config.data.copy_and_resolve_references()
    settings.root = str(root or settings.root)
    settings.labels = str(labels) if labels else settings.labels
    if not Path(settings.root).expanduser().exists():
        raise DataError(f"{settings.root} does not exist: say where the data are with --root.")
    dataset = splits.find(settings)
    dataset = replace(dataset, fps=fps or dataset.fps)
    if not dataset.testing:
        raise DataError(f"{dataset.root} has no test videos: expected them in a folder `testing`.")
    if dataset.labels is None:
        raise DataError(
            f"No labels were found in {dataset.root}. Name a file or folder with --labels; "
            "without labels there is nothing to evaluate."
        )
    videos = splits.testing(dataset, settings, detector.method.inputs)
    lengths = _lengths(dataset, videos)
    rates = dict.fromkeys(lengths, dataset.fps) if dataset.fps else None
    return dataset, videos, evaluation.read_labels(dataset.labels, lengths, fps=rates)


def _normal_scores(detector, workdir: str | Path):
    """The `online` scores of the run's normal videos (`evaluation.Normal`), unsmoothed.

    None for a run of a version that kept none; its training command, given again, makes them
    without training anew.
    """
    from vad_jax import evaluation
    from vad_jax.learning import statistics

    found = statistics.read_windows(Path(workdir) / "normal_windows.npz")
    if found is None:
        log.warning(
            "%s keeps no scores of normal videos, so no threshold is calibrated: give its "
            "training command again, they are made without training anew.", workdir,
        )  # fmt: skip
        return None
    windows, source = found
    scores = [detector.fused(video, smoothed=False) for video in windows]
    return evaluation.Normal(scores, source)


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


def _scored(detector, windows, truth, dataset, data_hash, all_frames):
    """The frames' parts, labels and scores under both protocols, as `scores.npz` holds them."""
    from vad_jax import config as configs
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
                value = [evaluation.backwards(video) for video in value] if all_frames else value
                if result == fusion.default:
                    scores[f"{protocol}_{variant}"] = value
                else:
                    further[f"{result}_{protocol}_{variant}"] = value
    adapted = "adapted" in detector.about["data"]
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
            # an adapted run is no repetition of the run that it comes from
            "recipe_hash": None if adapted else configs.recipe(detector.config),
            "checkpoint_step": detector.about["step"],
            "data_hash": data_hash,
            "training_data_hash": detector.about["data"]["identity"],
            "label_source": Path(truth.source).name,
            "label_hash": truth.digest,
            "data": dataset.name,
            "all_frames": all_frames,
            "fps": dataset.fps,
            "seed": detector.config.seed,
        },
    )


def outcome(metrics: dict[str, Any] | None) -> cli.Outcome:
    """The metrics as a command's result: exit code 3 where something was left out."""
    partly = metrics is not None and bool(metrics["data"]["left_out"])
    return cli.Outcome(metrics, exit_code=3 if partly else 0)


_OPTIONS = {  # what is evaluated → the options that have an effect on it
    "workdir": ("root", "labels", "all_frames", "false_alarms_per_hour", "fps"),
    "shots": ("support", "steps", "learning_rate", "data", "root", "labels"),
    "scores": (
        "labels",
        "root",
        "data",
        "lower_is_stranger",
        "normal_scores",
        "false_alarms_per_hour",
        "fps",
        "output",
    ),
}


def main() -> cli.Outcome:
    from vad_jax.runs.comparing import compare
    from vad_jax.runs.external import evaluate_scores
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    workdirs = [folder for text in given.workdir or () for folder in text.split(",") if folder]
    if workdirs and given.scores:
        raise ConfigError("Give --workdir or --scores, not both; --output says where files go.")
    if not workdirs and not given.scores:
        raise ConfigError("Give the run's folder, --workdir=runs/NAME, or --scores=FILE.npz.")
    kind = "scores" if given.scores else "shots" if given.shots else "workdir"
    _check_options(given, kind)
    options = {name: getattr(given, name) for name in _OPTIONS[kind]}
    if kind == "scores":
        options["output"] = options["output"] or Path(given.scores).with_suffix("")
        options["data"] = options["data"] or "folder"
        return outcome(evaluate_scores(given.scores, **options))
    if kind == "shots":
        from vad_jax.runs.few_shot import evaluate_shots

        found = evaluate_shots(workdirs, _numbers(given.shots), **options)
        partly = any(run["left_out"] for run in found.values())
        return cli.Outcome(found, exit_code=3 if partly else 0)
    if len(workdirs) > 1:
        found = compare(workdirs, **options)
        partly = any(metrics["data"]["left_out"] for metrics in found.values())
        return cli.Outcome(found, exit_code=3 if partly else 0)
    return outcome(evaluate(workdirs[0], **options))


def _check_options(given: Any, kind: str) -> None:
    """Raises ConfigError for an option that would have no effect."""
    from vad_jax.types import ConfigError

    known = {name for names in _OPTIONS.values() for name in (*names, "shots")}
    for name in sorted(known - {*_OPTIONS[kind], kind}):
        if given[name].present:
            takes = [f"--{other}" for other, names in _OPTIONS.items() if name in names]
            raise ConfigError(
                f"--{name} has no effect with --{kind}: leave it out"
                + (f", or give it with {' or '.join(takes)}." if takes else ".")
            )
    if kind == "scores" and given.data and not given.root:
        raise ConfigError("--data says what lies in --root: give both, or neither.")


def _numbers(shots: Sequence[str]) -> list[int]:
    from vad_jax.types import ConfigError

    try:
        return [int(number) for number in shots]
    except ValueError:
        raise ConfigError(f"--shots={','.join(shots)}: give whole numbers, 0,1,5,10.") from None


if __name__ == "__main__":
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "Folder of a finished run; several with commas, or the flag again for each.",
    )
    flags.DEFINE_string("root", None, "The raw data, where it lies elsewhere than in training.")
    flags.DEFINE_string("labels", None, "Label file or folder instead of the one found.")
    flags.DEFINE_bool(
        "all_frames", False, "Give the frames before a video's first score that score, as some do."
    )
    flags.DEFINE_float(
        "false_alarms_per_hour",
        None,
        "The rate for which a threshold is calibrated on normal videos; default 1, or the lowest "
        "that they are long enough for.",
        lower_bound=1e-9,
    )
    flags.DEFINE_float("fps", None, "Frames a second, where the data do not say.", 1e-9)
    flags.DEFINE_string("scores", None, "Scores from elsewhere (.npz) instead of a run.")
    flags.DEFINE_string("output", None, "With --scores: where the files go; default beside it.")
    flags.DEFINE_string(
        "normal_scores",
        None,
        "With --scores: scores of normal videos that were not trained on, in the same form.",
    )
    flags.DEFINE_string(
        "data", None, "With --root: which data set lies there; for --scores and --shots."
    )
    flags.DEFINE_list(
        "shots", None, "Adapt to each test video on so many of its windows: 0,1,5,10."
    )
    flags.DEFINE_enum(
        "support",
        "first",
        ["first", "normal"],
        "With --shots: a video's first windows, or its first of normal frames (an oracle).",
    )
    flags.DEFINE_integer("steps", None, "With --shots: gradient steps; default adapt.steps.", 0)
    flags.DEFINE_float(
        "learning_rate", None, "With --shots: fine-tune at this rate, without step sizes.", 0.0
    )
    flags.DEFINE_bool("lower_is_stranger", False, "With --scores: they fall where it is strange.")
    cli.run(main)
