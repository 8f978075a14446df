"""Few-shot adaptation of any method: on a support, on many videos at once, judged at each K.

`Method.adapt` does the steps; here they are laid out. Letters: V videos, K shots, T frames of a
window with its lead.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.data.shots import Shots, choose
from vad_jax.data.windows import frame_indices
from vad_jax.detector import Detector
from vad_jax.evaluation import Scored
from vad_jax.evaluation.bootstrap import common
from vad_jax.evaluation.tables import figure_text
from vad_jax.scoring import VideoScores, score_video
from vad_jax.types import (
    Batch,
    ConfigError,
    DataError,
    InputSpec,
    Method,
    TrainingError,
    Variables,
)

TOGETHER = 8  # videos that are adapted in one call
OUTLIER = 3.0  # times the median of its fellows' losses
_FIGURES = ("auc_micro", "auc_macro")
_METRICS = {"auc_micro": evaluation.auc_micro, "auc_macro": evaluation.auc_macro}


def support_batch(spec: InputSpec, video: Frames, first: np.ndarray) -> Batch:
    """Windows of a video as the support of `Method.adapt`."""
    return {
        "frames": np.array(video.read(frame_indices(spec, first))),
        "mask": np.ones(len(first), bool),
        "video": np.zeros(len(first), np.int32),
        "frame": np.asarray(first, np.int32),
    }


@functools.lru_cache(maxsize=16)
def _adapt(method: Method, steps: int) -> Callable[..., Any]:
    """`method.adapt` of one set of variables to many supports, under jit."""
    return jax.jit(jax.vmap(functools.partial(method.adapt, steps=steps), in_axes=(None, 0)))


def adapted(
    method: Method, variables: Variables, supports: Sequence[Batch], *, steps: int
) -> Iterator[tuple[Variables, np.ndarray]]:
    """The variables adapted to each support, all from the same ones, several in one call.

    Args:
      method, variables: what is adapted.
      supports: batches of equally many windows.
      steps: gradient steps.

    Yields:
      For each support the variables, on the host, and the losses before each step `[steps]`.

    Raises:
      TrainingError: the steps lead to parameters that are not finite.
    """
    run = _adapt(method, steps)
    size = min(TOGETHER, len(supports))
    for begin in range(0, len(supports), size):
        some = supports[begin : begin + size]
        filled = [*some, *[some[0]] * (size - len(some))]  # one shape, one program
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *filled)
        moved, losses = jax.device_get(run(variables, stacked))
        for i in range(len(some)):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], moved)
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(own["params"])):
                raise TrainingError(
                    f"Adapting to support {begin + i + 1} of {len(supports)} in {steps} steps gave "
                    f"parameters that are not finite (losses {losses[i].tolist()}): take fewer "
                    "--steps, or a lower --learning_rate."
                )
            yield own, losses[i]


def disagreement(
    method: Method, variables: Variables, support: Batch, *, steps: int
) -> np.ndarray | None:
    """How each window of a support fares after adaptation to the others.

    Returns:
      `[K]`, its loss as a multiple of the median of the other windows' such losses; None for fewer
      than three windows, which cannot outvote one.
    """
    number = len(support["mask"])
    if number < 3:
        return None
    others = ~np.eye(number, dtype=bool)
    judge = _adapt(method, 1)  # the loss before its step
    without = [{**support, "mask": support["mask"] & row} for row in others]
    losses = []
    for i, (moved, _) in enumerate(adapted(method, variables, without, steps=steps)):
        alone = {**support, "mask": support["mask"] & ~others[i]}
        judged = jax.tree.map(lambda leaf: np.asarray(leaf)[None], alone)
        losses.append(float(judge(moved, judged)[1][0, 0]))
    losses = np.array(losses)
    return np.array([losses[i] / np.median(losses[row]) for i, row in enumerate(others)])


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
    draw = {"replicates": replicates, "seed": seed, "groups": first.scenes}
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
        draw["groups"] = found.scenes
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


def rule(detector: Detector) -> str:
    """How the detector adapts, in words."""
    if "step_size" in detector.variables["state"]:
        return "by learned step sizes"
    return f"at the rate {detector.config.adapt.learning_rate:g} (adapt.learning_rate)"


def with_rate(detector: Detector, learning_rate: float) -> Detector:
    """The detector as plain fine-tuning at a rate adapts it, learned step sizes left out.

    Raises:
      ConfigError: a rate that is none.
    """
    from vad_jax import create

    if not 0 < learning_rate < math.inf:
        raise ConfigError(f"--learning_rate={learning_rate}: must be finite and greater than 0.")
    config = detector.config.copy_and_resolve_references()
    config.adapt.learning_rate = learning_rate
    state = {k: v for k, v in detector.variables["state"].items() if k != "step_size"}
    variables = {**detector.variables, "state": state}
    return replace(detector, method=create(config), config=config, variables=variables)
