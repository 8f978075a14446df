"""When the frames of films are seen, by the films themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.types import DataError


def times(film: Source) -> np.ndarray | None:
    """When each frame of a film is seen, seconds, float64 `[F]`.

    A frame that has no time of its own, a broken one too, is put between the others, or as far
    beyond them as they lie apart. None for a film that tells no two times, as a bare stream of
    H.264.

    Raises:
      DataError: the film cannot be read.
    """
    decoded = Decoded(film, colour="grey", size=(1, 1))
    found = [None if isinstance(each, DataError) else each.seconds for each in decoded]
    seconds = np.array(found, np.float64)  # None becomes NaN
    (told,) = np.nonzero(np.isfinite(seconds))
    if len(told) < 2:
        return None
    at, step = np.arange(len(seconds)), np.median(np.diff(seconds[told]) / np.diff(told))
    beyond = np.minimum(at - told[0], 0) + np.maximum(at - told[-1], 0)
    return np.interp(at, told, seconds[told]) + beyond * step


@dataclass(frozen=True, eq=False)
class Clock(Mapping[str, np.ndarray]):
    """Video → when its frames are seen (`times`), for films that tell.

    A film is decoded when it is first asked for, so that only labels in seconds cost this.

    Attributes:
      sources: the videos.
    """

    sources: tuple[Source, ...]
    _kept: dict[str, np.ndarray | None] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _films(self) -> dict[str, Source]:
        return {source.name: source for source in self.sources if source.file is not None}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._kept:
            self._kept[name] = times(self._films[name])
        found = self._kept[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._films)

    def __len__(self) -> int:
        return len(self._films)
