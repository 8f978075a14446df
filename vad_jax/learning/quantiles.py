"""A quantile of more numbers than memory holds."""

from __future__ import annotations

import numpy as np

EXACT = 1 << 23  # numbers that are kept as they are, 32 MB
_BITS = 22  # of float32's 32 that are told apart: sign, 8 of the exponent, 13 after the point
_SHIFT = 32 - _BITS
_SIGN = np.uint32(1 << 31)


class Quantile:
    """One quantile of float32 numbers that come some at a time.

    Exact for up to `EXACT` numbers; beyond, numbers are counted by their leading bits, and the
    answer lies within 1.3e-4 of the lower of the two numbers beside the quantile.

    Args:
      share: from 0 to 1.
    """

    def __init__(self, share: float):
        self._share, self._number, self._broken = share, 0, False
        self._kept: list[np.ndarray] = []
        self._counts: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Takes more numbers, of any shape; NaN makes the answer NaN."""
        values = np.array(values, np.float32).ravel()
        self._number += values.size
        self._broken |= bool(np.isnan(values).any())
        self._kept.append(values)
        if self._counts is None and self._number > EXACT:
            self._counts = np.zeros(1 << _BITS, np.int64)
        if self._counts is not None:
            for kept in self._kept:
                places, counts = np.unique(_ordered(kept) >> _SHIFT, return_counts=True)
                self._counts[places] += counts
            self._kept = []

    def value(self) -> float:
        """The quantile, of few by linear interpolation between neighbours; NaN of nothing."""
        if not self._number or self._broken:
            return float("nan")
        if self._counts is None:
            return float(np.quantile(np.concatenate(self._kept), self._share))
        below = np.cumsum(self._counts)
        rank = self._share * (self._number - 1)
        place = int(np.searchsorted(below, rank, side="right"))
        low, high = _value(place), _value(min(place + 1, (1 << _BITS) - 1))
        inside = (rank - (below[place] - self._counts[place])) / self._counts[place]
        return low + inside * (high - low)


def _ordered(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the float32 ones."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(place: int) -> float:
    """The least number that is counted at a place."""
    bits = np.array(place << _SHIFT, np.uint32)
    return float(np.where(bits & _SIGN, bits ^ _SIGN, ~bits).astype(np.uint32).view(np.float32))
