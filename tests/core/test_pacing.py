"""When things may be done: the pace of audio, the wait before a redial, the beat of pings."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.pacing import (
    LONGEST_TOLD,
    SILENCE,
    Backoff,
    Filler,
    Heartbeat,
    Pacer,
)

PCM16 = AudioFormat()
BURST = 0.2


def largest() -> float:
    return 1.0


def smallest() -> float:
    return 0.0


class TestPacer:
    @given(
        st.floats(1, 4),
        st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 3200)), min_size=1, max_size=60),
    )
    def test_never_faster_than_its_rate_over_any_interval_but_for_one_burst(
        self, rate: float, wishes: list[tuple[float, int]]
    ) -> None:
        pacer = Pacer(PCM16, rate)
        pacer.restart(0.0)
        now = 0.0
        spent: list[tuple[float, int]] = []
        for pause, samples in wishes:
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
    def test_live_audio_never_waits(self, rate: float, chunk: float) -> None:
        pacer = Pacer(PCM16, rate)
        pacer.restart(0.0)
        size = PCM16.size(chunk)
        jitter = random.Random(1)
        for number in range(500):
            assert pacer.spend(size, number * chunk + jitter.uniform(0, 0.04)) == 0

    @given(st.floats(1, 4), st.integers(1, 3200), st.integers(0, 3200))
    def test_after_the_wait_that_it_asks_for_audio_may_be_sent(
        self, rate: float, wanted: int, spent: int
    ) -> None:
        pacer = Pacer(PCM16, rate)
        pacer.restart(0.0)
        assert pacer.spend(2 * spent, 0.0) == 0
        now = pacer.spend(2 * wanted, 0.0)
        assert now <= BURST / rate + 0.001
        # A byte may be missing by rounding; then it is one more millisecond.
        assert (
            now == 0
            or pacer.spend(2 * wanted, now) == 0
            or pacer.spend(2 * wanted, now + 0.001) == 0
        )

    def test_a_backlog_flows_at_the_rate(self) -> None:
        pacer = Pacer(PCM16, 2.0)
        pacer.restart(0.0)
        now, size, total = 0.0, PCM16.size(0.1), 0
        while total < PCM16.size(20.0):
            if wait := pacer.spend(size, now):
                now += wait
            else:
                total += size
        assert now == pytest.approx((20.0 - BURST) / 2, abs=0.05)

    def test_slowing_down_halves_the_rate_and_stops_at_real_time(self) -> None:
        pacer = Pacer(PCM16, 3.0)
        rates = []
        for _ in range(3):
            pacer.slow_down()
            rates.append(pacer.rate)
        assert rates == [1.5, 1.0, 1.0]


class TestBackoff:
    def test_at_once_and_then_ever_later(self) -> None:
        backoff = Backoff(largest)
        assert [backoff.delay(0.0) for _ in range(5)] == [0.0, 0.25, 0.5, 0.9, 0.9]

    def test_a_long_outage_is_waited_for_with_patience(self) -> None:
        backoff = Backoff(largest)
        now, delays = 0.0, []
        while now < 120:
            delays.append(backoff.delay(now))
            now += delays[-1] + 0.05
        assert max(delays) == 5.0
        assert all(before <= after for before, after in pairwise(delays))

    def test_while_a_caller_waits_no_wait_is_longer_than_a_second(self) -> None:
        backoff = Backoff(largest)
        now = 0.0
        while now < 29.0:
            delay = backoff.delay(now)
            assert delay < 1.0
            now += delay + 0.1

    def test_jitter_only_makes_it_sooner_and_never_by_more_than_a_third(self) -> None:
        early, late = Backoff(smallest), Backoff(largest)
        for _ in range(8):
            soonest, latest = early.delay(0.0), late.delay(0.0)
            assert 0.66 * latest <= soonest <= latest

    def test_progress_starts_it_anew(self) -> None:
        backoff = Backoff(largest)
        first = [backoff.delay(0.0) for _ in range(4)]
        backoff.reset()
        assert [backoff.delay(100.0) for _ in range(4)] == first

    def test_busy_is_never_asked_sooner_than_told(self) -> None:
        for jitter in (smallest, largest):
            backoff = Backoff(jitter)
            for told in (0.5, 2.0, LONGEST_TOLD):
                assert backoff.delay_when_busy(0.0, told) >= told

    @pytest.mark.parametrize("told", [31.0, 3600.0, 1e9])
    def test_but_not_for_hours(self, told: float) -> None:
        for jitter in (smallest, largest):
            assert LONGEST_TOLD <= Backoff(jitter).delay_when_busy(0.0, told) <= 45.0

    def test_busy_without_advice_waits_longer_each_time(self) -> None:
        backoff = Backoff(smallest)
        assert [backoff.delay_when_busy(0.0, None) for _ in range(6)] == [1, 2, 4, 8, 8, 8]

    @pytest.mark.parametrize("told", [None, 0.0, 1.0, 10.0])
    def test_fifty_clients_do_not_come_back_at_one_instant(self, told: float | None) -> None:
        delays = sorted(
            Backoff(random.Random(seed).random).delay_when_busy(0.0, told) for seed in range(50)
        )
        assert delays[-1] - delays[0] >= 0.4
        tenths = [int(10 * delay) for delay in delays]
        assert max(tenths.count(tenth) for tenth in set(tenths)) <= 20

    def test_a_flapping_server_is_not_dialled_again_and_again(self) -> None:
        backoff = Backoff(smallest)
        times = list(accumulate(backoff.delay(0.0) for _ in range(12)))
        assert len([time for time in times if time < 2.0]) <= 6


class TestHeartbeat:
    def test_a_ping_every_two_seconds(self) -> None:
        heartbeat = Heartbeat(0.0)
        pings = []
        for tenth in range(1, 101):
            now = tenth / 10
            if heartbeat.beat(now):
                pings.append(now)
                heartbeat.heard(now + 0.05)
        assert pings == pytest.approx([2.0, 4.1, 6.2, 8.3], abs=0.11)

    def test_no_answer_is_death_within_five_seconds(self) -> None:
        heartbeat = Heartbeat(0.0)
        while True:
            now = heartbeat.deadline
            if heartbeat.beat(now) is False:
                break
        assert now <= 5.0

    def test_any_message_is_an_answer(self) -> None:
        heartbeat = Heartbeat(0.0)
        assert heartbeat.beat(2.0) is True
        heartbeat.heard(4.4)
        assert heartbeat.beat(4.5) is None
        assert heartbeat.beat(6.4) is True

    def test_who_was_held_up_himself_listens_before_he_judges(self) -> None:
        heartbeat = Heartbeat(0.0)
        assert heartbeat.beat(2.0) is True
        assert heartbeat.beat(9.0) is None  # the answer may lie unread in the socket
        heartbeat.heard(9.01)
        assert heartbeat.beat(9.5) is None
        still_dead = Heartbeat(0.0)
        assert still_dead.beat(2.0) is True
        assert still_dead.beat(9.0) is None
        assert still_dead.beat(still_dead.deadline) is False

    def test_before_its_time_nothing_happens(self) -> None:
        heartbeat = Heartbeat(10.0)
        assert heartbeat.beat(11.99) is None
        assert heartbeat.deadline == 12.0


class TestFiller:
    @staticmethod
    def fill(filler: Filler, until: float, *, in_turn: bool, step: float = 0.1) -> float:
        """Ask regularly; return the seconds of silence that were due."""
        count, now = 0, 0.0
        while now < until:
            now += step
            count += filler.due(now, in_turn=in_turn)
        return count * SILENCE

    def test_nothing_while_audio_comes(self) -> None:
        filler = Filler(idle=True)
        for number in range(100):
            filler.audio(number * 0.1)
            assert filler.due(number * 0.1 + 0.05, in_turn=True) == 0

    @pytest.mark.parametrize("step", [0.02, 0.1, 0.13, 0.5])
    def test_in_a_turn_silence_takes_the_place_of_audio_in_real_time(self, step: float) -> None:
        filler = Filler(idle=False)
        filler.audio(0.0)
        assert self.fill(filler, 10.0, in_turn=True, step=step) == pytest.approx(9.5, abs=0.6)

    def test_it_tells_when_the_next_is_due(self) -> None:
        filler = Filler(idle=False)
        filler.audio(0.0)
        assert filler.due(1.0, in_turn=True) == 1
        assert filler.next_at == pytest.approx(1.1)
        assert filler.due(filler.next_at, in_turn=True) == 1

    def test_audio_that_comes_back_ends_it(self) -> None:
        filler = Filler(idle=False)
        filler.audio(0.0)
        assert filler.due(1.0, in_turn=True)
        filler.audio(1.05)
        assert filler.due(1.2, in_turn=True) == 0
        assert filler.quiet(1.25) == pytest.approx(0.2)

    def test_between_turns_nothing(self) -> None:
        filler = Filler(idle=False)
        filler.audio(0.0)
        assert self.fill(filler, 600.0, in_turn=False, step=0.5) == 0

    def test_between_turns_now_and_then_a_little_if_wanted(self) -> None:
        filler = Filler(idle=True)
        filler.audio(0.0)
        silence = self.fill(filler, 601.0, in_turn=False, step=0.5)
        assert silence == pytest.approx(10 * SILENCE)

    def test_before_the_first_audio_nothing(self) -> None:
        filler = Filler(idle=True)
        assert self.fill(filler, 300.0, in_turn=False, step=1.0) == 0
