"""The data sets under their names in TensorFlow Datasets: importing this module registers them.

    import tensorflow_datasets as tfds
    import vad_jax.tfds

    raw = tfds.download.DownloadConfig(manual_dir="FOLDER")  # only read
    sources = tfds.data_source(
        "vad_ucsd_ped2/64",
        data_dir="data/built",
        download_and_prepare_kwargs={"download_config": raw},
    )
    sources["test"][0]["frames"]  # 128 frames, uint8 [64, 64, 3], RGB

A frame that cannot be read ends the build; with `builder_kwargs={"on_bad_frame": "skip"}` it is in
no record: one ends before it and the next begins behind it, as `first_frame` says.

`tfds.load` reads TFRecord files and needs TensorFlow: add `builder_kwargs={"file_format":
"tfrecord"}` when the set is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad_jax.datasets import Dataset, Source, open_dataset, truths
from vad_jax.datasets.build.builders import VideoBuilder
from vad_jax.datasets.build.forms import configs
from vad_jax.datasets.build.records import Known
from vad_jax.datasets.raw.ucf_crime import NORMAL
from vad_jax.spelling import lying
from vad_jax.types import DataError


class RawFolder(VideoBuilder, skip_registration=True):
    """A set whose raw folder the user has; labels, masks and tracks are found there, too."""

    SET: ClassVar[str]

    def _dataset(self, dl_manager) -> Dataset:
        return open_dataset(self.SET, dl_manager.manual_dir)

    def _known(self, dataset: Dataset, lengths: Mapping[str, int]) -> Known:
        return known(dataset, lengths)


def known(dataset: Dataset, lengths: Mapping[str, int]) -> Known:
    """What a raw folder says of its test videos.

    Args:
      dataset: the raw folder.
      lengths: test video → F, in the order of the videos.

    Raises:
      DataError: labels or tracks that cannot be read or do not fit the videos.
    """
    from vad_jax import evaluation
    from vad_jax.evaluation.truth.masks import mask_place, read_masks

    labels = {}
    if dataset.labels and lengths:
        fps = dict.fromkeys(lengths, dataset.fps) if dataset.fps else None
        labels = evaluation.read_labels(
            dataset.labels, lengths, fps=fps, times=dataset.times
        ).values
    masked = {name for name in lengths if dataset.masks and mask_place(dataset.masks, name)}
    tracks = next((found.path for found in truths(dataset) if found.kind == "tracks"), None)
    return Known(
        labels=labels.get,
        masks=lambda name: (
            read_masks(dataset.masks, name, lengths[name]) if name in masked else None
        ),
        tracks=lambda name: _tracks(lying(tracks, f"{name}.txt")) if tracks else None,
        classes=_classes(dataset),
    )


def _tracks(file: Path) -> np.ndarray | None:
    """Rows `track, frame, x0, y0, x1, y1` of a file, or None where there is no file."""
    if not file.is_file():
        return None
    try:
        if not file.read_text(encoding="utf-8-sig").strip():
            return np.zeros((0, 6), np.int64)
        rows = np.loadtxt(file, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise DataError(f"{file} holds no rows of numbers ({error}).") from None
    if rows.shape[1] != 6:
        raise DataError(
            f"{file} has {rows.shape[1]} columns. Expected rows track,frame,x0,y0,x1,y1."
        )
    return np.rint(rows).astype(np.int64)


def _classes(dataset: Dataset) -> Callable[[Source], str | None]:
    """Video → its class; of normal videos only UCF-Crime names one."""
    known, test = dataset.classes or {}, set(dataset.testing)

    def classes(source: Source) -> str | None:
        if dataset.name == "ucf_crime":
            return known.get(source.name, NORMAL)
        return known.get(source.name) if source in test else None

    return classes


class VadUcsdPed1(RawFolder):
    """UCSD Ped1."""

    SET = "ucsd_ped1"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` is UCSDped1 of the official archive UCSD_Anomaly_Dataset.v1p2 (`Train/Train001/`,
    `Test/Test001/`, `Test/UCSDped1.m`), or the repacked ped1 (`training/frames/01/`,
    `testing/frames/01/`, `ped1.mat`), or a folder that holds one of them.
    """


class VadUcsdPed2(RawFolder):
    """UCSD Ped2."""

    SET = "ucsd_ped2"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` is UCSDped2 of the official archive UCSD_Anomaly_Dataset.v1p2 (`Train/Train001/`,
    `Test/Test001/`, `Test/Test001_gt/`, `Test/UCSDped2.m`), or the repacked ped2
    (`training/frames/01/`, `testing/frames/01/`, `ped2.mat`), or a folder that holds one of them.
    """


class VadAvenue(RawFolder):
    """CUHK Avenue; configs `…_intervals` take the interval labels instead of the masks."""

    SET = "avenue"
    BUILDER_CONFIGS = configs(intervals=True)
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` holds the official `training_videos/01.avi`, `testing_videos/01.avi` and
    `ground_truth_demo/testing_label_mask/1_label.mat`, or the repacked `training/frames/01/`,
    `testing/frames/01/` and `avenue.mat`. The configs `original_intervals`, `256_intervals` and
    `64_intervals` need `avenue.mat` or `frame_labels_avenue.npy` there, the others the masks.
    """

    def _dataset(self, dl_manager) -> Dataset:
        labels = "intervals" if self.builder_config.intervals else "masks"
        return open_dataset(self.SET, dl_manager.manual_dir, labels=labels)


class VadShanghaitech(RawFolder):
    """ShanghaiTech Campus."""

    SET = "shanghaitech"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` holds `training/videos/01_001.avi` (or `training/frames/01_001/`),
    `testing/frames/01_0014/`, `testing/test_frame_mask/01_0014.npy` and
    `testing/test_pixel_mask/01_0014.npy`.
    """


class VadUcfCrime(RawFolder):
    """UCF-Crime."""

    SET = "ucf_crime"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` holds the unpacked videos (`Abuse/Abuse001_x264.mp4`,
    `Training_Normal_Videos_Anomaly/`, `Testing_Normal_Videos_Anomaly/`, at any depth),
    `Anomaly_Train.txt`, `Anomaly_Test.txt` and `Temporal_Anomaly_Annotation.txt`.
    """


class VadFolder(RawFolder):
    """Any folder of videos."""

    SET = "folder"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `manual_dir` holds `training/` and `testing/` with video files or folders of images, and the
    truth of the test videos: `labels.csv`, `labels/VIDEO.npy`, `labels.npy`, `*.m`, `*.mat` or
    `masks/VIDEO/NAME.png`; also `tracks/VIDEO.txt`.
    """


class VadSynthetic(RawFolder):
    """The synthetic set of the quickstart; it is made, so that no raw folder is needed."""

    SET = "synthetic"

    def _dataset(self, dl_manager) -> Dataset:
        return open_dataset(self.SET, self.staging / "raw")
