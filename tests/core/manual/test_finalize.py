"""Calls of `finalize` are answered in their order, each at its position in the audio."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.manual.finalize import FinalizeQueue

NEVER = float("inf")
BYTE_RATE = 100.0


def queue_of(*positions: int, timeout: float = 5.0) -> FinalizeQueue:
    """Calls at 0 s, each with the same time to be answered."""
    queue = FinalizeQueue()
    for position in positions:
        queue.add(position, timeout, timeout)
    return queue


def send_all(queue: FinalizeQueue) -> list[int]:
    """Send what is unsent, in order; return the positions."""
    positions = []
    while item := queue.unsent:
        item.is_sent = True
        positions.append(item.position)
    return positions


class TestOrder:
    def test_an_empty_queue_has_nothing(self) -> None:
        queue = FinalizeQueue()
        assert (len(queue), queue.last, queue.unsent, queue.deadline) == (0, None, None, NEVER)
        assert not queue

    def test_calls_are_sent_in_order_and_each_once(self) -> None:
        queue = queue_of(100, 200, 300)
        assert send_all(queue) == [100, 200, 300]
        assert queue.unsent is None
        assert len(queue) == 3
        assert queue.last == 300

    def test_answers_belong_to_the_calls_in_their_order(self) -> None:
        queue = queue_of(100, 200)
        send_all(queue)
        assert [queue.acknowledged(), queue.acknowledged()] == [100, 200]
        assert not queue

    def test_an_answer_to_nothing_is_none(self) -> None:
        assert FinalizeQueue().acknowledged() is None

    def test_an_answer_before_the_call_was_sent_is_none(self) -> None:
        queue = queue_of(100)
        assert queue.acknowledged() is None
        assert len(queue) == 1

    @given(st.lists(st.sampled_from(["add", "send", "answer", "loss"]), max_size=40))
    def test_whatever_happens_every_call_is_answered_once_and_in_order(
        self, steps: list[str]
    ) -> None:
        queue, added = FinalizeQueue(), 0
        answered: list[int] = []
        for step in steps:
            match step:
                case "add":
                    added += 1
                    queue.add(added, 5.0, 5.0)
                case "send":
                    if item := queue.unsent:
                        item.is_sent = True
                case "answer":
                    if (position := queue.acknowledged()) is not None:
                        answered.append(position)
                case "loss":
                    queue.connection_lost()
        while queue:
            answered.append(queue.take())
        assert answered == list(range(1, added + 1))


class TestConnections:
    def test_after_a_loss_every_call_that_is_not_answered_is_sent_again(self) -> None:
        queue = queue_of(100, 200, 300)
        send_all(queue)
        assert queue.acknowledged() == 100
        queue.connection_lost()
        assert queue.acknowledged() is None
        assert send_all(queue) == [200, 300]

    def test_a_replay_extends_the_deadline_by_its_length(self) -> None:
        queue = queue_of(1000)
        queue.connection_opened(400, BYTE_RATE, 2.0)
        assert queue.deadline == pytest.approx(2.0 + 5.0 + 6.0)

    def test_a_replay_that_begins_behind_the_call_extends_it_by_its_timeout_only(self) -> None:
        queue = queue_of(1000)
        queue.connection_opened(2000, BYTE_RATE, 2.0)
        assert queue.deadline == pytest.approx(2.0 + 5.0)

    def test_a_deadline_is_never_shortened(self) -> None:
        queue = FinalizeQueue()
        queue.add(1000, 1.0, 60.0)
        queue.connection_opened(1000, BYTE_RATE, 2.0)
        assert queue.deadline == 60.0

    def test_after_three_replays_a_deadline_is_not_extended_any_more(self) -> None:
        queue = queue_of(1000)
        deadlines = []
        for now in (1.0, 2.0, 3.0, 4.0, 5.0):
            queue.connection_opened(1000, BYTE_RATE, now)
            deadlines.append(queue.deadline)
        assert deadlines == [6.0, 7.0, 8.0, 8.0, 8.0]


class TestLateAnswers:
    def test_none_is_late_before_its_deadline(self) -> None:
        queue = queue_of(100)
        assert queue.take_late(4.99) is None
        assert len(queue) == 1

    def test_a_late_call_is_taken_out_with_what_is_known_of_it(self) -> None:
        queue = queue_of(100, 200)
        send_all(queue)
        late = queue.take_late(5.0)
        assert late is not None
        assert (late.position, late.is_sent) == (100, True)
        assert len(queue) == 1

    def test_the_next_deadline_is_that_of_the_first_call(self) -> None:
        queue = FinalizeQueue()
        queue.add(100, 5.0, 5.0)
        queue.add(200, 1.0, 3.0)
        assert queue.deadline == 5.0
        assert queue.take() == 100
        assert queue.deadline == 3.0

    def test_clear_forgets_all(self) -> None:
        queue = queue_of(100, 200)
        queue.clear()
        assert not queue
        assert queue.deadline == NEVER
