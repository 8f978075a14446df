"""Streams side by side, fed from outside: one compiled function and one batch for all of them.

A slot takes one stream after another, each with a carry of its own. With more than one slot
rounding differs from a stream's, and so may a gate at its very threshold.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.scoring.stream import compiled, streamed
from vad_jax.types import Method, Scores, Variables


class Slots:
    """Some streams at once.

    Args:
      method, variables: what scores.
      number: of slots.
      rows: rows of each stream that a step takes at most.
      maps: whether results hold error maps.
    """

    def __init__(
        self, method: Method, variables: Variables, number: int, *, rows: int, maps: bool = False
    ):
        self._spec, self._variables, self._rows = method.inputs, variables, rows
        self._kind = streamed(method.inputs)
        self._score = compiled(method, maps=maps, streams=True)
        self._start = method.start(variables)
        self._carries = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), self._start)
        self._cutters: list[Any] = [None] * number
        self._waiting: list[list] = [[] for _ in range(number)]

    def begin(self, slot: int) -> None:
        """Lets a new stream into a slot."""
        self._cutters[slot], self._waiting[slot] = self._kind.cutter(self._spec), []
        self._carries = jax.tree.map(
            lambda all, new: all.at[slot].set(new), self._carries, self._start
        )

    def push(self, slot: int, frame: np.ndarray | None) -> None:
        """Takes the next frame of a slot's stream, None for a lost one."""
        self._waiting[slot] += self._cutters[slot].push(frame)

    def flush(self, slot: int) -> None:
        """Ends the stream of a slot; its rows still wait for `step`."""
        self._waiting[slot] += self._cutters[slot].flush()

    def waiting(self, slot: int) -> int:
        """Rows of a slot that are complete and not scored."""
        return len(self._waiting[slot])

    def step(self) -> tuple[dict[int, np.ndarray], Scores] | None:
        """Scores the next rows of every slot; None where no row waits.

        Returns:
          Slot → first frames `[R]` of its rows, and the scores of all slots, on the device, with
          an axis more in front.
        """
        packed, owners = [], {}
        for slot, waiting in enumerate(self._waiting):
            now, self._waiting[slot] = self._kind.taken(self._spec, waiting, self._rows)
            packed.append(self._kind.packed(self._spec, now, self._rows))
            if now:
                owners[slot] = np.array([first for first, _ in now], np.int32)
        if not owners:
            return None
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *packed)
        self._carries, scores = self._score(self._variables, self._carries, batch)
        return owners, scores
