"""Every figure of a run with its interval, and whether it beats the controls.

Source: evaluation.md sections 4 to 7 and 9.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from vad_jax.evaluation import metrics as frame_metrics
from vad_jax.evaluation.bootstrap import bootstrap
from vad_jax.evaluation.controls import best_control, control_table, controls, index_controls
from vad_jax.evaluation.localisation import NAMES, absent
from vad_jax.evaluation.metrics import COMPARED
from vad_jax.evaluation.score_files import (
    PROTOCOLS,
    VARIANTS,
    Scored,
    known_scores,
    plain,
    scenes_of,
    truth_of,
)
from vad_jax.evaluation.series import smooth
from vad_jax.evaluation.thresholds import SCORES, Normal, alarms_at, threshold_of
from vad_jax.types import DataError, Fusion

VERSION = 2  # 1 had intervals and p of the percentile bootstrap, from a single video on
METRICS = {  # name → function
    **COMPARED,
    "auc_macro_padded": frame_metrics.auc_macro_padded,
    "auc_macro_padded01": frame_metrics.auc_macro_padded01,
    "ap": frame_metrics.average_precision,
    "eer": frame_metrics.equal_error_rate,
}
RECOMPUTED = ("ap", "eer")  # made anew for every replicate: fewer of them
NOT_LOCATED = absent("no maps were given")
ONE_CLASS = "the scored frames with a label are of one class"
NO_FRAME = "no frame has both a score and a label"
NO_VIDEO = "no video has both classes among its scored frames"
PADDED = ("auc_macro_padded", "auc_macro_padded01")
PADDING_ALONE = f"{NO_VIDEO}: its padding alone would make this figure"


def summarise(
    scored: Scored,
    frames: Iterable[Iterable[np.ndarray]] | None = None,
    *,
    mean_frame: np.ndarray | None = None,
    fusion: Fusion | None = None,
    located: Mapping[str, Any] | None = None,
    normal: Normal | None = None,
    rate_per_hour: float | None = None,
    run: Mapping[str, Any] | None = None,
    replicates: int = 2000,
    recomputed: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """The content of `metrics.json`.

    Args:
      scored: all test frames, as `scores.npz` holds them.
      frames: videos of test frames `[H, W]` uint8, grey, for the controls that look at pixels;
        generators will do. Without them `scored.controls` are taken, or only those of time and
        place are made.
      mean_frame: `[H, W]`, mean of the training frames, for one control more.
      fusion: its `smooth` operations are done to the controls too.
      located: pixel, region and track figures (`localisation`); they are of the raw maps, equal
        under both protocols.
      normal: scores of normal videos, from which a threshold is calibrated; the test set is not
        looked at for it.
      rate_per_hour: false alarms that the threshold may give (`threshold_of`).
      run: plain values for people: config hash, checkpoint and how it was chosen, versions,
        device, seconds; `scored.meta` is joined to them.
      replicates: bootstrap draws of the AUCs.
      recomputed: bootstrap draws of the figures that are made anew for each (AP, EER).
      seed, level: of the bootstrap.
    """
    truth = truth_of(scored)
    scores = {name: known_scores(scored, videos) for name, videos in scored.scores.items()}
    given = _controls(scored, frames, mean_frame)
    scenes = scenes_of(scored)
    draw = {"replicates": replicates, "seed": seed, "level": level, "groups": scenes}
    fewer = draw | {"replicates": recomputed}
    fps = scored.meta.get("fps")
    calibrated = threshold_of(normal, fps=fps, rate_per_hour=rate_per_hour)
    places = located or NOT_LOCATED
    figures, tables, beaten = {}, {}, {}
    for protocol, variant in itertools.product(PROTOCOLS, VARIANTS):
        own = scores[f"{protocol}_{variant}"]
        rows = {
            name: _figure(name, truth, own, fewer if name in RECOMPUTED else draw)
            for name in METRICS
        }
        against = partial(
            control_table,
            given,
            truth,
            own,
            protocol=protocol,
            smoothing=_smoothing(fusion, protocol) if variant == "smoothed" else None,
            **draw,
        )
        reference = {name: against(metric=METRICS[name]) for name in COMPARED}
        figures.setdefault(protocol, {})[variant] = rows | {n: places[n] for n in NAMES}
        tables.setdefault(protocol, {})[variant] = reference
        beaten.setdefault(protocol, {})[variant] = {
            name: beats(rows[name], reference[name]) for name in COMPARED
        }
    return plain(
        {
            "version": VERSION,
            "protocols": figures,
            "results": _results(scored, truth, draw),
            "part_means": {
                name: float(np.nanmean(np.concatenate(videos)))
                for name, videos in scored.parts.items()
                if not all(np.isnan(video).all() for video in videos)
            },
            "regions": places.get("regions"),
            "per_video": _per_video(scored, truth, scores),
            "controls": tables,
            "beats_controls": beaten,
            "events": alarms_at(truth, scores[SCORES], calibrated, fps=fps, **draw),
            "calibration": calibrated,
            "data": _data(scored, scores, scenes, "mean intensity" in given),
            "run": dict(scored.meta) | dict(run or {}),
            "recognition": None,
        }
    )


def _controls(scored, frames, mean_frame):
    lengths = [len(labels) for labels in scored.labels]
    if frames is None:
        return scored.controls or index_controls(lengths)
    given = controls(frames, mean_frame)
    found = [len(video) for video in given["constant"]]
    if found != lengths:
        raise DataError(
            f"The controls saw videos of {found} frames, but the scores are of {lengths}. Give the "
            "raw frames of the same test videos, in the same order."
        )
    return given


def _smoothing(fusion, protocol):
    operations = [] if fusion is None else getattr(fusion, protocol)
    steps = [
        partial(smooth, kernel=kernel, edges=edges, causal=causal)
        for name, kernel, edges, causal in (o for o in operations if o[0] == "smooth")
    ]

    def smoothed(values):
        for step in steps:
            values = step(values)
        return values

    return smoothed if steps else None


def _figure(name, labels, scores, draw):
    metric = METRICS[name]
    value = metric(labels, scores)
    more = {}
    if isinstance(value, frame_metrics.Macro):
        more = {"used": value.used, "skipped": value.skipped}
        value = value.value
    if value is None:
        unscored = all(np.isnan(video).all() for video in scores)
        why = NO_FRAME if unscored else NO_VIDEO if more else ONE_CLASS
        return {"value": None, "why": why} | more
    if name in PADDED and frame_metrics.auc_macro(labels, scores).value is None:
        return {"value": None, "why": PADDING_ALONE}
    if name == "ap":
        kept, _ = frame_metrics.scored_frames(labels, scores)
        more = {"chance": float(np.concatenate(kept).mean())}
    interval = bootstrap(labels, scores, metric, **draw)
    return interval.figure(value) | more


def _results(scored, truth, draw):
    """The compared figures of the fusion's further results: `result → protocol → variant`."""
    found: dict[str, Any] = {}
    for key, videos in scored.results.items():
        result, protocol, variant = key.rsplit("_", 2)
        own = known_scores(scored, videos)
        figures = {name: _figure(name, truth, own, draw) for name in COMPARED}
        found.setdefault(result, {}).setdefault(protocol, {})[variant] = figures
    return found


def beats(figure: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]]) -> bool | None:
    """Whether a figure's lower bound lies above the best control; None where one is missing."""
    best = best_control(table)
    if best is None or figure.get("low") is None:
        return None
    return bool(figure["low"] > table[best]["value"])


def _per_video(scored, truth, scores):
    own = {
        protocol: {
            variant: frame_metrics.per_video_auc(truth, scores[f"{protocol}_{variant}"])
            for variant in VARIANTS
        }
        for protocol in PROTOCOLS
    }
    kept, _ = frame_metrics.scored_frames(truth, scores["paper_raw"])
    return [
        {
            "name": name,
            "frames": len(truth[i]),
            "scored": len(kept[i]),
            "positives": int(kept[i].sum()),
            "auc": {p: {v: own[p][v][i] for v in VARIANTS} for p in PROTOCOLS},
        }
        for i, name in enumerate(scored.names)
    ]


def _data(scored, scores, scenes, looked_at):
    kept, _ = frame_metrics.scored_frames(
        [labels == 1 for labels in scored.labels], scores["paper_raw"]
    )
    frames = sum(map(len, scored.labels))
    return {
        "set": scored.meta.get("data", None),
        "label_source": scored.meta.get("label_source", None),
        "label_hash": scored.meta.get("label_hash", None),
        "data_hash": scored.meta.get("data_hash", None),
        "videos": len(scored.names),
        "scenes": scenes and len(set(scenes)),
        "frames": frames,
        "scored": sum(map(len, kept)),
        "unscored": frames - sum(map(len, kept)),
        "unknown_labels": sum(int((labels < 0).sum()) for labels in scored.labels),
        "positives": sum(int(labels.sum()) for labels in kept),
        "macro_skipped": [
            name
            for name, labels in zip(scored.names, kept, strict=True)
            if labels.all() or not labels.any()
        ],
        "controls_saw_frames": looked_at,
    }
