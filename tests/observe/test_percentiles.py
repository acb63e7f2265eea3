"""Percentiles are within 1 % of the truth, and their memory is bounded."""

from __future__ import annotations

import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.observe.percentiles import Durations, Percentiles


def exact(values: list[float], share: float) -> float:
    """The smallest value that a share of all does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


@given(st.lists(st.floats(0.001, 600.0), min_size=1, max_size=300))
def test_each_percentile_is_within_one_percent(values: list[float]) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    told = durations.percentiles()
    assert told.count == len(values)
    for share, percentile in ((0.5, told.p50), (0.9, told.p90), (0.99, told.p99)):
        assert percentile == pytest.approx(exact(values, share), rel=0.0101)


def test_without_durations_there_is_no_percentile() -> None:
    assert Durations().percentiles() == Percentiles(0, None, None, None)


def test_what_is_out_of_range_is_counted_at_its_end() -> None:
    durations = Durations()
    for value in (0.0, -1.0, 1e9):
        durations.add(value)
    told = durations.percentiles()
    assert (told.count, told.p50) == (3, 0.001)
    assert told.p99 == pytest.approx(600.0, rel=0.03)


def test_the_memory_does_not_grow_with_the_number() -> None:
    durations, chance = Durations(), random.Random(0)
    for _ in range(20_000):
        durations.add(chance.lognormvariate(-0.5, 2.0))
    assert len(durations._buckets) <= 673
    assert sys.getsizeof(durations._buckets) < 64_000


def test_two_counts_can_be_added() -> None:
    one, other, both = Durations(), Durations(), Durations()
    for number in range(1, 200):
        (one if number % 3 else other).add(number / 100)
        both.add(number / 100)
    one.add_all(other)
    assert one.percentiles() == both.percentiles()
