"""The labelled test set of a run: its raw data, decoded videos, labels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad_jax import evaluation
from vad_jax.data.frames import Frames
from vad_jax.datasets import Dataset, splits
from vad_jax.datasets.names import shown
from vad_jax.detector import Detector
from vad_jax.evaluation import Labels
from vad_jax.evaluation.truth import masks
from vad_jax.spelling import counted
from vad_jax.types import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestSet:
    """What a run is evaluated on.

    Attributes:
      dataset: the raw data.
      settings: the run's `config.data`, with what the user said in its place.
      labels: of every frame of every test video.
    """

    dataset: Dataset
    settings: Any
    labels_at: Path

    __test__ = False  # no test, whatever its name

    def videos(self, detector: Detector, **options: Any) -> list[Frames]:
        """The test videos as the detector's windows want them; options as `frames.decode`'s."""
        return splits.testing(self.dataset, self.settings, detector.method.inputs, **options)

    def labels(self, videos: list[Frames]) -> Labels:
        """The labels of the videos. Raises DataError where they do not fit."""
        lengths = _lengths(self.dataset, videos)
        rates = dict.fromkeys(lengths, self.dataset.fps) if self.dataset.fps else None
        return evaluation.read_labels(self.labels_at, lengths, fps=rates, times=self.dataset.times)


def open_testset(
    config: Any,
    *,
    root: str | Path | None = None,
    labels: str | Path | None = None,
    fps: float | None = None,
) -> TestSet:
    """Finds the test set that a run's config names.

    Args:
      config: of the run.
      root: the raw data, where it lies elsewhere than the config says.
      labels: a label file or folder instead of the one found beside the videos.
      fps: frames a second of all videos, where the data do not say.

    Raises:
      VadError: no data, no test videos, no labels.
    """
    settings = config.data.copy_and_resolve_references()
    settings.root = str(root or settings.root)
    settings.labels = str(labels) if labels else settings.labels
    if not Path(settings.root).expanduser().exists():
        raise DataError(f"{settings.root} does not exist: say where the data are with --root.")
    dataset = splits.find(settings, fps=fps)
    if not dataset.testing:
        raise DataError(f"{dataset.root} has no test videos: expected them in a folder `testing`.")
    if dataset.labels is None:
        raise DataError(
            f"No labels were found in {dataset.root}. Name a file or folder with --labels; "
            "without labels there is nothing to evaluate."
        )
    _say_of_blurred(dataset)
    return TestSet(dataset, settings, dataset.labels)


def _say_of_blurred(dataset: Dataset) -> None:
    """Warns of masks that were saved as JPEG."""
    if dataset.masks is None:
        return
    names = [source.name for source in dataset.testing]
    names = [name for name in names if masks.blurred(dataset.masks, name)]
    if names:
        log.warning(
            "%s: the masks of %s are JPEG, which blurs their edges (%s). Pixels of %d to 255 count "
            "as anomalous; take the originals where you can.",
            dataset.masks, counted(len(names), "video"), shown(names), masks.WHITE,
        )  # fmt: skip


def _lengths(dataset: Dataset, videos: list[Frames]) -> dict[str, int]:
    """Frames of every test video in order, unreadable ones too: labels count them."""
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
