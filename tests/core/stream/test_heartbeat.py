"""Pings notice a connection that is dead without having been closed."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.stream.heartbeat import Heartbeat


def test_a_ping_every_two_seconds() -> None:
    heartbeat = Heartbeat(0.0)
    pings = []
    for tenth in range(1, 101):
        now = tenth / 10
        if heartbeat.check(now):
            pings.append(now)
            heartbeat.message_received(now + 0.05)
    assert pings == pytest.approx([2.0, 4.1, 6.2, 8.3], abs=0.11)


def test_a_phase_shortens_the_first_interval_only() -> None:
    heartbeat = Heartbeat(0.0, 0.25)
    assert heartbeat.deadline == 1.5
    assert heartbeat.check(1.5) is True
    heartbeat.message_received(1.6)
    assert heartbeat.deadline == 3.6


def test_a_connection_without_an_answer_is_dead_within_five_seconds() -> None:
    heartbeat = Heartbeat(0.0)
    while True:
        now = heartbeat.deadline
        if heartbeat.check(now) is False:
            break
    assert now <= 5.0


def test_any_message_is_an_answer() -> None:
    heartbeat = Heartbeat(0.0)
    assert heartbeat.check(2.0) is True
    heartbeat.message_received(4.4)
    assert heartbeat.check(4.5) is None
    assert heartbeat.check(6.4) is True


def test_after_a_delay_of_our_own_process_the_socket_is_read_first() -> None:
    heartbeat = Heartbeat(0.0)
    assert heartbeat.check(2.0) is True
    assert heartbeat.check(9.0) is None  # the answer may lie unread in the socket
    heartbeat.message_received(9.01)
    assert heartbeat.check(9.5) is None
    still_dead = Heartbeat(0.0)
    assert still_dead.check(2.0) is True
    assert still_dead.check(9.0) is None
    assert still_dead.check(still_dead.deadline) is False


def test_before_the_deadline_nothing_is_done() -> None:
    heartbeat = Heartbeat(10.0)
    assert heartbeat.check(11.99) is None
    assert heartbeat.deadline == 12.0


def test_after_the_loop_was_blocked_an_answer_that_waits_in_the_socket_is_read_first() -> None:
    heartbeat = Heartbeat(0.0)
    assert heartbeat.check(2.0) is True
    assert heartbeat.check(20.0) is None
    assert heartbeat.deadline > 20.0
    assert heartbeat.check(heartbeat.deadline) is False


def test_an_answer_may_take_two_and_a_half_seconds() -> None:
    heartbeat = Heartbeat(0.0)
    assert heartbeat.check(2.0) is True
    assert heartbeat.check(4.4) is None
    assert heartbeat.check(4.5) is False
