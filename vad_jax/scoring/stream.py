"""Scores one stream of frames as they come.

Frames are cut into windows, windows are scored some at a time. With a carry they go one by one, in
a file as in a stream, so that both run the same compiled function and a gate decides alike in both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from vad_jax.data import rows
from vad_jax.types import ConfigError, InputSpec, Method, Scores, Variables

TOGETHER = 16  # rows at a time where there is no carry


class Stream:
    """One stream.

    Args:
      method, variables: what scores.
      rows: rows that are scored at once; scores come when so many are complete, or on `flush`.
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
        self._kind = streamed(method.inputs)
        self._cutter, self._waiting = self._kind.cutter(method.inputs), []

    @property
    def horizon(self) -> int:
        """The first frame that a row may score which is still to come."""
        first = min([self._cutter.horizon, *(first for first, _ in self._waiting)])
        return first + self._spec.stride * min(self._spec.scored)

    def push(self, frame: np.ndarray | None) -> list[tuple[np.ndarray, Scores]]:
        """Takes the next frame, None for a lost one.

        Returns:
          Finished batches: first frames `[R]`, and scores on the device, of R rows and padding.
        """
        self._waiting += self._cutter.push(frame)
        return list(self._batches(flush=False))

    def nothing(self) -> tuple[np.ndarray, Scores]:
        """A batch without a row, which shows what parts there are and of which shape."""
        batch = self._kind.packed(self._spec, [], self._rows)
        _, scores = jax.eval_shape(self._score, self._variables, self.carry, batch)
        empty = jax.tree.map(lambda leaf: np.empty((0, *leaf.shape[1:]), leaf.dtype), scores)
        return np.empty(0, np.int32), empty

    def flush(self) -> list[tuple[np.ndarray, Scores]]:
        """Ends the stream: what waits is scored, and the window aligned with the end, if any."""
        self._waiting += self._cutter.flush()
        return list(self._batches(flush=True))

    def _batches(self, *, flush: bool) -> Iterator[tuple[np.ndarray, Scores]]:
        while len(self._waiting) >= self._rows or (flush and self._waiting):
            now, self._waiting = self._kind.taken(self._spec, self._waiting, self._rows)
            batch = self._kind.packed(self._spec, now, self._rows)
            self.carry, scores = self._score(self._variables, self.carry, batch)
            yield batch["frame"][: len(now)], scores


def streamed(spec: InputSpec) -> rows.Rows:
    """The functions of a spec's rows. Raises ConfigError for rows that no stream has."""
    kind = rows.kind(spec)
    if kind.cutter is None:
        raise ConfigError(
            f"Rows that are {type(spec.row).__name__} come from whole videos alone: a method is "
            "scored on rows that a stream has, windows say."
        )
    return kind


def at_once(method: Method) -> int:
    """Rows of one stream that are scored at once."""
    return TOGETHER if method.carry_over == "none" else 1


@functools.lru_cache(maxsize=16)
def compiled(
    method: Method, *, maps: bool, streams: bool = False
) -> Callable[..., tuple[Any, Scores]]:
    """The method's `score` under jit; error maps are dropped inside where nobody wants them.

    With `streams` carry and batch have a first axis more: streams side by side.
    """

    gathered = streamed(method.inputs).gathered

    def score(variables, carry, batch):
        carry, scores = method.score(variables, carry, gathered(batch))
        return carry, scores if maps else scores._replace(maps=None)

    return jax.jit(jax.vmap(score, in_axes=(None, 0, 0)) if streams else score)
