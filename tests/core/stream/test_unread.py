"""Events that nobody reads are bounded, and what was dropped is told."""

from __future__ import annotations

from collections import deque

import pytest

from cartesia_ink_plugins.core.events import (
    AudioGap,
    ConnectFailed,
    Event,
    EventsDropped,
    Final,
    ManualEvent,
    TurnEnd,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.manual.session import merge_unread as merge_manual
from cartesia_ink_plugins.core.stream.unread import MAX_UNREAD, bound
from cartesia_ink_plugins.core.turns.session import merge_unread
from tests.core.world import check_order


def turn(number: int) -> list[Event]:
    return [
        TurnStart(),
        TurnUpdate(f"{number}"),
        TurnUpdate(f"{number} and"),
        TurnEnd(f"{number}!"),
    ]


def queue_of(turns: int, *, read: int = 0) -> deque[Event]:
    """A queue from which some events were read before it was full."""
    queue: deque[Event] = deque()
    for number in range(turns):
        for event in turn(number):
            merge_unread(queue, event)
        if number == 0:
            for _ in range(read):
                queue.popleft()
    return queue


class TestTurns:
    @pytest.mark.parametrize("turns", [600, 1000, 5000])
    def test_the_queue_is_bounded_and_its_turns_are_whole(self, turns: int) -> None:
        queue = queue_of(turns)
        assert len(queue) <= MAX_UNREAD + 1
        first, *rest = queue
        assert isinstance(first, EventsDropped)
        check_order([event for event in rest if not isinstance(event, AudioGap)])
        assert rest[-1] == TurnEnd(f"{turns - 1}!")

    def test_every_event_is_in_the_queue_or_counted(self) -> None:
        queue: deque[Event] = deque()
        for number in range(3000):
            for event in (TurnStart(), TurnEnd(f"{number}")):
                merge_unread(queue, event)
        first, *rest = queue
        assert isinstance(first, EventsDropped)
        assert first.count + len(rest) == 6000

    @pytest.mark.parametrize("read", [1, 2, 3])
    def test_a_turn_of_which_the_beginning_was_read_keeps_its_end(self, read: int) -> None:
        first, *rest = queue_of(1000, read=read)
        assert isinstance(first, EventsDropped)
        check_order([TurnStart(), *rest])
        assert rest[0] == TurnEnd("0!")

    def test_an_open_turn_is_kept(self) -> None:
        queue = queue_of(400)
        for event in (TurnStart(), TurnUpdate("still")):
            merge_unread(queue, event)
        for _ in range(3000):
            merge_unread(queue, ConnectFailed("no"))
        merge_unread(queue, TurnUpdate("still here"))
        assert len(queue) <= MAX_UNREAD + 1
        events = [event for event in queue if not isinstance(event, ConnectFailed | EventsDropped)]
        check_order([*events, TurnEnd("still here")])

    def test_so_are_events_of_an_outage(self) -> None:
        queue: deque[Event] = deque()
        for number in range(5000):
            merge_unread(queue, ConnectFailed(f"{number}"))
        assert len(queue) <= MAX_UNREAD + 1
        assert queue[-1] == ConnectFailed("4999")
        first = queue[0]
        assert isinstance(first, EventsDropped)
        assert first.count == 5001 - len(queue)

    def test_nothing_is_dropped_before_that(self) -> None:
        assert EventsDropped not in map(type, queue_of(100))


class TestWhatIsDropped:
    """A tenth of the events, or a little more; which `EventsDropped` counts to the last one."""

    def test_whole_turns_and_no_more_of_them_than_necessary(self) -> None:
        events = [event for number in range(251) for event in turn(number)]
        queue = deque(events)
        bound(queue)
        assert list(queue) == [EventsDropped(100), *events[100:]]

    def test_the_beginning_of_a_turn_that_goes_on_stays(self) -> None:
        updates = [TurnUpdate(f"{number}") for number in range(1000)]
        queue = deque[Event]([TurnStart(), *updates])
        bound(queue)
        assert list(queue) == [EventsDropped(99), TurnStart(), *updates[99:]]

    def test_the_end_of_a_turn_of_which_the_beginning_was_read_stays(self) -> None:
        later = [event for number in range(250) for event in turn(number)]
        queue = deque[Event]([TurnUpdate("a"), TurnEnd("a b"), *later])
        bound(queue)
        assert list(queue) == [EventsDropped(101), TurnEnd("a b"), *later[100:]]

    def test_what_was_dropped_before_is_counted_too(self) -> None:
        events = [ConnectFailed(f"{number}") for number in range(1000)]
        queue = deque[Event]([EventsDropped(7), *events])
        bound(queue)
        assert list(queue) == [EventsDropped(107), *events[100:]]


def test_the_manual_endpoint_tells_it_too() -> None:
    queue: deque[ManualEvent] = deque()
    for number in range(5000):
        merge_manual(queue, Final(f"{number}"))
    assert len(queue) <= MAX_UNREAD + 1
    first = queue[0]
    assert isinstance(first, EventsDropped)
    assert first.count + len(queue) - 1 == 5000
