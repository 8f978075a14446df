"""K-shot evaluation: what `vad_jax.evaluate --shots=0,1,5,10` does.

Letters: V videos, K shots.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

import vad_jax
from vad_jax import atomic as files
from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.data.supports import Shots, choose
from vad_jax.detector import Detector
from vad_jax.evaluate import labelled
from vad_jax.evaluation import Scored
from vad_jax.evaluation.bootstrap import common
from vad_jax.evaluation.score_files import plain
from vad_jax.evaluation.tables import figure_text
from vad_jax.runs.adaptation import TOGETHER, adapted, rule, support_batch, with_rate
from vad_jax.runs.workdir import environment, locked
from vad_jax.scoring import VideoScores, score_video
from vad_jax.types import ConfigError, DataError, Variables

log = logging.getLogger(__name__)

_FIGURES = ("auc_micro", "auc_macro")
_METRICS = {"auc_micro": evaluation.auc_micro, "auc_macro": evaluation.auc_macro}


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
    found, results = {}, {}
    tag = "_".join(filter(None, (data, support)))
    for workdir in map(Path, workdirs):
        name = workdir.resolve().name
        if name in found:
            raise ConfigError(f"Two workdirs are called {name}: rename one, tables name runs so.")
        detector = vad_jax.load(workdir)
        if data:
            detector.config.data.name = data
        if learning_rate is not None:
            detector = with_rate(detector, learning_rate)
        dataset, videos, truth = labelled(detector, root=root, labels=labels)
        total = sum(map(len, videos)) * len(shots)
        log.info(
            "%s: %d step(s) a video, %s, on its %s windows; each K compiles first, up to a minute "
            "or two.", name, detector.config.adapt.steps if steps is None else steps,
            rule(detector), "first" if support == "first" else "first normal",
        )  # fmt: skip
        with tqdm(total=total, desc=f"{name}, K-shot", unit="frame", disable=None) as bar:
            own = few_shot(
                detector,
                videos,
                truth.values,
                shots,
                support=support,
                steps=steps,
                scenes=dataset.scenes,
                progress=bar.update,
            )
        results[name] = {
            "shots": figures(own),
            "losses": {str(k): v.tolist() for k, v in own.losses.items()},
            "options": {
                "support": support,
                "steps": detector.config.adapt.steps if steps is None else steps,
                "learning_rate": learning_rate,
                "data": dataset.name,
                "seed": detector.config.seed,
                "intervals_over": "scenes" if own.scenes else "videos",
            },
            "left_out": own.left_out,
            "environment": environment(),
        }
        with locked(workdir):
            for number, scored in own.scored.items():
                evaluation.write_scores(workdir / f"shots_{tag}_{number}.npz", scored)
            with files.whole(workdir / f"shots_{tag}.json") as file:
                json.dump(plain(results[name]), file, indent=1)
        found[name] = own
        for line in own.left_out:
            log.warning("Left out: %s", line)
    if support == "normal":
        print("Supports are chosen by the labels (--support=normal): an oracle.")
    print(table(found))
    print(f"Kept in each workdir: shots_{tag}.json, shots_{tag}_K.npz")
    return results


class FewShot(NamedTuple):
    """What a detector scores after adaptation to each video.

    Attributes:
      scored: K → all videos; frames that some K adapts on, or whose window does, have no score.
      losses: K → `[V, steps]`, on the support before each step.
      left_out: a line for each video that has too few windows.
      scenes: of each video, `[V]`, if several show one; intervals are over scenes then.
    """

    scored: dict[int, Scored]
    losses: dict[int, np.ndarray]
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
      steps: of gradient; by default `config.adapt.steps`.
      scenes: name → scene, where several videos show one (`Dataset.scenes`).
      progress: called with the frames of each video that is scored.

    Raises:
      DataError: no video has as many windows as are asked for and others to score.
    """
    method, most = detector.method, max(shots)
    steps = detector.config.adapt.steps if steps is None else steps
    kept, left_out = _chosen(method.inputs, videos, labels, most, support)
    scored, losses = {}, {}
    for number in shots:
        windows, found = [], []
        for video, own, variables, loss in _ready(detector, kept, number, steps):
            whole = score_video(method, variables, video.stream(), name=video.name)
            windows.append(_only(whole, own.query))
            found.append(loss)
            progress(len(video))
        scored[number] = _fused(detector, windows, labels)
        losses[number] = np.array(found)
    own_scenes = tuple(scenes[video.name] for video, _ in kept) if scenes else None
    if own_scenes and len(set(own_scenes)) == 1:
        own_scenes = None  # one scene drawn again and again is no spread: its videos are drawn
    return FewShot(scored, losses, left_out, own_scenes)


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
    detector: Detector, kept: Sequence[tuple[Frames, Shots]], number: int, steps: int
) -> Iterator[tuple[Frames, Shots, Variables, np.ndarray]]:
    """Each video with the variables that score it."""
    if not number:
        for video, own in kept:
            yield video, own, detector.variables, np.zeros(0)
        return
    method, variables = detector.method, detector.variables
    for begin in range(0, len(kept), TOGETHER):  # few supports at a time in memory
        some = kept[begin : begin + TOGETHER]
        supports = [
            support_batch(method.inputs, video, own.support[:number]) for video, own in some
        ]
        moved = adapted(method, variables, supports, steps=steps)
        for (video, own), (own_variables, losses) in zip(some, moved, strict=True):
            yield video, own, own_variables, losses


def _only(windows: VideoScores, first: np.ndarray) -> VideoScores:
    """The windows that begin at the frames given."""
    chosen = np.isin(windows.first, first)
    parts = {name: part[chosen] for name, part in windows.parts.items()}
    return windows._replace(first=windows.first[chosen], parts=parts, maps=None)


def _fused(detector, windows, labels) -> Scored:
    scores = {
        f"{protocol}_{variant}": [
            detector.fused(video, protocol=protocol, smoothed=variant == "smoothed")
            for video in windows
        ]
        for protocol in ("paper", "online")
        for variant in ("raw", "smoothed")
    }
    return Scored(
        names=tuple(video.name for video in windows),
        labels=[np.asarray(labels[video.name], np.int8) for video in windows],
        scores=scores,
        meta={"method": detector.config.method, "config_hash": detector.about["digest"]},
    )


def figures(found: FewShot, *, replicates: int = 2000, seed: int = 0) -> dict[str, Any]:
    """AUCs of each number of shots with intervals, and differences from the first.

    Intervals are over videos, or over scenes where videos share them.

    Returns:
      K as text → `{"PROTOCOL": {"auc_micro": figure, …, "auc_micro_difference": figure}}`, of raw
      scores; a figure has `value`, `low`, `high`, a difference also `p`.
    """
    draw = {"replicates": replicates, "seed": seed, "groups": found.scenes}
    base = next(iter(found.scored.values()))
    return {
        str(number): {
            protocol: _figures(scored, base, f"{protocol}_raw", draw)
            for protocol in ("paper", "online")
        }
        for number, scored in found.scored.items()
    }


def _figures(scored, base, key, draw) -> dict[str, Any]:
    values, truth = scored.scores[key], scored.labels
    result = {}
    for name in _FIGURES:
        metric = _METRICS[name]
        result[name] = evaluation.bootstrap(truth, values, metric, **draw).figure(
            _value(metric, truth, values)
        )
        if scored is not base:
            result[f"{name}_difference"] = difference(scored, base, key, name, **draw)
    return result


def difference(a: Scored, b: Scored, column: str, metric: str, **draw: Any) -> dict[str, Any]:
    """A figure of `a` minus that of `b` over their common frames, with its paired interval and p.

    `draw` are options of `evaluation.paired_bootstrap`.

    Raises:
      DataError: the two are of other videos or labels.
    """
    same = a.names == b.names and all(map(np.array_equal, a.labels, b.labels))
    if not same:
        raise DataError("Two runs were evaluated on other videos or labels: they do not compare.")
    one, other = common(a.scores[column], b.scores[column])
    found = evaluation.paired_bootstrap(a.labels, one, other, _METRICS[metric], **draw)
    values = [_value(_METRICS[metric], a.labels, videos) for videos in (one, other)]
    value = None if None in values else values[0] - values[1]
    return {**found.figure(value), "p": found.p}


def _value(metric, truth, scores):
    value = metric(truth, scores)
    return value[0] if isinstance(value, tuple) else value


def table(runs: Mapping[str, FewShot], *, replicates: int = 2000, seed: int = 0) -> str:
    """What a command prints: a line for each run and K, figures × 100.

    Differences are from the same run's first K, and of every run but the first from the first run
    at the same K; all are paired, over videos or, where videos share them, over scenes.
    """
    columns = [("paper", "auc_micro"), ("online", "auc_micro"), ("paper", "auc_macro")]
    first_name, first = next(iter(runs.items()))
    drawn = f"{len(set(first.scenes))} scenes" if first.scenes else "videos"
    any_scored = next(iter(first.scored.values()))
    frames = sum(int(np.isfinite(v).sum()) for v in any_scored.scores["paper_raw"])
    lines = [
        f"{len(any_scored.names)} videos, {frames} frames, the same for every K "
        f"(no frame of the largest support); figures x 100, 95 % intervals over {drawn}",
        "",
        _line("run", "shots", *(f"{m.removeprefix('auc_')}, {p}" for p, m in columns)),
    ]
    for name, found in runs.items():
        base_number, base = next(iter(found.scored.items()))
        draw = {"replicates": replicates, "seed": seed, "groups": found.scenes}
        for number, scored in found.scored.items():
            cells = []
            for protocol, metric in columns:
                key = f"{protocol}_raw"
                interval = evaluation.bootstrap(
                    scored.labels, scored.scores[key], _METRICS[metric], **draw
                )
                value = _value(_METRICS[metric], scored.labels, scored.scores[key])
                cells.append(figure_text(interval.figure(value)))
            lines.append(_line(name, number, *cells))
            against = []
            if scored is not base:
                against.append((f"  minus {base_number} shots", base))
            if name != first_name and number in first.scored:
                against.append((f"  minus {first_name}", first.scored[number]))
            for title, other in against:
                found_ = [difference(scored, other, f"{p}_raw", m, **draw) for p, m in columns]
                lines.append(_line(title, "", *map(_signed, found_)))
    return "\n".join(lines)


def _signed(figure) -> str:
    if figure["value"] is None or figure["low"] is None:
        return "–"
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}), p {figure['p']:.3f}"


def _line(name, shots, *cells):
    return f"{name:<26}{shots!s:>6}" + "".join(f"{cell:>32}" for cell in cells)
