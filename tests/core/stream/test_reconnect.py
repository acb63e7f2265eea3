"""The delay before the next attempt to connect."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest

from cartesia_ink_plugins.core.stream.reconnect import MAX_RETRY_AFTER, Backoff, ConnectionBudget


def largest() -> float:
    return 1.0


def smallest() -> float:
    return 0.0


class TestAfterALoss:
    def test_the_first_attempt_is_at_once_and_the_delay_doubles(self) -> None:
        backoff = Backoff(largest)
        assert [backoff.delay(0.0) for _ in range(5)] == [0.0, 0.25, 0.5, 0.9, 0.9]

    def test_in_a_long_outage_the_delay_grows_to_five_seconds(self) -> None:
        backoff = Backoff(largest)
        now, delays = 0.0, []
        while now < 120:
            delays.append(backoff.delay(now))
            now += delays[-1] + 0.05
        assert max(delays) == 5.0
        assert all(before <= after for before, after in pairwise(delays))

    def test_in_the_first_thirty_seconds_every_delay_is_below_a_second(self) -> None:
        backoff = Backoff(largest)
        now = 0.0
        while now < 29.0:
            delay = backoff.delay(now)
            assert delay < 1.0
            now += delay + 0.1

    def test_jitter_only_shortens_the_delay_and_never_by_more_than_a_third(self) -> None:
        early, late = Backoff(smallest), Backoff(largest)
        for _ in range(8):
            soonest, latest = early.delay(0.0), late.delay(0.0)
            assert 0.66 * latest <= soonest <= latest

    def test_reset_begins_anew(self) -> None:
        backoff = Backoff(largest)
        first = [backoff.delay(0.0) for _ in range(4)]
        backoff.reset()
        assert [backoff.delay(100.0) for _ in range(4)] == first

    def test_reset_also_begins_the_delays_of_a_busy_server_anew(self) -> None:
        backoff = Backoff(smallest)
        first = [backoff.delay_when_busy(0.0, None) for _ in range(3)]
        backoff.reset()
        assert [backoff.delay_when_busy(100.0, None) for _ in range(3)] == first

    def test_a_flapping_server_gets_few_attempts(self) -> None:
        backoff = Backoff(smallest)
        times = list(accumulate(backoff.delay(0.0) for _ in range(12)))
        assert len([time for time in times if time < 2.0]) <= 6

    def test_thousands_of_failures_overflow_nothing(self) -> None:
        backoff = Backoff(largest)
        assert max(backoff.delay(1000.0 * n) for n in range(5000)) == 5.0
        assert max(backoff.delay_when_busy(0.0, None) for _ in range(5000)) == 12.0


class TestWhenBusy:
    def test_the_delay_is_never_shorter_than_retry_after(self) -> None:
        for jitter in (smallest, largest):
            backoff = Backoff(jitter)
            for retry_after in (0.5, 2.0, MAX_RETRY_AFTER):
                assert backoff.delay_when_busy(0.0, retry_after) >= retry_after

    @pytest.mark.parametrize("retry_after", [31.0, 3600.0, 1e9])
    def test_retry_after_has_an_upper_bound(self, retry_after: float) -> None:
        for jitter in (smallest, largest):
            assert MAX_RETRY_AFTER <= Backoff(jitter).delay_when_busy(0.0, retry_after) <= 45.0

    def test_without_retry_after_the_delay_doubles(self) -> None:
        backoff = Backoff(smallest)
        assert [backoff.delay_when_busy(0.0, None) for _ in range(6)] == [1, 2, 4, 8, 8, 8]

    def test_a_retry_after_of_zero_is_followed_less_and_less(self) -> None:
        backoff = Backoff(smallest)
        assert [backoff.delay_when_busy(0.0, 0.0) for _ in range(4)] == [0.25, 0.5, 0.9, 0.9]

    @pytest.mark.parametrize("retry_after", [None, 0.0, 1.0, 10.0])
    def test_fifty_clients_do_not_come_back_in_one_instant(self, retry_after: float | None) -> None:
        delays = sorted(
            Backoff(random.Random(seed).random).delay_when_busy(0.0, retry_after)
            for seed in range(50)
        )
        assert delays[-1] - delays[0] >= 0.4
        tenths = [int(10 * delay) for delay in delays]
        assert max(tenths.count(tenth) for tenth in set(tenths)) <= 20

    def test_it_is_asked_half_a_second_later_at_most_where_it_says_zero(self) -> None:
        assert Backoff(smallest).delay_when_busy(0.0, 0.0) == 0.25
        assert Backoff(largest).delay_when_busy(0.0, 0.0) == 0.25 + 0.5

    def test_an_outage_begins_with_it_too(self) -> None:
        backoff = Backoff(largest)
        backoff.delay_when_busy(0.0, None)
        assert max(backoff.delay(29.0) for _ in range(8)) == 0.9
        assert max(backoff.delay(31.0) for _ in range(8)) == 5.0


class TestConnectionBudget:
    @staticmethod
    def spent(at: float) -> ConnectionBudget:
        """Five connections were opened at once."""
        budget = ConnectionBudget()
        for _ in range(5):
            assert budget.wait(at) == 0.0
            budget.spend(at)
        return budget

    def test_after_five_connections_in_a_row_there_is_one_in_two_seconds(self) -> None:
        budget = self.spent(100.0)
        assert budget.wait(100.0) == pytest.approx(2.0)
        assert budget.wait(101.5) == pytest.approx(0.5)
        budget.spend(102.0)
        assert budget.wait(102.0) == pytest.approx(2.0)

    def test_it_is_full_again_after_ten_seconds_and_never_more_than_full(self) -> None:
        budget = self.spent(100.0)
        for _ in range(5):
            assert budget.wait(1000.0) == 0.0
            budget.spend(1000.0)
        assert budget.wait(1000.0) == pytest.approx(2.0)

    def test_it_is_full_at_the_beginning(self) -> None:
        budget = ConnectionBudget()
        waits = []
        for _ in range(6):
            waits.append(budget.wait(0.0))
            budget.spend(0.0)
        assert waits == [0.0] * 5 + [2.0]
