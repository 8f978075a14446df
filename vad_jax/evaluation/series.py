"""What is done to the scores of one video as a series: min–max and smoothing.

Source: evaluation.md section 4; mpn.md (edges of its smoothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vad_jax.types import ConfigError


def minmax(values: np.ndarray) -> np.ndarray:
    """(x − min) / (max − min) over the entries that are numbers; a constant becomes 0.

    >>> minmax(np.array([2.0, np.nan, 4.0, 3.0]))
    array([0. , nan, 1. , 0.5])
    """
    given = values[~np.isnan(values)]
    if not given.size:
        return values
    span = given.max() - given.min()
    return (values - given.min()) / (span if span > 0 else 1.0)


def backwards(values: np.ndarray) -> np.ndarray:
    """The scores `[F]` with the first one given to all frames before it, too.

    >>> backwards(np.array([np.nan, np.nan, 4.0, np.nan]))
    array([ 4.,  4.,  4., nan])
    """
    scored = np.flatnonzero(~np.isnan(values))
    if not scored.size:
        return values
    filled = values.copy()
    filled[: scored[0]] = values[scored[0]]
    return filled


def smooth(
    values: np.ndarray,
    kernel: Sequence[float],
    *,
    edges: Literal["nearest", "reflect", "zero"],
    causal: bool,
) -> np.ndarray:
    """A video's scores, averaged over neighbouring scored frames.

    Args:
      values: `[F]`; NaN entries are stepped over and stay NaN.
      kernel: taps, oldest first, used as they are (not renormalised).
      edges: `nearest` repeats the nearest value that was computed with a whole kernel; `reflect`
        mirrors the scores about the video's ends (the last value twice, as SciPy); `zero` goes on
        with zeros. Causal, `nearest` repeats the first score before the video, and there is no
        `reflect`, which would look ahead.
      causal: the kernel's last tap is the present frame; False centres it. A centred kernel
        leaves a video with fewer scored frames than taps as it is.
    """
    taps = np.asarray(kernel, np.float64)[::-1]  # np.convolve turns it back
    if edges not in ("nearest", "reflect", "zero") or (causal and edges == "reflect"):
        raise ConfigError(
            f"Smoothing {'by the past alone ' if causal else ''}cannot have the edges {edges!r}: "
            f"nearest{'' if causal else ', reflect'} or zero."
        )
    if causal:
        return smooth_on(values, kernel, edges=edges)[0]
    given = ~np.isnan(values)
    inner = values[given]
    if inner.size < taps.size:
        return values
    before, after = taps.size // 2, (taps.size - 1) // 2
    if edges == "nearest":
        whole = np.pad(np.convolve(inner, taps, "valid"), (before, after), mode="edge")
    else:
        mode = {"nearest": "edge", "reflect": "symmetric", "zero": "constant"}[edges]
        whole = np.convolve(np.pad(inner, (before, after), mode=mode), taps, "valid")
    smoothed = values.copy()
    smoothed[given] = whole
    return smoothed


def smooth_on(
    values: np.ndarray,
    kernel: Sequence[float],
    *,
    edges: Literal["nearest", "zero"],
    past: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Causal smoothing of a part of a video, which goes on from part to part.

    Args:
      values: `[F]`, the next frames; NaN entries are stepped over and stay NaN.
      kernel, edges: as `smooth`'s.
      past: what the part before gave back; None at the beginning.

    Returns:
      The smoothed scores `[F]`, and the past of the next part.
    """
    taps = np.asarray(kernel, np.float64)[::-1]  # np.convolve turns it back
    given = ~np.isnan(values)
    inner = values[given]
    if not inner.size:
        return values, past
    if past is None:
        past = np.full(taps.size - 1, inner[0] if edges == "nearest" else 0.0)
    whole = np.concatenate([past, inner])
    smoothed = values.copy()
    smoothed[given] = np.convolve(whole, taps, "valid")
    return smoothed, whole[len(whole) - taps.size + 1 :]
