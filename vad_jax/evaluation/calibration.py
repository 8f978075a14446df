"""A threshold for so many false alarms an hour, from normal footage alone.

Normal videos that were not trained on are cut into blocks; a block's value is its largest score.
Where blocks are exchangeable, the k-th largest of n values is exceeded by a new block with
probability k / (n + 1) at most, whatever the scores are.

Letters: n blocks of b seconds, H = n·b/3600 hours, r alarms an hour, k rank of the threshold, λ
exceedances an hour. Source: evaluation.md section 7; the golden cases are met to 1e-9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from vad_jax.evaluation.tails import fit_tail, tail_level, tail_share
from vad_jax.types import ConfigError, DataError

LEVEL = 0.9  # of all intervals here, central
CORRELATED = 0.3  # neighbouring block maxima above this share their alarms
LEAST_PAIRS = 3  # two points are always correlated by 1 or −1
LEAST_EXCESSES = 30
FARTHEST = 10  # times the footage that a tail may be carried
REPLICATES = 1000


class BlockMaxima(NamedTuple):
    """The blocks of normal videos.

    Attributes:
      values: `[n]` float64, the largest score of each, in the order of the videos.
      block_seconds: b, as long as it became.
      correlation: of neighbouring blocks of a video; None where there are fewer than three pairs,
        or all are equal.
    """

    values: np.ndarray
    block_seconds: float
    correlation: float | None


def block_maxima(
    scores: Sequence[np.ndarray], *, fps: float, block_seconds: float = 10.0
) -> BlockMaxima:
    """The largest score of each block of normal videos.

    A video is cut from its first frame on; the incomplete last block is dropped, and so is one
    without any score. The block is doubled while neighbours' maxima are correlated by more than
    0.3.

    Args:
      scores: `[F]` a video, higher = stranger, NaN = no score.
      fps: frames a second of all videos.
      block_seconds: b to begin with; at least as long as an alarm is held. A whole number of
        frames is taken.

    Raises:
      DataError: a score that is infinite; or no video is as long as a block.
    """
    if not 0 < block_seconds * fps < np.inf or not 0 < fps < np.inf:
        raise ConfigError(f"block_seconds={block_seconds} and fps={fps}: both are above 0.")
    scores = [_finite(video, values) for video, values in enumerate(scores)]
    frames = max(1, round(block_seconds * fps))
    while True:
        cut = [_maxima(values, frames) for values in scores]
        correlation = _neighbours(cut)
        if correlation is None or correlation <= CORRELATED:
            break
        frames *= 2  # neighbours exist, so that a video holds the double block too
    joined = np.concatenate([np.zeros(0), *cut])
    values = joined[~np.isnan(joined)]
    if not values.size:
        longest = max((len(values) for values in scores), default=0) / fps
        raise DataError(
            f"No normal video holds a whole block of {frames / fps:g} s with a score; the longest "
            f"of {len(scores)} has {longest:g} s. Give longer videos or a shorter block."
        )
    return BlockMaxima(values, frames / fps, correlation)


def _finite(video, scores):
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or np.isinf(scores).any():
        raise DataError(
            f"The scores of video {video} (counted from 0) are {list(scores.shape)} with "
            f"{np.isinf(scores).sum()} infinite ones, expected [F]: finite, or NaN for none."
        )
    return scores


def _maxima(scores, frames):
    whole = scores[: len(scores) - len(scores) % frames].reshape(-1, frames)
    if not whole.size:
        return np.zeros(0)
    highest = np.where(np.isnan(whole), -np.inf, whole).max(axis=1)
    return np.where(np.isinf(highest), np.nan, highest)


def _neighbours(cut):
    pairs = [np.stack([maxima[:-1], maxima[1:]]) for maxima in cut]
    pairs = np.concatenate([np.zeros((2, 0)), *pairs], axis=1)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < LEAST_PAIRS or (np.ptp(pairs, axis=1) == 0).any():
        return None
    return float(np.corrcoef(pairs)[0, 1])


class Footage(NamedTuple):
    """What a rate asks of normal footage.

    Attributes:
      p: probability that a block alarms, 1 − exp(−r·b/3600).
      blocks: needed at least for the conformal threshold, ⌈1/p − 1⌉.
      hours: of these blocks.
    """

    p: float
    blocks: int
    hours: float


def footage_needed(*, rate_per_hour: float, block_seconds: float) -> Footage:
    """The least normal footage from which a rate can be calibrated without extrapolation.

    >>> footage_needed(rate_per_hour=1, block_seconds=10)[1:]
    (360, 1.0)
    """
    if not 0 < rate_per_hour < np.inf or not 0 < block_seconds < np.inf:
        raise ConfigError(
            f"rate_per_hour={rate_per_hour} and block_seconds={block_seconds}: both are above 0."
        )
    expected = rate_per_hour * block_seconds / 3600  # alarms a block
    blocks = int(np.ceil(1 / np.expm1(expected))) if expected < 700 else 1
    return Footage(float(-np.expm1(-expected)), blocks, blocks * block_seconds / 3600)


def lowest_rate(*, blocks: int, block_seconds: float) -> float:
    """The lowest rate an hour for which so many blocks have a conformal threshold: k is 1.

    >>> round(lowest_rate(blocks=360, block_seconds=10), 2)
    1.0
    """
    if blocks < 1 or not 0 < block_seconds < np.inf:
        raise ConfigError(f"blocks={blocks} and block_seconds={block_seconds}: both are above 0.")
    return float(np.log1p(1 / blocks) * 3600 / block_seconds * (1 + 1e-12))  # so that p rounds up


class Calibration(NamedTuple):
    """A threshold, and what is known of the rate that it reaches.

    Attributes:
      threshold: alarm where the score is above.
      method: `conformal` or `gpd`.
      rate_per_hour: r as asked.
      block_seconds: b.
      blocks: n.
      hours: H of the footage.
      p: probability of an alarm in a block that r stands for.
      k: rank of the threshold among the block maxima; None for `gpd`.
      rate_low, rate_high: an hour, central 90 %: of the rate reached, given this footage.
      extrapolated: the threshold comes from a fitted tail.
      factor: 1/(rH), how many times the footage r would need.
    """

    threshold: float
    method: Literal["conformal", "gpd"]
    rate_per_hour: float
    block_seconds: float
    blocks: int
    hours: float
    p: float
    k: int | None
    rate_low: float
    rate_high: float
    extrapolated: bool
    factor: float


def calibrate(
    block_maxima: np.ndarray,
    *,
    rate_per_hour: float,
    block_seconds: float,
    method: Literal["conformal", "gpd"] = "conformal",
) -> Calibration:
    """The threshold that normal footage like this exceeds `rate_per_hour` times an hour.

    `conformal` takes the k-th largest block maximum, k = ⌊p (n + 1)⌋, and promises P(a new block
    alarms) ≤ p for exchangeable blocks. `gpd` carries a generalised Pareto tail, fitted to the
    maxima above their 90th percentile, beyond the footage; it promises nothing.

    Args:
      block_maxima: `[n]`, of normal footage that was not trained on (`block_maxima`).
      rate_per_hour: r.
      block_seconds: b of these blocks; at least as long as an alarm is held.
      method: how the threshold is found.

    Raises:
      DataError: less footage than r needs, with the hours held and needed; a value that is not
        finite.
    """
    if method not in ("conformal", "gpd"):
        raise ConfigError(f"There is no calibration by {method!r}: conformal or gpd.")
    needed = footage_needed(rate_per_hour=rate_per_hour, block_seconds=block_seconds)
    maxima = np.asarray(block_maxima, np.float64)
    if maxima.ndim != 1 or not np.isfinite(maxima).all():
        bad = np.flatnonzero(~np.isfinite(maxima.reshape(-1)))
        raise DataError(
            f"Block maxima are {list(maxima.shape)}"
            + (f", and number {bad[0]} is not finite" if bad.size else "")
            + ". Expected finite numbers [n]; a block without a score is left out."
        )
    hours = maxima.size * block_seconds / 3600
    if method == "conformal":
        threshold, k, low, high = _conformal(maxima, rate_per_hour, block_seconds, needed)
    else:
        k = None
        threshold, low, high = _tail(maxima, rate_per_hour, block_seconds)
    return Calibration(
        threshold=float(threshold),
        method=method,
        rate_per_hour=float(rate_per_hour),
        block_seconds=float(block_seconds),
        blocks=maxima.size,
        hours=hours,
        p=needed.p,
        k=k,
        rate_low=float(low),
        rate_high=float(high),
        extrapolated=method == "gpd",
        factor=1 / (rate_per_hour * hours),
    )


def _conformal(maxima, rate, block_seconds, needed):
    """The k-th largest; the block's own probability of alarm is then Beta(k, n + 1 − k)."""
    from scipy import special

    n = maxima.size
    k = min(n, int(needed.p * (n + 1)))  # p rounds to 1 for r·b/3600 above 37
    if k < 1:
        reach = ""
        if n:
            lowest = lowest_rate(blocks=n, block_seconds=block_seconds)
            reach = f"ask for {lowest:.3g} an hour or more, "
        raise DataError(
            f"A rate of {rate:g} false alarms an hour needs {needed.hours:.4g} hours of normal "
            f"footage ({needed.blocks} blocks of {block_seconds:g} s), but only "
            f"{n * block_seconds / 3600:.4g} hours ({n} blocks) are held. Give more, {reach}or "
            f"extrapolate with method=gpd, up to {FARTHEST} times the footage."
        )
    shares = special.betaincinv(k, n + 1 - k, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = -np.log1p(-shares) * 3600 / block_seconds
    return np.sort(maxima)[n - k], k, low, high


def _tail(maxima, rate, block_seconds):
    """The level that the fitted tail of the maxima exceeds r times an hour."""
    hours = maxima.size * block_seconds / 3600
    if not maxima.size or 1 / (rate * hours) > FARTHEST:
        raise DataError(
            f"A rate of {rate:g} false alarms an hour, extrapolated, needs "
            f"{1 / (FARTHEST * rate):.4g} hours of normal footage, but only {hours:.4g} hours are "
            f"held: a tail is carried {FARTHEST} times the footage at most. Give more, or ask for "
            "more alarms an hour."
        )
    start = np.percentile(maxima, 90)  # u₀
    excesses = maxima[maxima > start] - start
    if excesses.size < LEAST_EXCESSES:
        least = 10 * LEAST_EXCESSES
        raise DataError(
            f"{excesses.size} of {maxima.size} block maxima lie above their 90th percentile; a "
            f"tail is fitted to {LEAST_EXCESSES} at least. That needs about "
            f"{least * block_seconds / 3600:.4g} hours of normal footage ({least} blocks of "
            f"{block_seconds:g} s) with maxima that differ; {hours:.4g} hours are held."
        )
    per_hour = excesses.size / hours  # λ
    if rate > per_hour:
        raise DataError(
            f"A rate of {rate:g} false alarms an hour lies below the tail, which begins at "
            f"{per_hour:.4g} an hour: nothing is to be extrapolated. Use method=conformal."
        )
    shape, scale = fit_tail(excesses)
    reached = _reached(maxima.size, excesses.size, shape, scale, rate, per_hour)
    low, high = np.percentile(reached, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return start + tail_level(shape, scale, per_hour / rate), low, high


def _reached(blocks, number, shape, scale, rate, per_hour):
    """Rates that the same procedure reaches on footage drawn from the fitted tail."""
    random = np.random.default_rng(0)
    rates = np.zeros(REPLICATES)
    for replicate in range(REPLICATES):
        count = max(2, random.binomial(blocks, number / blocks))
        draws = random.exponential(size=count)
        drawn = scale * (np.expm1(shape * draws) / shape if shape else draws)
        level = tail_level(*fit_tail(drawn), max(1.0, per_hour * count / number / rate))
        rates[replicate] = per_hour * tail_share(shape, scale, level)
    return rates


class HeldOut(NamedTuple):
    """A threshold on normal footage that it was not calibrated on.

    Attributes:
      alarming: blocks whose maximum is above the threshold.
      blocks: m.
      low, high: what is to be expected of `alarming`, central 90 %.
      inside: whether it is so.
    """

    alarming: int
    blocks: int
    low: int
    high: int
    inside: bool


def held_out(calibration: Calibration, block_maxima: np.ndarray) -> HeldOut:
    """Whether new normal footage alarms as often as a conformal threshold lets expect.

    Among m new blocks the alarming ones are beta-binomial(m, k, n + 1 − k): wider than the
    interval of the rate, because m blocks are a sample too.

    Args:
      calibration: by `calibrate`, conformal.
      block_maxima: `[m]`, blocks as long as those calibrated on. A block counts once, however many
        alarms it holds.

    Raises:
      ConfigError: a threshold that was extrapolated: there is no such law for it.
    """
    if calibration.k is None:
        raise ConfigError(
            "An extrapolated threshold has no expected number of alarms to check: its tail is a "
            "guess. Check one of method=conformal."
        )
    from scipy import stats

    maxima = np.asarray(block_maxima, np.float64)
    alarming, m = int((maxima > calibration.threshold).sum()), maxima.size
    law = stats.betabinom(m, calibration.k, calibration.blocks + 1 - calibration.k)
    low, high = (int(bound) for bound in law.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return HeldOut(alarming, m, low, high, low <= alarming <= high)
