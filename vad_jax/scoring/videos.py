"""Scores whole videos in constant memory: the one way to score a file.

Several videos that each have a carry of their own go side by side, to rounding; any others go one
after the other through a `Stream`. Error maps are handed on batch by batch and never kept.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

from vad_jax.data.ahead import ahead
from vad_jax.scoring.results import Collected
from vad_jax.scoring.slots import Slots
from vad_jax.scoring.stream import Stream, at_once
from vad_jax.types import Method, Scores, Variables, VideoScores

_STREAMS = 8  # videos side by side, at most, where each has a carry of its own
_ROWS = 4  # rows at a time of each of these
_AHEAD = 32  # frames that are read before they are needed
_PENDING = 4  # batches that may wait for the device: the bound on what they hold in memory

Each = Callable[[str, np.ndarray, Scores], Any]


class Video(Protocol):
    """What is scored: a name, and frames uint8 `[H, W, C]` in order, None for a broken one."""

    name: str

    def stream(self) -> Iterator[np.ndarray | None]: ...


def score_videos(
    method: Method,
    variables: Variables,
    videos: Iterable[Video],
    *,
    rows: int | None = None,
    streams: int = _STREAMS,
    each: Each | None = None,
    anew: bool = False,
    progress: Callable[[int], Any] = lambda frames: None,
) -> Iterator[VideoScores]:
    """Scores videos; frames are read and results fetched while the device computes.

    Args:
      method, variables: what scores.
      videos: in the order in which a carry goes through them.
      rows: rows of a video at a time; by default 16 without a carry, 4 of videos side by side, 1 of
        a video alone with a carry.
      streams: most videos side by side, where each has a carry of its own. With more than one,
        rounding differs from a stream's, and so may a gate at its very threshold.
      each: called with a video's name, first frames `[R]` and scores of every batch of its rows, on
        the host, error maps included; those of one video come in order. Without it no map is made.
      anew: start each video anew even where the method carries over the set.
      progress: called with the number of frames that have been read since the last call.

    Yields:
      One result a video, in order, also for one without a row (R = 0).
    """
    carried = method.carry_over != "none"
    own = carried and (anew or method.carry_over == "video")
    videos = list(videos)
    if own and min(streams, len(videos)) > 1:
        number = min(streams, len(videos))
        slots = Slots(method, variables, number, rows=rows or _ROWS, maps=each is not None)
        yield from _side_by_side(method, slots, videos, number, rows or _ROWS, each, progress)
        return
    carry = None
    for video in videos:
        stream = Stream(
            method, variables, rows=rows or at_once(method), maps=each is not None, carry=carry
        )
        yield _one(stream, video, each, progress)
        carry = None if own else stream.carry


def _one(stream: Stream, video: Video, each: Each | None, progress) -> VideoScores:
    """All frames of a video through a stream; few batches at a time lie on the device."""
    pending: deque = deque()
    collected, length = Collected(stream.method.inputs), 0

    def fetch(most):
        while len(pending) > most:
            first, scores = pending.popleft()
            scores = collected.add(first, scores)
            if each is not None:
                each(video.name, first, scores)

    for frame in ahead(video.stream(), _AHEAD):
        pending += stream.push(frame)
        fetch(_PENDING)
        length += 1
        progress(1)
    pending += stream.flush()
    fetch(0)
    return collected.video(video.name, length)


def _side_by_side(
    method, slots: Slots, videos, number: int, rows: int, each, progress
) -> Iterator[VideoScores]:
    """Where a video ends, the next one takes its slot."""
    coming = iter([_Reading(video, Collected(method.inputs)) for video in videos])
    every: list[_Reading] = []  # in the order of their videos, until they are handed out
    places: list[_Reading | None] = [None] * number
    pending: deque = deque()

    def fetch(most):
        while len(pending) > most:
            owners, scores = pending.popleft()
            scores = jax.device_get(scores)
            for slot, (reading, first) in owners.items():
                own = reading.collected.add(first, _slot(scores, slot))
                reading.unfetched -= 1
                if each is not None:
                    each(reading.name, first, own)

    with contextlib.ExitStack() as stack:
        while True:
            for slot in range(number):
                if places[slot]:
                    places[slot].fill(slots, slot, rows, progress)
                while not slots.waiting(slot) and (reading := next(coming, None)):
                    places[slot] = reading
                    stack.callback(reading.close)
                    every.append(reading)
                    slots.begin(slot)
                    reading.open()
                    reading.fill(slots, slot, rows, progress)
            scored = slots.step()
            if scored is None:
                break
            owners = {slot: (places[slot], first) for slot, first in scored[0].items()}
            for slot, (reading, _) in owners.items():
                reading.unfetched += 1
                reading.left = slots.waiting(slot)
            pending.append((owners, scored[1]))
            fetch(_PENDING)
            while every and every[0].finished:
                yield every.pop(0).result()
        fetch(0)
        for reading in every:
            yield reading.result()


def _slot(scores: Scores, slot: int) -> Scores:
    parts = {name: part[slot] for name, part in scores.parts.items()}
    others = (None if leaf is None else leaf[slot] for leaf in (scores.maps, scores.boxes))
    return Scores(parts, *others)


class _Reading:
    """One of several videos side by side."""

    def __init__(self, video: Video, collected: Collected):
        self._video, self.name, self.collected = video, video.name, collected
        self._length, self._ended = 0, False
        self.unfetched = 0  # batches with rows of it that are not fetched yet
        self.left = 0  # rows that wait for the next step

    def open(self) -> None:
        self._frames = ahead(self._video.stream(), _AHEAD)

    def close(self) -> None:
        self._frames.close()

    def fill(self, slots: Slots, slot: int, rows: int, progress) -> None:
        """Reads until a step has its rows, or the video ends."""
        while slots.waiting(slot) < rows and not self._ended:
            for frame in self._frames:
                slots.push(slot, frame)
                self._length += 1
                progress(1)
                break
            else:
                slots.flush(slot)
                self._ended = True
        self.left = slots.waiting(slot)

    @property
    def finished(self) -> bool:
        return self._ended and not self.left and not self.unfetched

    def result(self) -> VideoScores:
        return self.collected.video(self.name, self._length)
