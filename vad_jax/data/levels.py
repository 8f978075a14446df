"""Pictures of more than 8 bits a value: from thermal cameras and microscopes, mostly 12 in 16.

A frame has 256 levels here. Where the range of a whole set is known each value is mapped to them,
by one scale for all frames: a range of each frame's own would hide a hot object. Where it is not
known nothing is guessed: what 8 bits cannot hold is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad_jax.types import ConfigError, DataError

Levels = tuple[float, float]  # the values that become 0 and 255; those beyond are clipped


def in_bytes(values: np.ndarray, levels: Levels | None) -> np.ndarray:
    """Values of any type as uint8 of the same shape.

    Args:
      values: integer or floating; uint8 comes back as it is.
      levels: the range of the whole set. None where 8 bits hold all that 16 do: the lower 8 are
        all zero, or repeat the upper ones.

    Raises:
      DataError: more than 8 bits hold, and no levels; or a value that is no number. The message
        is the end of a sentence that begins with the file.
    """
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise DataError("holds values that are no numbers (NaN or infinite)")
    if levels is None:
        if values.dtype == np.uint16:
            high, low = values >> 8, values & 255
            if ((low == 0) | (low == high)).all():
                return high.astype(np.uint8)
        raise DataError(
            f"has {values.dtype.itemsize * 8} bits a value (here {values.min():g} to "
            f"{values.max():g}), and 256 levels are kept. Give the range of the whole set, the "
            "same for all its frames: data.levels=LOW,HIGH; or convert it to 8 bits"
        )
    low, high = levels
    share = (values.astype(np.float64) - low) / (high - low)
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)


def given_levels(given: str | Sequence[float | str] | None, option: str) -> Levels | None:
    """A range as a person writes it, `LOW,HIGH` or two numbers; None or nothing for none.

    Raises:
      ConfigError: anything else; it names the option.
    """
    if not given:
        return None
    values = given.split(",") if isinstance(given, str) else given
    try:
        low, high = map(float, values)
    except ValueError:
        raise ConfigError(f"{option} = {given!r}: give two numbers, LOW,HIGH, or none.") from None
    check_levels((low, high))
    return low, high


def check_levels(levels: Levels | None) -> None:
    """Raises ConfigError where the range is none."""
    if levels is not None and not (np.isfinite(levels).all() and levels[0] < levels[1]):
        raise ConfigError(
            f"The levels are {levels[0]:g},{levels[1]:g}: give the value that is black and a "
            "larger one that is white."
        )
