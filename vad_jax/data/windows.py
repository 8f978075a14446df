"""Which frames make a window and which windows make a batch: pure functions, no file is opened.

Both backends follow them (by `data/rows.py`), so that they give identical batches. Letters: R rows,
B rows of a batch, L lead + T frames of a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np

from vad_jax.types import SEGMENTS, ConfigError, InputSpec


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


def apart(spec: InputSpec, first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Those of the windows `first` that share no frame, lead included, with any of `others`."""
    taken = np.unique(frame_indices(spec, others))
    return first[~np.isin(frame_indices(spec, first), taken).any(axis=1)]


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
    """One epoch of training windows in the spec's order.

    `shuffled`: every window, in an order of its own each epoch; what does not fill a last batch is
    left to the other epochs, unless there is not even one batch. `video_batch`: a batch is of one
    video, from as many different ones of its 32 segments, at one offset in each; each video has its
    turn as often as makes an epoch as long. Source: MPN's published code.

    Returns:
      rows int32 `[N, B, 2]` and mask bool `[N, B]`.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    if spec.order == "video_batch":
        return _video_batches(spec, lengths, batch_size, rng, broken)
    every = rows(spec, lengths, broken)
    order = rng.permutation(len(every))
    if len(every) >= batch_size:
        order = order[: len(every) // batch_size * batch_size]
    return pack(every[order], batch_size)


def segment_starts(first: np.ndarray) -> np.ndarray:
    """The windows of a video as 32 segments of equal length, `[32, W // 32]`; the rest is unused.

    Source: MPN's published code.
    """
    return first[: len(first) // SEGMENTS * SEGMENTS].reshape(SEGMENTS, -1)


def _video_batches(spec, lengths, batch_size, rng, broken):
    if batch_size > SEGMENTS:
        raise ConfigError(
            f"batch_size = {batch_size}: with windows of one video from different segments it is "
            f"{SEGMENTS} at most."
        )
    broken = broken or [()] * len(lengths)
    firsts = [starts(spec, *video) for video in zip(lengths, broken, strict=True)]
    able = [i for i, first in enumerate(firsts) if len(first) >= SEGMENTS]
    made = []
    for _ in range(rounds(sum(len(firsts[i]) for i in able), batch_size * len(able))):
        for video in rng.permutation(able):
            segments = segment_starts(firsts[video])
            chosen = rng.choice(SEGMENTS, batch_size, replace=False)
            first = segments[chosen, rng.integers(segments.shape[1])]
            made.append(np.stack([np.full_like(first, video), first], axis=1))
    shape = (len(made), batch_size)
    return np.array(made, np.int32).reshape(*shape, 2), np.ones(shape, bool)


def rounds(number: int, taken: int) -> int:
    """How often rows that take so many windows at a time are drawn for about all to be seen."""
    return max(1, round(number / taken)) if taken else 0


def in_order(
    spec: InputSpec,
    lengths: Sequence[int],
    *,
    batch_size: int,
    broken: Sequence[Collection[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Every window once, in order: rows `[N, B, 2]`, mask `[N, B]`; the last batch is padded."""
    return pack(rows(spec, lengths, broken), batch_size)


def pack(every: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[R, …]` as batches `[N, B, …]`, the last one padded with the first row, and masks."""
    number = -(-len(every) // batch_size)
    padding = number * batch_size - len(every)
    mask = np.arange(number * batch_size) < len(every)
    padded = np.concatenate([every, np.repeat(every[:1], padding, axis=0)])
    return padded.reshape(number, batch_size, *every.shape[1:]), mask.reshape(number, batch_size)


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
