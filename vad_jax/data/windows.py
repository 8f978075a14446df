"""Which frames make a window and which windows make a batch: pure functions, no file is opened.

Both backends follow them, so that they give identical batches. Letters: R rows, B rows of a
batch, L lead + T frames of a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np

from vad_jax.types import InputSpec


def offsets(spec: InputSpec) -> np.ndarray:
    """Frames of a row relative to the window's first, lead included, int `[L]`."""
    return np.arange(-spec.lead, spec.frames) * spec.stride


def frame_indices(spec: InputSpec, first: np.ndarray) -> np.ndarray:
    """The frames of windows that begin at `first` `[R]`: `[R, L]`, the lead clipped to frame 0."""
    return np.maximum(np.asarray(first)[..., None] + offsets(spec), 0)


def starts(spec: InputSpec, length: int, broken: Collection[int] = ()) -> np.ndarray:
    """First frames of the windows of a video of `length` frames, int32.

    A window over a broken frame, lead included, is left out.
    """
    last = length - spec.span
    if last < 0:
        return np.empty(0, np.int32)
    first = np.arange(0, last + 1, spec.step, dtype=np.int32)
    if spec.tail == "align" and first[-1] != last:
        first = np.append(first, np.int32(last))
    return first[~np.isin(frame_indices(spec, first), list(broken)).any(axis=1)]


def rows(
    spec: InputSpec, lengths: Sequence[int], broken: Sequence[Collection[int]] | None = None
) -> np.ndarray:
    """Every window of every video in order: int32 `[R, 2]`, video and first frame."""
    broken = broken or [()] * len(lengths)
    every = [np.empty((0, 2), np.int32)]
    for video, (length, gaps) in enumerate(zip(lengths, broken, strict=True)):
        first = starts(spec, length, gaps)
        every.append(np.stack([np.full_like(first, video), first], axis=1))
    return np.concatenate(every)


def batches(
    spec: InputSpec,
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    broken: Sequence[Collection[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The shuffled batches of one training epoch, a pure function of its arguments.

    The last short batch is dropped, as the published trainings do, unless it is the only one.

    Returns:
      Rows int32 `[N, B, 2]` and mask bool `[N, B]`.
    """
    every = rows(spec, lengths, broken)
    order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(len(every))
    if len(every) >= batch_size:
        order = order[: len(every) // batch_size * batch_size]
    return _pack(every[order], batch_size)


def in_order(
    spec: InputSpec,
    lengths: Sequence[int],
    *,
    batch_size: int,
    broken: Sequence[Collection[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Every window once, in order: rows `[N, B, 2]`, mask `[N, B]`; the last batch is padded."""
    return _pack(rows(spec, lengths, broken), batch_size)


def _pack(every: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    number = -(-len(every) // batch_size)
    padding = number * batch_size - len(every)
    mask = np.arange(number * batch_size) < len(every)
    padded = np.concatenate([every, np.repeat(every[:1], padding, axis=0)])
    return padded.reshape(number, batch_size, 2), mask.reshape(number, batch_size)


Window = tuple[int, list[np.ndarray]]  # first frame, and the L frames, not copied


class WindowBuffer:
    """Cuts a stream of frames into the windows that `starts` names, in constant memory."""

    def __init__(self, spec: InputSpec):
        self.spec = spec
        self._frames: deque = deque(maxlen=spec.span + spec.lead * spec.stride)
        self._seen = 0

    def push(self, frame: np.ndarray | None) -> list[Window]:
        """Takes the next frame `[H, W, C]`, or None for a broken one; returns what it completes."""
        self._frames.append(frame)
        self._seen += 1
        first = self._seen - self.spec.span
        return self._window(first) if first >= 0 and first % self.spec.step == 0 else []

    def flush(self) -> list[Window]:
        """The window aligned with the end of the video, where the spec asks for one."""
        first = self._seen - self.spec.span
        late = self.spec.tail == "align" and first > 0 and first % self.spec.step != 0
        return self._window(first) if late else []

    def _window(self, first: int) -> list[Window]:
        oldest = self._seen - len(self._frames)
        frames = [self._frames[i - oldest] for i in frame_indices(self.spec, first)]
        if any(frame is None for frame in frames):
            return []
        return [(first, frames)]
