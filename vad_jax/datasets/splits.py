"""The decoded videos of a run: trained on, held out, tested."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from vad_jax import user_folders
from vad_jax.data.frames import Frames, decode
from vad_jax.data.levels import Levels
from vad_jax.data.source import Source
from vad_jax.datasets.catalogue import NAMES, exclusions, open_dataset
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.names import shown
from vad_jax.spelling import composed, counted, natural
from vad_jax.types import ConfigError, DataError, InputSpec

log = logging.getLogger(__name__)


def find(settings, *, fps: float | None = None) -> Dataset:
    """The raw data that `config.data` names; what a user should see of it is logged.

    Args:
      settings: `config.data`.
      fps: frames a second, where the data do not say.

    Raises:
      ConfigError: no root is given, or the set has nothing that `data.exclude` names.
    """
    if settings.exclude and settings.exclude not in exclusions(settings.name):
        known = [f"{key} of {name}" for name in NAMES for key in exclusions(name)]
        raise ConfigError(
            f"data.exclude = {settings.exclude!r}: data.name = {settings.name!r} has no such "
            f"frames. Known are {', '.join(known)}; otherwise leave the key unset."
        )
    if settings.root is None:
        raise ConfigError("data.root is not set: give the folder with --config.data.root=FOLDER.")
    dataset = open_dataset(
        settings.name,
        settings.root,
        labels=settings.labels,
        fps=fps,
        levels=levels_of(settings),
        cache=settings.cache,
    )
    for note in dataset.notes:
        log.warning("%s: %s", dataset.root, note)
    if dataset.ignored:
        log.info("%s: ignored %s", dataset.root, ignored(dataset))
    return dataset


def levels_of(settings) -> Levels | None:
    """The range of deep pictures that `config.data` names, or None."""
    return tuple(settings.levels) or None


def ignored(dataset: Dataset) -> str:
    """How many entries of a folder were passed over, in words."""
    entries = "1 entry" if dataset.ignored == 1 else f"{dataset.ignored} entries"
    return f"{entries} (junk, readmes, _gt folders)"


def training(
    dataset: Dataset, settings, spec: InputSpec, **options: Any
) -> tuple[list[Frames], list[Frames]]:
    """The training videos and those that `data.validation` holds out, decoded.

    Both are normal videos alone unless `data.videos` is `all`; how many were left out is logged.
    No window of either touches a frame that `data.exclude` names.

    Args:
      dataset: as `find` gives it.
      settings: `config.data`.
      spec: of the frames that are wanted.
      options: for `decoded`.

    Raises:
      ConfigError: a held-out name that is no training video or no normal one, or nothing left to
        train on.
      DataError: the data set has no training part or no normal video in it, or lacks a video of
        which frames are excluded.
    """
    if not dataset.training:
        raise DataError(
            f"{dataset.root} has no training part: expected a folder `training` of normal videos "
            f"(layout found: {dataset.layout})."
        )
    names = [source.name for source in dataset.training]
    validation = frozenset(map(composed, settings.validation))
    unknown = sorted(validation - set(names))
    if unknown:
        raise ConfigError(
            f"data.validation names {', '.join(unknown)}; the training videos are "
            f"{', '.join(names)}."
        )
    sources = trained_on(dataset, settings)
    _check_normal(dataset, sources, validation)
    videos = decoded(sources, settings, spec, **options)
    if settings.exclude:
        _check_excluded(videos, settings.exclude, exclusions(dataset.name)[settings.exclude])
        videos = _without(videos, settings.exclude, excluded(dataset, settings))
    held_out = [video for video in videos if video.name in validation]
    rest = [video for video in videos if video.name not in validation]
    if not rest:
        raise ConfigError("data.validation holds out every training video: nothing is left.")
    return rest, held_out


def trained_on(dataset: Dataset, settings) -> tuple[Source, ...]:
    """The training videos that `data.videos` asks for, normal ones or all; held-out ones too."""
    anomalous = {} if settings.videos == "all" else dataset.anomalous
    return tuple(source for source in dataset.training if source.name not in anomalous)


def _check_normal(dataset: Dataset, sources: Sequence[Source], validation: Set[str]) -> None:
    """Says how many training videos are not among those that are taken, and whether that can be."""
    anomalous = dataset.anomalous
    if len(sources) == len(dataset.training):
        return
    if held_out := validation & anomalous.keys():
        raise ConfigError(
            f"data.validation names anomalous videos: {shown(held_out)}. Only normal ones are "
            "trained on and held out: take them off the list, or give --config.data.videos=all."
        )
    many = (
        f"{counted(len(anomalous), 'anomalous training video')} ({_by_class(anomalous.values())})"
    )
    if not sources:
        raise DataError(
            f"{dataset.name} at {dataset.root} has no normal training video, but {many}. "
            "Only normal videos are trained on unless told otherwise: --config.data.videos=all."
        )
    log.warning("%s: left out %s; --config.data.videos=all takes them.", dataset.root, many)


def _by_class(classes: Iterable[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(Counter(classes).items()))


def excluded(dataset: Dataset, settings) -> dict[str, frozenset[int]]:
    """Training video → the positions that `data.exclude` leaves out; spans may outrun the video."""
    named = exclusions(dataset.name)[settings.exclude] if settings.exclude else {}
    spans = {natural(name): ranges for name, ranges in named.items()}
    return {
        source.name: frozenset(i for span in spans[natural(source.name)] for i in span)
        for source in dataset.training
        if natural(source.name) in spans
    }


def _check_excluded(
    videos: Sequence[Frames], exclude: str, spans: Mapping[str, Sequence[range]]
) -> None:
    lengths = {natural(video.name): len(video) for video in videos}
    for name, ranges in spans.items():
        length, needed = lengths.get(natural(name), 0), max(span.start for span in ranges) + 1
        if length < needed:
            raise DataError(
                f"data.exclude={exclude} leaves out frames of training video {name} from frame "
                f"{needed} on, but {f'it has {length}' if length else 'there is no such video'}. "
                "The frames are counted in the published videos: use those, or unset the key."
            )


def _without(
    videos: Sequence[Frames], exclude: str, positions: Mapping[str, frozenset[int]]
) -> list[Frames]:
    """The videos, some positions of some of them left out; a span ends where its video does."""
    found, parts = [], []
    for video in videos:
        gone = [i for i in positions.get(video.name, ()) if i < len(video)]
        if gone:
            parts.append(f"{len(gone)} of {len(video)} in {video.name}")
        found.append(video.without(gone))
    log.warning("data.exclude=%s leaves out frames of training: %s.", exclude, ", ".join(parts))
    return found


def testing(dataset: Dataset, settings, spec: InputSpec, **options: Any) -> list[Frames]:
    """The test videos, decoded; `options` are for `decoded`."""
    return decoded(dataset.testing, settings, spec, **options)


def decoded(
    sources: Sequence[Source],
    settings,
    spec: InputSpec,
    *,
    cache: Path | None = None,
    **options: Any,
) -> list[Frames]:
    """Videos as `config.data` (`settings`) and a method's `spec` want them.

    Args:
      sources: the videos.
      settings: `config.data`.
      spec: height, width, channels and colour of the frames.
      cache: another folder than `data.cache`.
      options: for `frames.decode`: `observers`, `progress`.
    """
    return decode(
        sources,
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
        colour=spec.colour,
        cache=cache or user_folders.writable(settings.cache, option="data.cache"),
        on_bad_frame=settings.on_bad_frame,
        **options,
    )
