"""When the frames of films are seen, by the films themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source


def times(film: Source) -> np.ndarray | None:
    """When each frame of a film is seen, seconds, float64 `[F]`.

    A frame between others that has no time of its own is put between them. None for a film that
    does not say when it begins and ends, as a bare stream of H.264.

    Raises:
      DataError: the film cannot be read.
    """
    found = [picture.seconds for picture in Decoded(film, colour="grey", size=(1, 1))]
    seconds = np.array(found, np.float64)  # None becomes NaN
    told = np.isfinite(seconds)
    if not told[[0, -1]].all():
        return None
    at = np.arange(len(seconds))
    return np.interp(at, at[told], seconds[told])


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
