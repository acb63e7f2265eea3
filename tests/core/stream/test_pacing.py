"""The pace of audio: live audio passes at once, a backlog is spread out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.pacing import Pacer

PCM16 = AudioFormat()
BURST = 0.2  # seconds of audio


@given(
    st.floats(1, 4),
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 3200)), min_size=1, max_size=60),
)
def test_over_any_interval_the_rate_is_exceeded_by_at_most_one_burst(
    rate: float, requests: list[tuple[float, int]]
) -> None:
    pacer = Pacer(PCM16, rate)
    pacer.restart(0.0)
    now = 0.0
    spent: list[tuple[float, int]] = []
    for pause, samples in requests:
        now += pause
        size = 2 * samples
        while wait := pacer.spend(size, now):
            now += wait
        spent.append((now, size))
    for first in range(len(spent)):
        for last in range(first, len(spent)):
            total = sum(size for _, size in spent[first : last + 1])
            seconds = spent[last][0] - spent[first][0]
            assert PCM16.seconds(total) <= BURST + rate * seconds + 1e-6


@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("chunk", [0.01, 0.02, 0.1])
def test_live_audio_never_waits(rate: float, chunk: float) -> None:
    pacer = Pacer(PCM16, rate)
    pacer.restart(0.0)
    size = PCM16.size(chunk)
    jitter = random.Random(1)
    for number in range(500):
        assert pacer.spend(size, number * chunk + jitter.uniform(0, 0.04)) == 0


@given(st.floats(1, 4), st.integers(1, 3200), st.integers(0, 3200))
def test_after_the_returned_wait_the_audio_may_be_sent(
    rate: float, wanted: int, spent: int
) -> None:
    pacer = Pacer(PCM16, rate)
    pacer.restart(0.0)
    assert pacer.spend(2 * spent, 0.0) == 0
    now = pacer.spend(2 * wanted, 0.0)
    assert now <= BURST / rate + 0.001
    # A byte may be missing by rounding; then it is one more millisecond.
    assert (
        now == 0 or pacer.spend(2 * wanted, now) == 0 or pacer.spend(2 * wanted, now + 0.001) == 0
    )


def test_a_backlog_is_sent_at_the_rate() -> None:
    pacer = Pacer(PCM16, 2.0)
    pacer.restart(0.0)
    now, size, total = 0.0, PCM16.size(0.1), 0
    while total < PCM16.size(20.0):
        if wait := pacer.spend(size, now):
            now += wait
        else:
            total += size
    assert now == pytest.approx((20.0 - BURST) / 2, abs=0.05)


def test_slowing_down_halves_the_rate_and_stops_at_real_time() -> None:
    pacer = Pacer(PCM16, 3.0)
    rates = []
    for _ in range(3):
        pacer.slow_down()
        rates.append(pacer.rate)
    assert rates == [1.5, 1.0, 1.0]


def test_a_new_connection_has_a_full_allowance_whatever_the_last_one_spent() -> None:
    pacer = Pacer(PCM16, 2.0)
    pacer.restart(100.0)
    for _ in range(2):
        assert pacer.spend(PCM16.size(BURST), 100.0) == 0
        assert pacer.spend(PCM16.size(BURST), 100.0) == pytest.approx(BURST / 2.0)
        pacer.restart(100.0)


def test_a_replay_that_is_held_back_begins_after_some_seconds() -> None:
    pacer = Pacer(PCM16, 2.0)
    pacer.restart(100.0, 0.5)
    assert pacer.spend(PCM16.size(BURST), 100.0) == pytest.approx(0.5)
    assert pacer.spend(PCM16.size(BURST), 100.25) == pytest.approx(0.25)
    assert pacer.spend(PCM16.size(BURST), 100.5) == 0
