"""Sets in the form of TensorFlow Datasets: one record a chunk of frames, in order, with its truth.

Neither writing nor reading ArrayRecord needs TensorFlow. Shards are written one after another
because a `GeneratorBasedBuilder` holds all records of a split in memory and, above 1 GB, calls
TensorFlow. Nobody imports this module before a set is built: it and `forms.py` are the only ones
of the package that need `tensorflow_datasets` to be imported.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import ShardBasedBuilder  # in `core` from 4.9.10 on
from tqdm import tqdm

from vad_jax import messages
from vad_jax.data.source import Source
from vad_jax.datasets import synthetic
from vad_jax.datasets.build import records, staging
from vad_jax.datasets.build.forms import configs, features
from vad_jax.datasets.build.records import Known
from vad_jax.datasets.dataset import Dataset
from vad_jax.types import ConfigError, DataError

log = logging.getLogger(__name__)

SHARD_BYTES = 128 << 20  # while a shard is written, memory holds its records about three times


class VideoBuilder(ShardBasedBuilder, skip_registration=True):
    """Writes a raw set as records; a subclass says where the raw set is and what its truth is.

    Args:
      file_format: of a set that is not built yet: `array_record` where none is given.
      lossless: whether frames of video files become PNG rather than JPEG of quality 95.
      on_bad_frame: `error`, or `skip`: frames that cannot be read are in no record, nor are their
        labels; `info.metadata["skipped"]` names them.
      progress: whether bars are shown.
      options: `data_dir`, `config` and `version`, as for every builder.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs()
    url_infos = None  # nothing is downloaded; the search for checksums needs importlib_resources

    def __init__(
        self,
        *,
        file_format: str | None = None,
        lossless: bool = False,
        on_bad_frame: Literal["error", "skip"] = "error",
        progress: bool = True,
        **options: Any,
    ):
        if on_bad_frame not in ("error", "skip"):
            raise ConfigError(f"on_bad_frame is error or skip, not {on_bad_frame!r}.")
        self._lossless, self._progress = lossless, progress
        self._on_bad_frame = on_bad_frame
        super().__init__(file_format=file_format, **options)
        if file_format is None and not self.is_prepared():
            self.info.set_file_format("array_record", override=True)

    @property
    def staging(self) -> Path:
        """The folder that holds what an unfinished build has encoded."""
        return Path(self.data_dir_root) / f"{self.name}-{self.builder_config.name}.staging"

    def download_and_prepare(self, **options: Any) -> None:
        """Builds the set, going on where an earlier build was interrupted; once built, it stays.

        Args:
          options: as for every builder; `download_config.manual_dir` is the raw folder.

        Raises:
          DataError: raw data or truth that cannot be used, no room, or another build of this set.
        """
        how = options.get("download_config")
        if self.is_prepared() and not (how and how.download_mode.overwrite_dataset):
            super().download_and_prepare(**options)
            return
        self.staging.mkdir(parents=True, exist_ok=True)
        with _alone(self.staging):
            halves = Path(self.data_dir).parent.glob(f"incomplete.*_{self.version}")
            for left in (*halves, *self.staging.glob(f"{staging.PART}*")):
                shutil.rmtree(left)  # of a build that was killed
            try:
                super().download_and_prepare(**options)
            except (OSError, RuntimeError) as error:  # the latter is ArrayRecord's
                if "No space left" not in str(error):
                    raise
                raise staging.no_room(self.staging) from None
            shutil.rmtree(self.staging)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Videos in chunks of consecutive frames, in order of (video, first frame).",
            features=features(),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _log_download_bytes(self) -> None:
        log.info("Building %s in %s", self.info.full_name, self.data_dir)

    def _log_download_done(self) -> None:
        log.info("Built %s: %s", self.info.full_name, self.data_dir)

    def _dataset(self, dl_manager) -> Dataset:
        raise NotImplementedError

    def _known(self, dataset: Dataset, lengths: Mapping[str, int]) -> Known:
        """What is known of the test videos (name → F in `lengths`), and the classes of all."""
        raise NotImplementedError

    def _shard_iterators_per_split(
        self, dl_manager
    ) -> dict[str, list[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]]:
        dataset = self._dataset(dl_manager)
        videos = self._stage(dataset)
        test = videos.get("test", [])
        known = self._known(dataset, {video.name: video.frames for video in test})
        records.check_known(known, test)
        staging.check_room(self.staging)
        training = [*videos.get("train", []), *videos.get("validation", [])]
        self.info.metadata.update(
            dataset=dataset.name,
            layout=dataset.layout,
            sha256=records.identity(training, test, known.labels),
            label_source=dataset.labels and dataset.labels.name,
            size=list((training + test)[0].size),
            lossless=self._lossless,
            skipped={
                f"{split}/{video.name}": list(video.broken)
                for split, part in videos.items()
                for video in part
                if video.broken
            },
            notes=list(dataset.notes),
        )
        chunks = {split: records.chunks(part) for split, part in videos.items()}
        bar = messages.progress(
            total=sum(map(len, chunks.values())),
            desc="writing",
            unit="record",
            **({} if self._progress else {"disable": True}),
        )
        untold = Known(classes=known.classes)
        return {
            split: [
                functools.partial(_told, shard, known if split == "test" else untold, bar)
                for shard in records.shards(part, bytes_each=SHARD_BYTES)
            ]
            for split, part in chunks.items()
        }

    def _stage(self, dataset: Dataset) -> dict[str, list[staging.Encoded]]:
        parts = splits(dataset)
        encoded = staging.stage(
            [source for part in parts.values() for source in part],
            self.staging,
            size=self.builder_config.size,
            lossless=self._lossless,
            fps=dataset.fps,
            on_bad_frame=self._on_bad_frame,
            progress=self._progress,
        )
        rest = iter(encoded)
        return {split: [next(rest) for _ in part] for split, part in parts.items()}


def splits(dataset: Dataset) -> dict[str, tuple[Source, ...]]:
    """The splits of a set that hold videos: `train`, `test`, of the synthetic set `validation`."""
    held_out = _held_out() if dataset.name == "synthetic" else frozenset()
    parts = {
        "train": tuple(s for s in dataset.training if s.name not in held_out),
        "validation": tuple(s for s in dataset.training if s.name in held_out),
        "test": dataset.testing,
    }
    return {split: part for split, part in parts.items() if part}


def build(
    dataset: Dataset,
    *,
    labels: Callable[[str], np.ndarray | None] = records.nothing,
    masks: Callable[[str], Iterator[np.ndarray] | None] = records.nothing,
    tracks: Callable[[str], np.ndarray | None] = records.nothing,
    classes: Callable[[Source], str | None] = records.nothing,
    out: str | Path,
    config: str = "original",
    lossless: bool = False,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> tfds.core.DatasetBuilder:
    """Builds a set from a raw folder and its truth, or goes on where a build was interrupted.

    Args:
      dataset: the raw folder, only read.
      labels: test video's name → uint8 `[F]`, or None.
      masks: test video's name → iterator over its F masks, bool `[H, W]`, of raw size; or None.
      tracks: test video's name → int `[R, 6]`, rows `track, frame, x0, y0, x1, y1`, 0-based,
        inclusive, in raw pixels; or None.
      classes: video → the class of the whole video, or None.
      out: the folder of all built sets; this one goes to `vad_NAME/CONFIG/1.0.0` in it.
      config: `original`, `256` or `64`; `…_intervals` if the labels are Avenue's intervals.
      lossless: whether frames of video files become PNG rather than JPEG of quality 95.
      on_bad_frame: as for `VideoBuilder`.
      progress: whether bars are shown.

    Returns:
      A builder that reads: `as_data_source("test")`. `info.metadata["sha256"]` says which data
      these are.

    Raises:
      DataError: a frame or truth that cannot be used, no room, or the set is built already.
      ConfigError: no such config.
    """
    names = [c.name for c in configs(intervals=dataset.name == "avenue")]
    if config not in names:
        raise ConfigError(
            f"vad_{dataset.name} has no config {config!r}. Known are {', '.join(names)}."
        )
    known = Known(labels, masks, tracks, classes)
    builder = _Given(
        dataset,
        known,
        data_dir=out,
        config=config,
        lossless=lossless,
        on_bad_frame=on_bad_frame,
        progress=progress,
    )
    if builder.is_prepared():
        raise DataError(
            f"{builder.data_dir} is built already. Use it as it is, or remove that folder and run "
            "again."
        )
    builder.download_and_prepare(download_dir=builder.staging)
    return tfds.builder_from_directory(builder.data_dir)


class _Given(VideoBuilder, skip_registration=True):
    """A raw set and a truth that are at hand."""

    BUILDER_CONFIGS = configs(intervals=True)

    def __init__(self, dataset: Dataset, known: Known, **options: Any):
        self._given = dataset, known
        self.name = f"vad_{dataset.name}"
        super().__init__(**options)

    def _dataset(self, dl_manager) -> Dataset:
        return self._given[0]

    def _known(self, dataset: Dataset, lengths: Mapping[str, int]) -> Known:
        return self._given[1]


def _held_out() -> frozenset[str]:
    """Names of the synthetic set's training videos that are there to choose by."""
    rows = (*synthetic.plan("quickstart"), *synthetic.plan("scenes"))
    scenes = synthetic.SCENES["validation"]
    return frozenset(
        row.name
        for row in rows
        if row.part == "training" and (row.split == synthetic.HELD_OUT or row.scene in scenes)
    )


def _told(
    shard: Sequence[records.Chunk], known: Known, bar: tqdm
) -> Iterator[tuple[str, dict[str, Any]]]:
    for example in records.examples(shard, known):
        yield example
        bar.update()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second build out of a staging folder."""
    try:
        import fcntl
    except ModuleNotFoundError:  # no such locks on this system
        yield
        return
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Another process builds in {folder}. Wait for it, or give another folder."
            ) from None
        yield
