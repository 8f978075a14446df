"""Score parts of whole videos and of streams: one mechanism, constant memory.

Frames are pushed into a buffer that cuts windows; the windows are scored a batch at a time. With a
carry a batch is one window by default, in files as in streams, so that both run the same compiled
function and a gate decides alike in both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from vad_jax.data.windows import WindowBuffer
from vad_jax.types import Method, Scores, Variables

_BATCH = 16  # windows at a time where there is no carry


class Video(Protocol):
    """What is scored: a name, and frames uint8 `[H, W, C]` in order, None for a broken one."""

    name: str

    def stream(self) -> Iterator[np.ndarray | None]: ...


class VideoScores(NamedTuple):
    """The windows of one video. W windows, S frames that a window scores.

    Attributes:
      name: of the video.
      length: its frames.
      first: first frame of each window, int32 `[W]`.
      parts: name → float64 `[W, S]` (or `[W, S, K]`).
      maps: float32 `[W, S, h, w]`, or None where they were not asked for or the method has none.
    """

    name: str
    length: int
    first: np.ndarray
    parts: dict[str, np.ndarray]
    maps: np.ndarray | None


class Stream:
    """Scores one stream of frames as they come.

    Args:
      method, variables: what scores.
      rows: windows that are scored at once; scores come when so many are complete, or on `flush`.
      maps: whether results hold error maps.
      carry: to go on from; by default that of a new stream.
    """

    def __init__(
        self,
        method: Method,
        variables: Variables,
        *,
        rows: int = 1,
        maps: bool = False,
        carry: Any = None,
    ):
        self._score = compiled(method, maps=maps)
        self._variables, self._spec, self._rows = variables, method.inputs, rows
        self.carry = method.start(variables) if carry is None else carry
        self._buffer, self._waiting = WindowBuffer(method.inputs), []

    def push(self, frame: np.ndarray | None) -> list[tuple[np.ndarray, Scores]]:
        """Takes the next frame; returns finished batches: first frames, and parts on the device."""
        self._waiting += self._buffer.push(frame)
        return list(self._batches(flush=False))

    def flush(self) -> list[tuple[np.ndarray, Scores]]:
        """Ends the stream: what waits is scored, and the window aligned with the end, if any."""
        self._waiting += self._buffer.flush()
        return list(self._batches(flush=True))

    def _batches(self, *, flush: bool) -> Iterator[tuple[np.ndarray, Scores]]:
        while len(self._waiting) >= self._rows or (flush and self._waiting):
            now, self._waiting = self._waiting[: self._rows], self._waiting[self._rows :]
            first = np.array([start for start, _ in now], np.int32)
            empty = self._rows - len(now)
            clips = np.stack([clip for _, clip in now] + [now[0][1]] * empty)
            batch = {
                "frames": clips,
                "mask": np.arange(self._rows) < len(now),
                "video": np.zeros(self._rows, np.int32),
                "frame": np.append(first, np.zeros(empty, np.int32)),
            }
            self.carry, scores = self._score(self._variables, self.carry, batch)
            yield first, scores


def score_videos(
    method: Method,
    variables: Variables,
    videos: Iterable[Video],
    *,
    rows: int | None = None,
    maps: bool = False,
    anew: bool = False,
    progress: Callable[[int], Any] = lambda frames: None,
) -> Iterator[VideoScores]:
    """Scores videos one after the other.

    Args:
      method, variables: what scores.
      videos: in the order in which a carry goes through them.
      rows: windows at a time; by default 16 without a carry and 1 with one.
      maps: whether error maps are kept.
      anew: start each video anew even where the method carries over the set.
      progress: called with the number of frames that have been read since the last call.

    Yields:
      One result a video, also for one without a window (W = 0).
    """
    carried = method.carry_over != "none"
    rows = rows or (1 if carried else _BATCH)
    carry = None
    for video in videos:
        fresh = anew or method.carry_over != "set"
        stream = Stream(method, variables, rows=rows, maps=maps, carry=None if fresh else carry)
        done, length = [], 0
        for frame in video.stream():
            done += stream.push(frame)
            length += 1
            progress(1)
        done += stream.flush()
        carry = stream.carry
        yield _joined(method, video.name, length, done, maps=maps)


@functools.lru_cache(maxsize=16)
def compiled(method: Method, *, maps: bool) -> Callable[..., tuple[Any, Scores]]:
    """The method's `score` under jit; error maps are dropped inside where nobody wants them."""

    def score(variables, carry, batch):
        carry, scores = method.score(variables, carry, batch)
        return carry, scores if maps else scores._replace(maps=None)

    return jax.jit(score)


def _joined(method, name, length, done, *, maps) -> VideoScores:
    counts = [len(first) for first, _ in done]
    done = jax.device_get([scores for _, scores in done]), [first for first, _ in done]
    scored = len(method.inputs.scored)

    def join(values, shape, dtype):
        cut = [np.asarray(v[:n], dtype) for v, n in zip(values, counts, strict=True)]
        return np.concatenate(cut) if cut else np.empty(shape, dtype)

    names = done[0][0].parts if done[0] else ()
    parts = {
        part: join([s.parts[part] for s in done[0]], (0, scored), np.float64) for part in names
    }
    first = np.concatenate(done[1]) if done[1] else np.empty(0, np.int32)
    shape = (0, scored, method.inputs.height, method.inputs.width)
    drawn = maps and all(s.maps is not None for s in done[0])
    kept = join([s.maps for s in done[0]], shape, np.float32) if drawn else None
    return VideoScores(name, length, first, parts, kept)
