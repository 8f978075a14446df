"""What is written of a stage's steps: `metrics.jsonl`, and the check that all is finite."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import atomic


def finite(tree: Any) -> jax.Array:
    """Whether every number of a tree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def means(steps: Sequence[dict[str, Any]], *, fault: Callable[[str, int], Any]) -> dict[str, Any]:
    """A line of the log: the means over some steps, in float64.

    Args:
      steps: of each `loss`, `parts`, `learning_rate` and `sound`, whether all is finite.
      fault: called with what is not finite and the number of the step among these.
    """
    values = jax.device_get(steps)
    losses = np.array([value["loss"] for value in values], np.float64)
    sound = np.array([value["sound"] for value in values])
    for i in np.flatnonzero(~(np.isfinite(losses) & sound))[:1]:
        what = "gradient" if np.isfinite(losses[i]) else f"loss {losses[i]}"
        fault(f"a {what} that is not finite", int(i))
    parts = {
        name: float(np.mean([value["parts"][name] for value in values], dtype=np.float64))
        for name in values[0]["parts"]
    }
    rate = values[-1]["learning_rate"]
    rate = None if rate is None else float(rate)
    return {"loss": float(losses.mean()), "parts": parts, "learning_rate": rate}


def plain(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as plain numbers, as a checkpoint keeps those that no line holds yet."""
    return jax.tree.map(lambda value: np.asarray(value).item(), jax.device_get(list(steps)))


class Recorder:
    """`metrics.jsonl`, cut back to the step that a run goes on from.

    Args:
      path: of the file.
      stage: whose lines these are.
      done: steps; later lines of the stage are removed.
    """

    def __init__(self, path: Path, stage: str, done: int):
        self._path, self._stage = path, stage
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if self._stays(line, done)]
        with atomic.whole(path) as file:
            file.writelines(line + "\n" for line in kept)

    def _stays(self, line: str, done: int) -> bool:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the line that a killed process was writing
            return False
        return entry["stage"] != self._stage or entry["step"] <= done

    def write(
        self,
        step: int,
        epoch: int,
        split: str,
        line: dict[str, Any],
        *,
        clips: int = 0,
        seconds: float | None = None,
    ) -> None:
        """Adds a line of `loss`, `parts` and `learning_rate`; with `seconds` the speed, too."""
        entry = {"stage": self._stage, "step": step, "epoch": epoch, "split": split, **line}
        if seconds is not None:
            entry |= {"clips_per_second": clips / seconds, "seconds": seconds}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
