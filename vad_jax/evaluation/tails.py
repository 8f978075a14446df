"""The tail of a distribution: a generalised Pareto law of what lies above a high level.

Letters: ξ shape, σ scale. Source: evaluation.md section 7 (extreme value).
"""

from __future__ import annotations

import numpy as np

SHAPES = (-0.5, 0.5)  # of ξ: below, likelihood is not regular; above, the variance is infinite


def fit_tail(excesses: np.ndarray) -> tuple[float, float]:
    """The generalised Pareto distribution of excesses over a threshold, by maximum likelihood.

    Args:
      excesses: `[m]`, above 0.

    Returns:
      Shape ξ in −0.5..0.5 and scale σ. For a given ξ the best σ is a root, so that ξ alone is
      searched.
    """
    from scipy import optimize

    def cost(shape):  # −log likelihood a value
        scale = _scale(shape, excesses)
        if not shape:
            return np.log(scale) + np.mean(excesses / scale)
        return np.log(scale) + (1 + 1 / shape) * np.mean(np.log1p(shape * excesses / scale))

    inner = optimize.minimize_scalar(cost, bounds=SHAPES, method="bounded").x
    shape = min((*SHAPES, 0.0, float(inner)), key=cost)
    return shape, _scale(shape, excesses)


def _scale(shape, excesses):
    """The σ at which the likelihood of one ξ is highest: (1 + ξ) mean(y / (σ + ξ y)) = 1.

    The left side falls with σ; the bounds are where it is surely above and below 1.
    """
    from scipy import optimize

    mean, highest = excesses.mean(), excesses.max()
    floor = max(0.0, -shape) * highest  # σ + ξ y > 0 for all
    low = floor + (1 + shape) * highest / excesses.size if shape < 0 else 1e-9 * mean
    high = floor + (1 + shape) * mean * (1 + 1e-9)
    return optimize.brentq(
        lambda scale: (1 + shape) * np.mean(excesses / (scale + shape * excesses)) - 1, low, high
    )


def tail_level(shape: float, scale: float, ratio: float) -> float:
    """The excess that one in `ratio` passes: (σ/ξ)(ratio^ξ − 1), for ξ → 0 σ ln ratio.

    >>> round(tail_level(0.5, 2.0, 9.0), 12)
    8.0
    """
    growth = shape * np.log(ratio)
    return float(scale * np.log(ratio) * (np.expm1(growth) / growth if growth else 1.0))


def tail_share(shape: float, scale: float, level: float) -> float:
    """The share of excesses above `level`: (1 + ξ level / σ)^(−1/ξ), 0 behind the tail's end.

    >>> round(1 / tail_share(0.5, 2.0, 8.0), 12)
    9.0
    """
    if not shape:
        return float(np.exp(-level / scale))
    stretched = shape * level / scale
    return float(np.exp(-np.log1p(stretched) / shape)) if stretched > -1 else 0.0
