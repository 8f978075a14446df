"""The scores of a stream, frame by frame: the same numbers as of the whole video."""

from __future__ import annotations

import numpy as np

from vad_jax.evaluation.assigning import NOTHING, pairs
from vad_jax.evaluation.fusion import Statistics, chosen, mentioned, series, started
from vad_jax.evaluation.fusion_check import assigned, becomes_frames, causal
from vad_jax.evaluation.operations import Past
from vad_jax.types import ConfigError, DataError, Fusion, VideoScores


class Fuser:
    """What `fuse` says of a video under the protocol `online`, as its rows come in.

    Each frame is given back once, in order, as soon as no row to come can change it. Without
    smoothing the scores are those of the whole video to the bit, with causal smoothing to 1e-12.
    Only rows that have frames to come are kept, so that memory does not grow with the stream.

    Args:
      fusion, statistics, result, smoothed: as `fuse`'s.

    Raises:
      ConfigError: a fusion whose online list looks at frames to come.
    """

    def __init__(
        self,
        fusion: Fusion,
        statistics: Statistics | None,
        *,
        result: str | None = None,
        smoothed: bool = True,
    ):
        self._statistics, self._wanted = statistics, result or fusion.default
        self._used = mentioned(fusion, "online") | {self._wanted}
        self._operations = chosen(fusion, "online", smoothed)
        becomes_frames(self._operations, "online")
        causal(self._operations)
        self._how = assigned(self._operations)
        self._waiting = NOTHING  # for frames that are not final
        self._behind = -1  # the last frame that was scored, where rows do not share frames
        self._done = 0  # frames that were given back
        self._past: Past = {}

    def push(self, rows: VideoScores, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Takes the next rows of the stream.

        Args:
          rows: those that are new, perhaps none; `frame` counts in the stream, `length` is not
            looked at.
          horizon: the first frame that a row still to come may score.

        Returns:
          The frames that became final, int64 `[n]`, and their scores, float64 `[n]` or, once rows
          have shown their labels, `[n, K]`; NaN = none.

        Raises:
          DataError: a row scores a frame that was final.
          ConfigError: parts that do not make the result.
        """
        new, self._behind = pairs(rows, self._how, behind=self._behind)
        if len(new.frame) and new.frame.min() < self._done:
            raise DataError(
                f"{rows.name}: a row scores frame {new.frame.min()}, but no row was to score a "
                f"frame before {self._done} any more. The horizon of an earlier push was too late."
            )
        self._waiting = new.after(self._waiting)
        return self._final(max(horizon, self._behind + 1))

    def flush(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ends the stream after `length` frames; returns what was still to come, as `push`.

        Raises:
          DataError: a row scored a frame behind the end.
        """
        if len(self._waiting.frame) and self._waiting.frame.max() >= length:
            raise DataError(
                f"A row scores frame {self._waiting.frame.max()} of a stream of {length} frames. "
                "Rows lie inside their stream: check the length."
            )
        return self._final(length)

    def _final(self, end):
        """Gives back the frames before `end`."""
        begin, self._done = self._done, max(self._done, end)
        length = self._done - begin
        ready = self._waiting.frame < self._done
        now, self._waiting = self._waiting.where(ready), self._waiting.where(~ready)
        now = now._replace(frame=now.frame - begin)
        given = series([now], [length], self._how)
        values = started(
            given,
            [length],
            self._statistics,
            used=self._used,
            wanted=self._wanted,
            rows=None if self._how else [now],
            single=True,
        )
        values.run(self._operations, past=self._past)
        if self._wanted not in values.now:
            raise ConfigError(
                f"The online protocol makes no {self._wanted!r} of the parts {', '.join(given)}."
            )
        return np.arange(begin, self._done, dtype=np.int64), values.now[self._wanted][0]
