"""K-shot evaluation: what `vad_jax.evaluate --shots=0,1,5,10` does.

Letters: V videos, K shots.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vad_jax import atomic, evaluation, messages
from vad_jax.data.frames import Frames
from vad_jax.data.supports import Shots, choose
from vad_jax.detector import Detector
from vad_jax.evaluation import Scored
from vad_jax.evaluation.score_files import PROTOCOLS, VARIANTS, plain
from vad_jax.learning.adaptation import TOGETHER, adapted, support_batch
from vad_jax.learning.step_search import Plan, check_rate, check_steps, plan
from vad_jax.runs.describing import environment
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.testset import open_testset
from vad_jax.runs.workdir import Workdir
from vad_jax.scoring import score_videos
from vad_jax.types import ConfigError, DataError, Variables, VideoScores

log = logging.getLogger(__name__)


def evaluate_shots(
    workdirs: Sequence[str | Path],
    shots: Sequence[int],
    *,
    support: Literal["first", "normal"] = "first",
    steps: int | None = None,
    learning_rate: float | None = None,
    data: str | None = None,
    root: str | Path | None = None,
    labels: str | Path | None = None,
) -> dict[str, Any]:
    """Adapts runs to each test video and scores the rest of it: K-shot evaluation.

    Args:
      workdirs: of finished runs; differences are from the first.
      shots: numbers of windows that are adapted on; 0 is no adaptation.
      support: the `first` windows of each video, or its first ones of `normal` frames, an oracle.
      steps: of gradient; by default each run's `adapt.steps`.
      learning_rate: fine-tune at this rate instead of by learned step sizes.
      data: another data set than the run's (`data.name`), with `root`.
      root, labels: as in `evaluate`.

    Returns:
      Run → what its `shots_SUPPORT.json` holds: figures for each K (`figures`), losses,
      options and `left_out`; beside it `shots_SUPPORT_K.npz` holds the scores. With `data` its
      name stands before SUPPORT.

    Raises:
      VadError: as `evaluate`, or no video has enough windows.
    """
    if not shots or min(shots) < 0 or max(shots) < 1 or len(set(shots)) < len(shots):
        raise ConfigError(f"--shots={','.join(map(str, shots))}: different numbers, one above 0.")
    check_steps(steps)
    check_rate(learning_rate)
    found, results = {}, {}
    tag = "_".join(filter(None, (data, support)))
    for workdir in workdirs:
        files = Workdir(Path(workdir))
        name = files.folder.resolve().name
        if name in found:
            raise ConfigError(f"Two workdirs are called {name}: rename one, tables name runs so.")
        detector = load(files.folder)
        if data:
            detector.config.data.name = data
        tests = open_testset(detector.config, root=root, labels=labels)
        videos = tests.videos(detector)
        truth = tests.labels(videos)
        log.info(
            "%s: adapts to each video on its %s windows; each K compiles first, up to a minute "
            "or two.", name,
            "first" if support == "first" else "first normal",
        )  # fmt: skip
        total = sum(map(len, videos)) * len(shots)
        with messages.progress(total=total, desc=f"{name}, K-shot", unit="frame") as bar:
            own = few_shot(
                detector,
                videos,
                truth.values,
                shots,
                support=support,
                steps=steps,
                learning_rate=learning_rate,
                scenes=tests.dataset.scenes,
                progress=bar.update,
            )
        results[name] = {
            "shots": evaluation.few_shot_figures(own.scored, scenes=own.scenes),
            "losses": {str(k): [v.tolist() for v in rows] for k, rows in own.losses.items()},
            "plans": {str(k): [p._asdict() for p in rows] for k, rows in own.plans.items()},
            "options": {
                "support": support,
                "steps": steps,
                "learning_rate": learning_rate,
                "data": tests.dataset.name,
                "seed": detector.config.seed,
                "intervals_over": "scenes" if own.scenes else "videos",
            },
            "left_out": own.left_out,
            "environment": environment(),
        }
        with locked(files.folder):
            for number, scored in own.scored.items():
                evaluation.write_scores(files.few_shot_scores(tag, number), scored)
            with atomic.whole(files.few_shot(tag)) as file:
                json.dump(plain(results[name]), file, indent=1)
        found[name] = own
        for line in own.left_out:
            log.warning("Left out: %s", line)
    if support == "normal":
        print("Supports are chosen by the labels (--support=normal): an oracle.")
    print(
        evaluation.few_shot_table(
            {name: own.scored for name, own in found.items()},
            {name: result["shots"] for name, result in results.items()},
            scenes=next(iter(found.values())).scenes,
        )
    )
    kept = files.few_shot(tag).name, files.few_shot_scores(tag, max(shots)).name
    print(f"Kept in each workdir: {kept[0]}, and the scores of each K like {kept[1]}")
    return results


class FewShot(NamedTuple):
    """What a detector scores after adaptation to each video.

    Attributes:
      scored: K → all videos; frames that some K adapts on, or whose window does, have no score.
      losses: K → of each video `[steps]`, on the support before each step.
      plans: K → of each video how it was adapted to, its steps and their rate; none for K = 0.
      left_out: a line for each video that has too few windows.
      scenes: of each video, `[V]`, if several show one; intervals are over scenes then.
    """

    scored: dict[int, Scored]
    losses: dict[int, list[np.ndarray]]
    plans: dict[int, list[Plan]]
    left_out: list[str]
    scenes: tuple[str, ...] | None = None


def few_shot(
    detector: Detector,
    videos: Sequence[Frames],
    labels: Mapping[str, np.ndarray],
    shots: Sequence[int],
    *,
    support: Literal["first", "normal"] = "first",
    steps: int | None = None,
    learning_rate: float | None = None,
    scenes: Mapping[str, str] | None = None,
    progress: Callable[[int], Any] = lambda frames: None,
) -> FewShot:
    """Adapts to each test video anew and scores the rest of it, for each number of shots.

    All K are scored on the same frames, those of windows that share no frame with the support of
    the largest K.

    Args:
      detector: what is adapted.
      videos: decoded test videos.
      labels: name → `[F]`, 1 = anomalous.
      shots: numbers of windows, 0 for no adaptation.
      support: a video's `first` windows, whatever they show, or its first windows of `normal`
        frames: an oracle, as the truth is looked at.
      steps: of gradient; None leaves them to `step_search.plan`, for each video its own.
      learning_rate: of plain gradient steps instead of the method's own rule.
      scenes: name → scene, where several videos show one (`Dataset.scenes`).
      progress: called with the frames of each video that is scored.

    Raises:
      DataError: no video has as many windows as are asked for and others to score.
    """
    method, most = detector.method, max(shots)
    how = {"steps": steps, "learning_rate": learning_rate}
    kept, left_out = _chosen(method.inputs, videos, labels, most, support)
    scored, losses, plans = {}, {}, {}
    for number in shots:
        windows, losses[number], plans[number] = [], [], []
        for video, own, variables, loss, taken in _ready(detector, kept, number, how):
            (whole,) = score_videos(method, variables, [video], anew=True)
            windows.append(_only(whole, own.query))
            losses[number].append(loss)
            plans[number] += [taken] if taken else []
            progress(len(video))
        scored[number] = _fused(detector, windows, labels)
    own_scenes = tuple(scenes[video.name] for video, _ in kept) if scenes else None
    if own_scenes and len(set(own_scenes)) == 1:
        own_scenes = None  # one scene drawn again and again is no spread: its videos are drawn
    return FewShot(scored, losses, plans, left_out, own_scenes)


def _chosen(spec, videos, labels, most, support):
    kept, left_out = [], []
    for video in videos:
        normal = np.asarray(labels[video.name]) == 0 if support == "normal" else None
        own = choose(spec, len(video), video.broken, most, normal=normal)
        if len(own.support) < most or not len(own.query):
            what = "windows of normal frames" if support == "normal" else "windows"
            left_out.append(
                f"{video.name}: {len(own.support)} {what} to adapt on, {len(own.query)} that share "
                f"no frame with them; {most} and at least one are needed"
            )
        else:
            kept.append((video, own))
    if not kept:
        raise DataError(
            "No test video can be adapted to and scored: " + "; ".join(left_out[:5]) + ". Ask for "
            "fewer shots."
        )
    return kept, left_out


def _ready(
    detector: Detector, kept: Sequence[tuple[Frames, Shots]], number: int, how: dict[str, Any]
) -> Iterator[tuple[Frames, Shots, Variables, np.ndarray, Plan | None]]:
    """Each video with the variables that score it, the losses on the way and how it was."""
    if not number:
        for video, own in kept:
            yield video, own, detector.variables, np.zeros(0), None
        return
    method, variables = detector.method, detector.variables
    for begin in range(0, len(kept), TOGETHER):  # few supports at a time in memory
        some = kept[begin : begin + TOGETHER]
        supports = [
            support_batch(method.inputs, video, own.support[:number]) for video, own in some
        ]
        plans = [plan(method, variables, each, detector.config, **how) for each in supports]
        moved = _adapted(method, variables, supports, plans)
        for (video, own), (own_variables, losses), taken in zip(some, moved, plans, strict=True):
            yield video, own, own_variables, losses, taken


def _adapted(method, variables, supports, plans):
    """As `adaptation.adapted`, each support by its plan; neighbours of one plan go together."""
    ways = [(one.steps, one.learning_rate) for one in plans]
    pairs = zip(ways, supports, strict=True)
    for (steps, rate), together in itertools.groupby(pairs, key=lambda pair: pair[0]):
        some = [support for _, support in together]
        yield from adapted(method, variables, some, steps=steps, learning_rate=rate)


def _only(windows: VideoScores, first: np.ndarray) -> VideoScores:
    """The windows that begin at the frames given."""
    chosen = np.isin(windows.first, first)
    parts = {name: part[chosen] for name, part in windows.parts.items()}
    boxes = None if windows.boxes is None else windows.boxes[chosen]
    kept = {"first": windows.first[chosen], "frame": windows.frame[chosen]}
    return windows._replace(parts=parts, boxes=boxes, **kept)


def _fused(detector, windows, labels) -> Scored:
    fusion, statistics = detector.method.fusion, detector.statistics
    scores = {
        f"{protocol}_{variant}": evaluation.fuse(
            fusion, windows, statistics, protocol, smoothed=variant == "smoothed"
        )
        for protocol in PROTOCOLS
        for variant in VARIANTS
    }
    return Scored(
        names=tuple(video.name for video in windows),
        labels=[np.asarray(labels[video.name], np.int8) for video in windows],
        scores=scores,
        meta={"method": detector.config.method, "config_hash": detector.about["digest"]},
    )
