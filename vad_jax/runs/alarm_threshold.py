"""The threshold above which footage without labels is in alarm, and what normal footage scores."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np

from vad_jax import evaluation
from vad_jax.detector import Detector
from vad_jax.evaluation.thresholds import HOLD_SECONDS, RATE_PER_HOUR, threshold_of
from vad_jax.runs import normal
from vad_jax.runs.workdir import Workdir
from vad_jax.types import ConfigError

Given = float | Literal["calibrated", "none"]


class Threshold(NamedTuple):
    """What scores are held against.

    Attributes:
      value: alarm where a score is above; None for no alarms.
      says: where it comes from, in a few words.
      why: there is none though one was wanted; or None.
      warning: why it may be wrong; or None.
      hold_seconds: a gap that an alarm bridges.
      highest: score of normal footage that the run keeps; NaN where it keeps none.
    """

    value: float | None
    says: str
    why: str | None
    warning: str | None
    hold_seconds: float
    highest: float


def given_threshold(given: Any) -> Given:
    """A threshold as a person writes it: `calibrated`, `none` or a number.

    Raises:
      ConfigError: anything else.
    """
    if given in ("calibrated", "none"):
        return given
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if math.isfinite(value):
        return value
    raise ConfigError(
        f"--threshold={given}: calibrated (the run's own, from normal footage), a number, or none."
    )


def threshold_of_run(
    given: Given, detector: Detector, workdir: Workdir, *, fps: float | None = None
) -> Threshold:
    """The threshold of a run's scores under the protocol `online`, unsmoothed.

    `calibrated` is the one that the run's evaluation shows; where it has none it is made here in
    the same way, from the normal footage that the run keeps.

    Args:
      given: as `given_threshold` returns it.
      detector: of the run.
      workdir: of the run.
      fps: frames a second of its normal footage, where the run does not say.
    """
    own = normal.scores(detector, workdir)
    found = np.concatenate([np.zeros(0), *(own.scores if own else ())])
    highest = float(np.nanmax(found)) if np.isfinite(found).any() else math.nan
    if given != "calibrated":
        value = None if given == "none" else given
        says = "none was wanted" if given == "none" else "as given"
        return Threshold(value, says, None, None, HOLD_SECONDS, highest)
    row = _evaluated(detector, workdir)
    if row is None:
        row = threshold_of(own, fps=normal.rate(workdir) or fps)
    if row["threshold"] is None:
        return Threshold(None, "none could be had", row["why"], None, HOLD_SECONDS, highest)
    rate, hours = row["rate_per_hour"], row["hours"]
    says = f"for {rate:.3g} false alarms an hour, from {lasting(hours)} of normal footage"
    warnings = [row["warning"]] if row["warning"] else []
    if row["asked_per_hour"] is None and rate > RATE_PER_HOUR:
        warnings.append(
            f"low: {lasting(hours)} of normal footage are enough for {rate:.3g} false alarms an "
            "hour, not for fewer; hold more out with data.validation, or give --threshold=NUMBER"
        )
    hold = min(HOLD_SECONDS, row["block_seconds"])
    warning = "; and ".join(warnings) or None
    return Threshold(row["threshold"], says, None, warning, hold, highest)


def _evaluated(detector: Detector, workdir: Workdir) -> dict[str, Any] | None:
    """The calibration that an evaluation of these very variables found; or None."""
    if not workdir.metrics.exists():
        return None
    metrics = evaluation.read_metrics(workdir.metrics)
    run = metrics["run"]
    same = (run["config_hash"], run["checkpoint_step"]) == (
        detector.about["digest"],
        detector.about["step"],
    )
    found = metrics["calibration"]
    return found if same and found["threshold"] is not None else None


def lasting(hours: float) -> str:
    """A length of time in the unit that suits it.

    >>> lasting(2.5), lasting(0.1), lasting(0.003)
    ('2.5 h', '6 min', '11 s')
    """
    for least, unit, many in ((1, "h", 1), (1 / 60, "min", 60)):
        if hours >= least:
            return f"{hours * many:.3g} {unit}"
    return f"{hours * 3600:.2g} s"
