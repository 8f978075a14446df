"""The raw grey frames that evaluation's controls look at."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.types import DataError

log = logging.getLogger(__name__)


def grey_frames(source: Source) -> Iterator[np.ndarray]:
    """The raw frames of a video, uint8 `[H, W]`; a bad one repeats the one before it.

    Raises:
      DataError: the video cannot be read.
    """
    last, missing = None, 0
    for picture in Decoded(source, colour="grey"):
        if isinstance(picture, DataError):
            missing += 1
            frames = [] if last is None else [last]
        else:
            frame = picture.pixels[..., 0]
            frames = [frame] * (1 + (missing if last is None else 0))
            last = frame
        yield from frames


def mean_grey(
    sources: Sequence[Source],
    size: tuple[int, int],
    *,
    left_out: Mapping[str, Collection[int]] | None = None,
) -> np.ndarray | None:
    """The mean of all frames, float64 `[H, W]`.

    Args:
      sources: training videos; one that cannot be read is named and left out.
      size: (height, width) of the frames that it is compared with; of another: None.
      left_out: video → positions that training leaves out (`splits.excluded`).
    """
    total, number = 0, 0
    for source in tqdm(sources, desc="mean frame", unit="video", disable=None, leave=False):
        try:
            gone = (left_out or {}).get(source.name, ())
            for position, frame in enumerate(grey_frames(source)):
                if position in gone:
                    continue
                if frame.shape != size:
                    log.warning("Training frames have another size: no control `distance to mean`.")
                    return None
                total, number = total + frame.astype(np.float64), number + 1
        except DataError as error:  # training left the video out, too
            log.warning("Not in the mean frame: %s", error)
    return total / number if number else None
