"""What is looked at while raw frames are decoded: the mean of the training set, the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.data.grey import grey_frames
from vad_jax.data.source import Source
from vad_jax.datasets import Dataset, splits
from vad_jax.types import InputSpec


def mean_observer(dataset: Dataset, settings: Any) -> evaluation.MeanFrame:
    """Sums up training frames, those that `data.exclude` names left out."""
    return evaluation.MeanFrame(splits.excluded(dataset, settings))


def mean_frame(dataset: Dataset, settings: Any, spec: InputSpec) -> np.ndarray | None:
    """The mean of the raw training frames, float64 `[H, W]`; made once, beside the decoded frames.

    None where the set has no training part or its frames are of several sizes.

    Args:
      dataset: the raw data.
      settings: `config.data`.
      spec: of the run's frames, under which the training set was decoded.
    """
    sources = splits.trained_on(dataset, settings)
    if not sources:
        return None
    lenient = settings.copy_and_resolve_references()
    lenient.on_bad_frame = "skip"  # training has named it
    observer = mean_observer(dataset, settings)
    videos = splits.decoded(sources, lenient, spec, observers=(observer,), again=True)
    return evaluation.mean_of([video.observed[observer.key] for video in videos])


def observed_controls(
    videos: Sequence[Frames], observer: evaluation.PixelControls
) -> dict[str, list[np.ndarray]]:
    """Every control of test videos that were decoded under the observer."""
    seen = [video.observed[observer.key] for video in videos]
    return evaluation.all_controls([len(video) for video in videos], seen)


def raw_controls(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """Every control of the raw test videos, for which no frame need be decoded otherwise."""
    mean = evaluation.MeanFrame({})
    normal = [source for source in dataset.training if source.name not in dataset.anomalous]
    sums = [_watched(mean, source) for source in normal]
    observer = evaluation.PixelControls(evaluation.mean_of(sums))
    seen = [_watched(observer, source) for source in dataset.testing]
    return evaluation.all_controls([len(video["mean intensity"]) for video in seen], seen)


def _watched(observer: Any, source: Source) -> dict[str, np.ndarray]:
    watch = observer.start(source.name)
    for frame in grey_frames(source):
        watch.push(frame)
    return watch.result()
