"""Percentiles of any number of durations, in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

# Durations are counted in buckets each of which is a factor wider than the one before: what is told
# is the middle of a bucket, 1 % from the true value at most.
_GROWTH = 1.02
# Seconds; what is shorter or longer is counted in the first or last of 673 buckets.
_SHORTEST, _LONGEST = 0.001, 600.0
_FIRST, _LAST = 0, math.ceil(math.log(_LONGEST / _SHORTEST, _GROWTH))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How durations are distributed, in seconds; each within 1 % of the true value.

    Attributes:
        count: How many durations there were.
        p50: The median; None without any.
        p90: The duration that 90 % do not exceed; None without any.
        p99: The duration that 99 % do not exceed; None without any.
    """

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Durations:
    """Counts durations; its memory does not grow with their number."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        """Begin without any."""
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        ratio = max(seconds, _SHORTEST) / _SHORTEST
        self._buckets[min(_LAST, max(_FIRST, math.ceil(math.log(ratio, _GROWTH))))] += 1

    def add_all(self, others: Durations) -> None:
        """Count what others have counted."""
        self._buckets.update(others._buckets)

    def percentiles(self) -> Percentiles:
        """Return how those counted so far are distributed."""
        count = self._buckets.total()
        if not count:
            return Percentiles()
        return Percentiles(count, *(self._at(share, count) for share in (0.5, 0.9, 0.99)))

    def _at(self, share: float, count: int) -> float:
        """Return the duration that a share of all does not exceed."""
        rest = math.ceil(share * count)
        for bucket in sorted(self._buckets):
            rest -= self._buckets[bucket]
            if rest <= 0:
                break
        high = _SHORTEST * _GROWTH**bucket
        return high * 2 / (1 + _GROWTH) if bucket else high
