"""The record of a raw data set: its videos by name, where their truth lies, which are anomalous."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad_jax.data.source import Source


class Event(NamedTuple):
    """One anomaly of a video.

    Attributes:
      start, end: its frames, 0-based and half-open; the end may lie beyond the video.
      kind: its class, or an empty text where the truth names none.
    """

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Dataset:
    """What a raw folder holds, by name only.

    Attributes:
      name: as asked for.
      layout: `official`, `repacked`, `folder`, or `scoring` (one folder, no training part).
      root: the folder that holds the parts.
      training, testing: the videos in natural order.
      labels: file or folder with the truth of the test videos, or None.
      masks: folder with pixel masks, or None.
      fps: frames a second where it is known.
      times: test video → when each of its frames is seen, seconds `[F]`; films alone, decoded when
        first asked for. None where nobody has looked for them.
      ignored: entries passed over in silence: junk, texts for people, and `_gt` folders.
      notes: what a user should see: gaps, unknown files, counts unlike the published ones.
      scenes: test video → its scene, where several videos show the same one; else None.
      classes: video → the class of its anomaly, several with commas between; a video that is not
        in it is normal. None where no classes are known. Where a training and a test video have
        one name, the test video is meant.
      events: test video → its anomalies in the order of the truth, none for normal ones; None
        where the truth tells no classes. It and `classes` are read when first asked: DataError
        where the truth is spoilt.
    """

    name: str
    layout: str
    root: Path
    training: tuple[Source, ...]
    testing: tuple[Source, ...]
    labels: Path | None
    masks: Path | None
    fps: float | None
    ignored: int
    notes: tuple[str, ...] = ()
    times: Mapping[str, np.ndarray] | None = None
    scenes: Mapping[str, str] | None = None
    classes: Mapping[str, str] | None = None
    events: Mapping[str, tuple[Event, ...]] | None = None

    @property
    def anomalous(self) -> dict[str, str]:
        """The training videos that are not normal → the class of each.

        Only sets that refuse a name in both parts have such videos.
        """
        known = {} if self.classes is None else self.classes  # its truth value would read labels
        tested = {source.name for source in self.testing}
        names = [source.name for source in self.training if source.name not in tested]
        return {name: known[name] for name in names if name in known}
