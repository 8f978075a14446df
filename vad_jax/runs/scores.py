"""The rows of test videos as scores of frames, as `scores.npz` holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax import config as configs
from vad_jax import evaluation
from vad_jax.detector import Detector
from vad_jax.evaluation import Labels, Scored
from vad_jax.evaluation.score_files import PROTOCOLS, VARIANTS
from vad_jax.types import ConfigError, VideoScores


def scored(
    detector: Detector,
    rows: Sequence[VideoScores],
    truth: Labels,
    *,
    about: Mapping[str, Any],
    all_frames: bool = False,
    **more: Any,
) -> Scored:
    """Fuses the rows of all test videos under both protocols, with and without smoothing.

    Args:
      detector: what scored.
      rows: of every test video.
      truth: labels.
      about: plain values for the file's `meta`, beside what the detector says.
      all_frames: give the frames before a video's first score that score, too.
      more: further fields of `Scored`.
    """
    fusion = detector.method.fusion
    scores, further = {}, {}
    for protocol in PROTOCOLS:
        for variant in VARIANTS:
            for result in evaluation.results(fusion, protocol):
                value = evaluation.fuse(
                    fusion,
                    list(rows),
                    detector.statistics,
                    protocol,
                    result=result,
                    smoothed=variant == "smoothed",
                )
                if any(video.ndim > 1 for video in value):
                    raise ConfigError(
                        f"{detector.config.method} gives a frame a score for each of its labels; "
                        "figures of frames need one score each. `vad_jax.load(workdir).score` "
                        "gives them all."
                    )
                value = [evaluation.backwards(video) for video in value] if all_frames else value
                if result == fusion.default:
                    scores[f"{protocol}_{variant}"] = value
                else:
                    further[f"{result}_{protocol}_{variant}"] = value
    parts = evaluation.frame_parts(fusion, list(rows))
    turned = {operation[1] for operation in fusion.paper if operation[0] == "negate"}
    return Scored(
        names=tuple(video.name for video in rows),
        labels=[truth.values[video.name].astype(np.int8) for video in rows],
        scores=scores,
        parts=parts,
        signs={name: -1 if name in turned else 1 for name in parts},
        results=further,
        meta={
            "method": detector.config.method,
            "config_hash": detector.about["digest"],
            "recipe_hash": _recipe(detector),
            "checkpoint_step": detector.about["step"],
            "training_data_hash": detector.about["data"]["identity"],
            "label_source": Path(truth.source).name,
            "label_hash": truth.digest,
            "all_frames": all_frames,
            "seed": detector.config.seed,
            **about,
        },
        **more,
    )


def _recipe(detector: Detector) -> str | None:
    """Equal for repetitions of a run; an adapted run is no repetition of the one it comes from."""
    adapted = "adapted" in detector.about["data"]
    return None if adapted else configs.recipe(detector.config)
