"""How certain a figure of few videos is: an interval by leaving each out, a test by turning signs.

The frames of a video are not independent, so that what counts is the number of clusters: videos, or
scenes where several videos show one. With fewer than six nothing is said. Above that the interval
is a jackknife's: by how much the figure moves, on the logit, when each cluster is left out in turn,
with the quantiles of Student's t. The ordinary percentile bootstrap is far too short there: with
six videos and an AUC of 97 its 95 % interval holds the truth in two cases of three. The simulation
by which this one was chosen is `vad_jax.benchmarks.certainty`; docs/evaluation.md shows it.

Letters: G clusters. Source: evaluation.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEWEST = 6  # clusters that hold anomalous frames, and as many that hold normal ones
EXACT = 16  # clusters up to which every choice of signs is tried
FLIPS = 10_000  # choices of signs drawn where there are more
NO_SPREAD = "no interval: the figure is the same whichever of them is left out"


def too_few(number: int, unit: str, *, holding: str = "of both classes") -> str | None:
    """Why nothing is said of certainty, or None where enough clusters hold what it rests on.

    >>> too_few(2, "videos")
    'too few videos to say: 2 of both classes, 6 are needed'
    """
    if number >= FEWEST:
        return None
    return f"too few {unit} to say: {number or 'none'} {holding}, {FEWEST} are needed"


class Law(NamedTuple):
    """What is known of a figure: `centre` + `scale` times Student's t of `freedom` degrees.

    Attributes:
      logit: whether centre and scale are those of log(x / (1 − x)), as for a share, or of the
        figure itself, as for a difference.
    """

    centre: float
    scale: float
    freedom: float
    logit: bool

    def bounds(self, level: float) -> tuple[float, float]:
        """The central interval that holds `level`."""
        from scipy import special  # slow to import, and needed here alone

        reach = self.scale * special.stdtrit(self.freedom, 0.5 + level / 2)
        ends = self.centre - reach, self.centre + reach
        if self.logit:
            return float(special.expit(ends[0])), float(special.expit(ends[1]))
        return max(ends[0], -1.0), min(ends[1], 1.0)

    def below(self, value: float) -> float:
        """The probability that the figure lies below `value`."""
        from scipy import special

        place = special.logit(value) if self.logit else value
        return float(special.stdtr(self.freedom, (place - self.centre) / self.scale))


def share(value: float, without: np.ndarray) -> Law | None:
    """The law of a figure in 0..1, an AUC or a recall.

    One cluster that holds most of what a method misses, when left out, sends the logit far away:
    it is taken to hold all but 1/G of it at most.

    Args:
      value: the figure of all clusters, strictly between 0 and 1.
      without: the figure with each cluster left out, `[G]`.

    Returns:
      None where leaving out changes nothing.
    """
    number = len(without)
    kept = np.clip(without, value / number, 1 - (1 - value) / number)
    return _law(_logit(value), _logit(kept) - _logit(value), logit=True)


def gap(value: float, without: np.ndarray) -> Law | None:
    """The law of a difference of two such figures; as `share`, but of no difference it is one."""
    if value == 0 and not without.any():  # two runs that are one and the same
        return Law(0.0, 0.0, len(without) - 1, logit=False)
    return _law(value, without - value, logit=False)


def _logit(value):
    return np.log(value / (1 - value))


def _law(centre, moves, *, logit):
    """The jackknife's: scale² = variance (G − 1)/G Σ m² + the square of the bias (G − 1) mean(m),
    and the degrees of freedom of a variance whose terms are so unequal (Satterthwaite): 2 /
    (Σ m⁴ / (Σ m²)² − 1/G), G − 1 at most."""
    number, squares = len(moves), np.square(moves)
    total = squares.sum()
    if total <= (1e-12 * number) ** 2:
        return None
    inequality = np.square(squares).sum() / total**2 - 1 / number
    freedom = min(number - 1, 2 / max(inequality, 1e-12))
    scale = np.sqrt((number - 1) / number * total + np.square((number - 1) * moves.mean()))
    return Law(float(centre), float(scale), float(freedom), logit)


def widest(value: float, number: int, level: float) -> tuple[float, float]:
    """The interval of a share that each of `number` clusters shows wholly or not at all.

    No other figure of that mean is less certain, so that no interval reaches further; and a figure
    of 1 or 0, which shows no spread, has this one. Clopper and Pearson's, of fractions of counts.

    >>> [round(bound, 2) for bound in widest(1.0, 12, 0.95)]
    [0.74, 1.0]
    """
    from scipy import special

    tail, for_it = (1 - level) / 2, number * value
    low = special.betaincinv(for_it, number - for_it + 1, tail) if value > 0 else 0.0
    high = special.betaincinv(for_it + 1, number - for_it, 1 - tail) if value < 1 else 1.0
    return float(low), float(high)


def pooled(laws: Sequence[Law], level: float) -> tuple[float, float]:
    """The central interval of the mixture of several laws, as of the seeds of one configuration."""
    from scipy import optimize

    def end(share, inner):
        ends = [law.bounds(level)[inner] for law in laws]
        low, high = min(ends), max(ends)
        if high - low < 1e-12:
            return low
        return optimize.brentq(
            lambda value: np.mean([law.below(value) for law in laws]) - share, low, high
        )

    return end((1 - level) / 2, 0), end((1 + level) / 2, 1)


def sign_flip(contributions: np.ndarray, *, seed: int = 0) -> float:
    """The two-sided p of a paired difference: were both equal, each cluster's sign were chance.

    Every choice of signs is tried up to 16 clusters, else 10,000 are drawn; the p is the share of
    choices whose sum lies as far from 0 as the one seen, and so never below 2/2^G.

    Args:
      contributions: of each cluster to the difference, `[G]`.
      seed: of the drawn signs.

    >>> sign_flip(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.4]))
    0.015625
    """
    number = len(contributions)
    least = np.abs(contributions.sum()) - 1e-9 * np.abs(contributions).sum()
    if number <= EXACT:
        choices = np.arange(2**number)[:, None] >> np.arange(number) & 1
        return float((np.abs((2 * choices - 1) @ contributions) >= least).mean())
    choices = np.random.default_rng(seed).integers(0, 2, size=(FLIPS, number))
    as_far = np.abs((2 * choices - 1) @ contributions) >= least
    return float((1 + as_far.sum()) / (FLIPS + 1))


def contributions(value: float, without: np.ndarray) -> np.ndarray:
    """What each cluster adds to a figure, `[G]`, on average the figure: it and the jackknife's
    influence.

    Args:
      value: of all clusters.
      without: with each left out, `[G]`.
    """
    return value + (len(without) - 1) * (without.mean() - without)
