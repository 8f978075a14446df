"""What is looked at while raw frames are decoded: the mean of the training set, the controls."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from vad_jax import evaluation, messages
from vad_jax.data.frames import Frames
from vad_jax.data.grey import grey_frames
from vad_jax.data.source import Source
from vad_jax.datasets import Dataset, splits
from vad_jax.types import DataError, InputSpec

log = logging.getLogger(__name__)


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
    try:
        videos = splits.decoded(sources, lenient, spec, observers=(observer,), again=True)
    except DataError as error:  # evaluation can do without it
        log.warning("No control `distance to mean`: %s", error)
        return None
    mean = evaluation.mean_of(video.observed[observer.key] for video in videos)
    if mean is None:
        log.warning("Training frames have several sizes: no control `distance to mean`.")
    return mean


def observed_controls(
    videos: Sequence[Frames], observer: evaluation.PixelControls
) -> dict[str, list[np.ndarray]]:
    """Every control of test videos that were decoded under the observer."""
    seen = [video.observed[observer.key] for video in videos]
    return evaluation.all_controls([len(video) for video in videos], seen)


def raw_controls(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    """Every control of the raw test videos, for which no frame need be decoded otherwise."""
    observer = evaluation.PixelControls(evaluation.mean_of(_sums(dataset)))
    seen = [_watched(observer, source) for source in _shown(dataset.testing, "controls")]
    return evaluation.all_controls([len(video["mean intensity"]) for video in seen], seen)


def _sums(dataset: Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Of the normal training videos that can be read."""
    normal = [source for source in dataset.training if source.name not in dataset.anomalous]
    for source in _shown(normal, "mean frame"):
        try:
            yield _watched(evaluation.MeanFrame(), source)
        except DataError as error:
            log.warning("Not in the mean frame: %s", error)


def _shown(sources: Sequence[Source], what: str) -> Iterable[Source]:
    return messages.progress(sources, desc=what, unit="video", leave=False)


def _watched(observer: Any, source: Source) -> dict[str, np.ndarray]:
    watch = observer.start(source.name)
    for frame in grey_frames(source):
        watch.push(frame)
    return watch.result()
