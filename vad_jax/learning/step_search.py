"""How many gradient steps of which rate adapt best to a scene: found on the support itself.

Its windows are halved in their order. What is stepped on one half is judged on the other, both ways
round, so that no label and no other footage is needed, and equal supports give equal answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from vad_jax import config as configs
from vad_jax.learning.adaptation import adapted, loss_on
from vad_jax.types import Batch, ConfigError, Method, TrainingError, Variables

RATES = tuple(10 ** (power / 2) for power in range(-8, 1))  # 1e-4 to 1
MOST_STEPS = 16
GAIN = 1e-3  # of the held-out loss: less is no help


class Plan(NamedTuple):
    """How to adapt.

    Attributes:
      steps: gradient steps; 0 where none helps.
      learning_rate: of plain steps; None for the method's own rule.
      before, after: the loss of held-out windows without and with such steps on the others, where
        the steps were searched for; else None.
      says: where steps and rate come from, in words.
    """

    steps: int
    learning_rate: float | None
    before: float | None
    after: float | None
    says: str

    @property
    def helps(self) -> bool:
        """Whether it is to be expected that something is adapted."""
        return self.steps > 0


def plan(
    method: Method,
    variables: Variables,
    support: Batch,
    config,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
) -> Plan:
    """How to adapt to a support: as is asked for, as was learned, or as is found here.

    A rate that someone said counts (`learning_rate`, or `adapt.learning_rate` where it is not the
    default), and so do learned step sizes; steps are `adapt.steps` then. Else rate and steps are
    searched for.

    Args:
      method, variables: what is adapted.
      support: windows in their order, as `Method.adapt` takes them.
      config: of the run.
      steps: to be taken; None leaves them to `config` or to the search.
      learning_rate: of plain gradient steps instead of the method's own rule.
    """
    default = configs.defaults(config.method).adapt
    said = steps or (config.adapt.steps if config.adapt.steps != default.steps else None)
    asked = config.adapt.steps if steps is None else steps
    if learning_rate is not None:
        return Plan(asked, learning_rate, None, None, f"at the rate {learning_rate:g}")
    learned = "step_size" in variables["state"]
    if steps == 0 or learned or config.adapt.learning_rate != default.learning_rate:
        return Plan(asked, None, None, None, method.rule(variables))
    if len(support["mask"]) < 2 or not jax.tree.leaves(variables["params"]):
        words = f"{method.rule(variables)}, as one window holds none out"
        return Plan(asked, None, None, None, words)
    return _searched(method, variables, halves(support), said)


def check_steps(steps: int | None) -> None:
    """Raises ConfigError for a number of steps that is none."""
    whole = isinstance(steps, int | np.integer) and not isinstance(steps, bool)
    if steps is not None and not (whole and steps >= 0):
        raise ConfigError(f"--steps={steps}: a whole number, 0 or more.")


def check_rate(learning_rate: float | None) -> None:
    """Raises ConfigError for a rate of gradient steps that is none."""
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise ConfigError(f"--learning_rate={learning_rate}: must be finite and greater than 0.")


def halves(support: Batch) -> list[tuple[Batch, Batch]]:
    """What is adapted on and what judges it: the first half and the second, and the other way."""
    first = np.arange(len(support["mask"])) < len(support["mask"]) // 2
    one, other = ({**support, "mask": support["mask"] & half} for half in (first, ~first))
    return [(one, other), (other, one)]


def _searched(
    method: Method, variables: Variables, halves: Sequence[tuple[Batch, Batch]], steps: int | None
) -> Plan:
    """Rates upward while they help, then at the best one steps doubled while they help."""
    alone = [loss_on(method, variables, other, rated=True) for _, other in halves]
    before = math.fsum(alone) / len(alone)

    def after(number: int, rate: float) -> float:
        found = []
        for one, other in halves:
            try:
                how = {"steps": number, "learning_rate": rate}
                ((moved, _),) = adapted(method, variables, [one], **how)
            except TrainingError:  # not finite: too far
                return math.inf
            found.append(loss_on(method, moved, other, rated=True))
        loss = math.fsum(found) / len(found)
        return loss if math.isfinite(loss) else math.inf

    none = "no step that was tried lowers the loss of held-out windows"
    best = Plan(0, None, before, before, none)
    taken = steps or 1
    for rate in RATES:
        loss = after(taken, rate)
        if loss < best.after and loss < (1 - GAIN) * before:
            best = Plan(taken, rate, before, loss, "as it does best on held-out windows")
        elif loss > before:
            break  # farther is worse
    while best.helps and steps is None and best.steps < MOST_STEPS:
        loss = after(2 * best.steps, best.learning_rate)
        if loss >= (1 - GAIN) * best.after:
            break
        best = best._replace(steps=2 * best.steps, after=loss)
    return best
