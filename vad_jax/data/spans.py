"""Which frames a window has, and where the windows of a video begin.

Pure functions of a spec and lengths. Letters: R windows, L lead + T frames of a window.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from vad_jax.types import InputSpec


def offsets(spec: InputSpec) -> np.ndarray:
    """Frames of a window relative to its first, lead included, int `[L]`."""
    return np.arange(-spec.lead, spec.frames) * spec.stride


def frame_indices(spec: InputSpec, first: np.ndarray) -> np.ndarray:
    """The frames of windows that begin at `first` `[R]`: `[R, L]`, the lead clipped to frame 0."""
    return np.maximum(np.asarray(first)[..., None] + offsets(spec), 0)


def starts(spec: InputSpec, length: int, broken: Collection[int] = ()) -> np.ndarray:
    """First frames of the windows of a video of `length` frames, int32 `[R]`, rising.

    A window over a broken frame, lead included, is left out.
    """
    last = length - spec.span
    if last < 0:
        return np.empty(0, np.int32)
    first = np.arange(0, last + 1, spec.step, dtype=np.int32)
    if spec.tail == "align" and first[-1] != last:
        first = np.append(first, np.int32(last))
    return first[~np.isin(frame_indices(spec, first), list(broken)).any(axis=1)]


def apart(spec: InputSpec, first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Those of the windows `first` that share no frame, lead included, with any of `others`."""
    taken = np.unique(frame_indices(spec, others))
    return first[~np.isin(frame_indices(spec, first), taken).any(axis=1)]


def segments_of(first: np.ndarray, number: int) -> np.ndarray:
    """The windows of a video as equal segments, `[number, R // number]`; the rest is unused."""
    return first[: len(first) // number * number].reshape(number, -1)
