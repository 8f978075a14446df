"""Score parts of whole videos and of streams: one mechanism, constant memory.

Frames are pushed into a buffer that cuts windows; the windows are scored a batch at a time. One
video with a carry goes window by window, in a file as in a stream, so that both run the same
compiled function and a gate decides alike in both. Several videos that each have a carry of their
own go side by side, to rounding.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.data.ahead import ahead
from vad_jax.data.windows import Window, WindowBuffer, frame_indices
from vad_jax.types import Batch, DataError, InputSpec, Method, Scores, Variables

_BATCH = 16  # windows at a time where there is no carry
_STREAMS = 8  # videos side by side, at most, where each has a carry of its own
_ROWS = 4  # windows at a time of each of these
_AHEAD = 32  # frames that are read before they are needed
_MERGED = 1024  # batches of a video that are kept apart, at most
_PENDING = 4  # batches that may wait for the device: the bound on what they hold in memory


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
        self.method, self._score = method, compiled(method, maps=maps)
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
            now, self._waiting = _taken(self._spec, self._waiting, self._rows)
            batch = _packed(self._spec, now, self._rows)
            self.carry, scores = self._score(self._variables, self.carry, batch)
            yield batch["frame"][: len(now)], scores


def score_videos(
    method: Method,
    variables: Variables,
    videos: Iterable[Video],
    *,
    rows: int | None = None,
    streams: int = _STREAMS,
    maps: bool = False,
    anew: bool = False,
    progress: Callable[[int], Any] = lambda frames: None,
) -> Iterator[VideoScores]:
    """Scores videos; frames are read and results fetched while the device computes.

    Args:
      method, variables: what scores.
      videos: in the order in which a carry goes through them.
      rows: windows of a video at a time; by default 16 without a carry, 4 of videos side by side,
        1 of a video alone with a carry.
      streams: most videos side by side, where each has a carry of its own. With more than one,
        rounding differs from a stream's, and so may a gate at its very threshold.
      maps: whether error maps are kept.
      anew: start each video anew even where the method carries over the set.
      progress: called with the number of frames that have been read since the last call.

    Yields:
      One result a video, in order, also for one without a window (W = 0).
    """
    carried = method.carry_over != "none"
    own = carried and (anew or method.carry_over == "video")
    videos = list(videos)
    if own and min(streams, len(videos)) > 1:
        yield from _side_by_side(
            method, variables, videos, streams, rows or _ROWS, maps=maps, progress=progress
        )
        return
    rows, carry = rows or (1 if carried else _BATCH), None
    for video in videos:
        stream = Stream(method, variables, rows=rows, maps=maps, carry=carry)
        yield _whole(stream, video.name, video.stream(), progress=progress, maps=maps)
        carry = None if own else stream.carry


def score_video(
    method: Method,
    variables: Variables,
    frames: Iterable[np.ndarray | None],
    *,
    name: str = "video",
    each: Callable[[np.ndarray, Scores], Any] | None = None,
) -> VideoScores:
    """Scores one video, started anew, in memory that does not grow with its error maps.

    Args:
      method, variables: what scores.
      frames: uint8 `[H, W, C]` in order, None for a broken one.
      name: of the video.
      each: called with the first frames `[W]` and the scores, maps included, of every batch of
        windows as it comes; the maps are not kept.
    """
    rows = _BATCH if method.carry_over == "none" else 1
    stream = Stream(method, variables, rows=rows, maps=each is not None)
    return _whole(stream, name, frames, each=each)


def _whole(
    stream: Stream,
    name: str,
    frames: Iterable[np.ndarray | None],
    *,
    maps: bool = False,
    each: Callable[[np.ndarray, Scores], Any] | None = None,
    progress: Callable[[int], Any] = lambda frames: None,
) -> VideoScores:
    """All frames of a video through a stream; few batches at a time lie on the device."""
    pending, done, length = deque(), [], 0
    merged = [0]  # entries of `done` that are many batches in one

    def fetch(most):
        while len(pending) > most:
            first, scores = pending.popleft()
            scores = jax.device_get(scores)
            if each is not None:
                each(first, scores)
                scores = scores._replace(maps=None)
            done.append((first, scores))
            if len(done) - merged[0] == _MERGED and not maps:
                done[merged[0] :] = [_merged(done[merged[0] :])]
                merged[0] += 1

    for frame in ahead(frames, _AHEAD):
        pending += stream.push(frame)
        fetch(_PENDING)
        length += 1
        progress(1)
    pending += stream.flush()
    fetch(0)
    return _joined(stream.method, name, length, done, maps=maps)


def _side_by_side(
    method, variables, videos, streams, rows, *, maps, progress
) -> Iterator[VideoScores]:
    """Where a video ends, the next one takes its place with a new carry."""
    spec, number = method.inputs, min(streams, len(videos))
    score = compiled(method, maps=maps, streams=True)
    start = method.start(variables)
    carries = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), start)
    coming = iter([_Lane(video) for video in videos])
    every = []  # lanes in the order of their videos, until they are handed out
    lanes: list[_Lane | None] = [None] * number
    pending: deque = deque()

    def collect(most):
        while len(pending) > most:
            owners, scores = pending.popleft()
            scores = jax.device_get(scores)
            for place, (lane, first) in owners.items():
                own = jax.tree.map(lambda leaf, i=place: leaf[i], scores)
                lane.done.append((first, own))
                lane.waiting -= 1

    with contextlib.ExitStack() as stack:
        while True:
            packed, owners = [], {}
            for place in range(number):
                windows = lanes[place].take(rows, progress) if lanes[place] else []
                while not windows and (lane := next(coming, None)):
                    lanes[place] = lane
                    stack.callback(lane.close)
                    every.append(lane)
                    lane.open(spec)
                    carries = jax.tree.map(
                        lambda all, new, i=place: all.at[i].set(new), carries, start
                    )
                    windows = lane.take(rows, progress)
                packed.append(_packed(spec, windows, rows))
                if windows:
                    first = np.array([position for position, _ in windows], np.int32)
                    owners[place] = lanes[place], first
                    lanes[place].waiting += 1
            if not owners:
                break
            batch = jax.tree.map(lambda *leaves: np.stack(leaves), *packed)
            carries, scores = score(variables, carries, batch)
            pending.append((owners, scores))
            collect(_PENDING)
            while every and every[0].finished:
                lane = every.pop(0)
                yield _joined(method, lane.name, lane.length, lane.done, maps=maps)
        collect(0)
        for lane in every:
            yield _joined(method, lane.name, lane.length, lane.done, maps=maps)


class _Lane:
    """One of several videos side by side."""

    def __init__(self, video: Video):
        self._video, self.name = video, video.name
        self.length, self.done, self._ended = 0, [], False
        self.waiting = 0  # batches with windows of it that are not fetched yet
        self._windows: list[Window] = []

    def open(self, spec: InputSpec) -> None:
        self._frames, self._buffer = ahead(self._video.stream(), _AHEAD), WindowBuffer(spec)

    def close(self) -> None:
        self._frames.close()

    @property
    def finished(self) -> bool:
        return self._ended and not self._windows and not self.waiting

    def take(self, rows: int, progress: Callable[[int], Any]) -> list[Window]:
        """The next windows; fewer than `rows` at the end of the video and around broken frames."""
        while len(self._windows) < rows and not self._ended:
            for frame in self._frames:
                self._windows += self._buffer.push(frame)
                self.length += 1
                progress(1)
                break
            else:
                self._windows += self._buffer.flush()
                self._ended = True
        now, self._windows = _taken(self._buffer.spec, self._windows, rows)
        return now


def _most_frames(spec: InputSpec, rows: int) -> int:
    """Frames of so many windows that follow one another, each frame once."""
    length = spec.lead + spec.frames
    return min(rows * length, (rows - 1) * spec.step + (length - 1) * spec.stride + 1)


def _taken(spec: InputSpec, waiting: list[Window], rows: int) -> tuple[list[Window], list[Window]]:
    """The next windows of a batch, and the rest; behind a gap there may be room for fewer."""
    number = min(rows, len(waiting))
    while number > 1 and len(_numbers(spec, waiting[:number])[0]) > _most_frames(spec, rows):
        number -= 1
    return waiting[:number], waiting[number:]


def _numbers(spec: InputSpec, windows: list[Window]) -> tuple[np.ndarray, np.ndarray]:
    """The frames of the windows, each once, and which of them each window has, `[W, L]`."""
    every = frame_indices(spec, np.array([first for first, _ in windows]))
    numbers, places = np.unique(every, return_inverse=True)
    return numbers, places.reshape(every.shape)


def _packed(spec: InputSpec, windows: list[Window], rows: int) -> Batch:
    """A batch of `rows` windows; those that are missing are masked.

    Windows share frames: each goes to the device once, in `chunk`, and `index` says where a window
    has it (`_gathered`).
    """
    size, length = (spec.height, spec.width, spec.channels), spec.lead + spec.frames
    dtype = windows[0][1][0].dtype if windows else np.uint8
    chunk = np.zeros((_most_frames(spec, rows), *size), dtype)
    first, index = np.zeros(rows, np.int32), np.zeros((rows, length), np.int32)
    if windows:
        _, places = _numbers(spec, windows)
        index[: len(windows)] = places
        first[: len(windows)] = [start for start, _ in windows]
        own = zip(
            places.ravel().tolist(), (f for _, frames in windows for f in frames), strict=True
        )
        for place, frame in dict(own).items():
            if frame.shape != size:
                raise DataError(f"A frame is {list(size)} [H, W, C]; this one {frame.shape}.")
            chunk[place] = frame
    mask = np.arange(rows) < len(windows)
    video = np.zeros(rows, np.int32)
    return {"chunk": chunk, "index": index, "mask": mask, "video": video, "frame": first}


def _gathered(batch: Batch) -> Batch:
    """The batch as methods know it: `frames` `[B, L, H, W, C]`."""
    rest = {name: value for name, value in batch.items() if name not in ("chunk", "index")}
    return {"frames": batch["chunk"][batch["index"]], **rest} if "chunk" in batch else batch


@functools.lru_cache(maxsize=16)
def compiled(
    method: Method, *, maps: bool, streams: bool = False
) -> Callable[..., tuple[Any, Scores]]:
    """The method's `score` under jit; error maps are dropped inside where nobody wants them.

    With `streams` carry and batch have a first axis more: streams side by side.
    """

    def score(variables, carry, batch):
        carry, scores = method.score(variables, carry, _gathered(batch))
        return carry, scores if maps else scores._replace(maps=None)

    return jax.jit(jax.vmap(score, in_axes=(None, 0, 0)) if streams else score)


def _merged(done: list[tuple[np.ndarray, Scores]]) -> tuple[np.ndarray, Scores]:
    """Batches without maps as one: a thousand small arrays weigh more than their numbers."""
    parts = {
        name: np.concatenate([scores.parts[name][: len(first)] for first, scores in done])
        for name in done[0][1].parts
    }
    return np.concatenate([first for first, _ in done]), Scores(parts)


def _joined(method, name, length, done, *, maps) -> VideoScores:
    """The batches of one video, on the host, as one."""
    counts = [len(first) for first, _ in done]
    done = [scores for _, scores in done], [first for first, _ in done]
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
