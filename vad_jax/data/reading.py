"""The frames of a raw video in order, whether it is pictures or a film.

In this process: `data/decoder.py` calls it in one that may die.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from vad_jax.data.source import Source
from vad_jax.data.video import Colour, read_image
from vad_jax.types import DataError

Frame = tuple[np.ndarray, float | None]


def frames(source: Source, *, colour: Colour) -> Generator[Frame | DataError, None, str | None]:
    """The frames of a video at their own size, and in the place of a bad one its error.

    Yields:
      A frame, uint8 `[H, W, C]`, and its time in seconds, None where the source has none; or a
      DataError.

    Returns:
      What is amiss with the whole video, or None.

    Raises:
      Unreadable: a film that cannot be opened or holds no frame.
      DataError: a playlist, or frames of two sizes.
    """
    read = _pictures if source.images is not None else _film
    found, size, position = read(source, colour), None, 0
    while True:
        try:
            frame = next(found)
        except StopIteration as end:
            return end.value
        if not isinstance(frame, DataError):
            size = size or frame[0].shape[:2]
            if frame[0].shape[:2] != size:
                raise DataError(
                    f"Video {source.name}, frame {position}: {_by(frame[0].shape)} pixels, the "
                    f"frames before {_by(size)}. All frames of a video must have one size."
                )
        yield frame
        position += 1


def _pictures(source: Source, colour: Colour):
    for position, path in enumerate(source.images):
        try:
            yield read_image(path, colour=colour, levels=source.levels), None
        except DataError as error:
            yield DataError(f"Video {source.name}, frame {position}: {error}")


def _film(source: Source, colour: Colour):
    from vad_jax.data.film import film_frames  # 0.2 s of loading, and not for pictures

    return film_frames(source, colour)


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"
