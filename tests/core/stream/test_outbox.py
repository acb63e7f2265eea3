"""Both outputs of a session are queues, in order."""

from __future__ import annotations

from collections import deque

from cartesia_ink_plugins.core.stream.outbox import Connect, Drop, Outbox, Ping


def test_actions_are_in_the_order_in_which_they_were_sent() -> None:
    outbox = Outbox[str]()
    for action in (Connect(), Ping(), b"audio", "command", Drop()):
        outbox.send(action)
    assert list(outbox.actions) == [Connect(), Ping(), b"audio", "command", Drop()]
    assert not outbox.events


def test_events_are_in_the_order_in_which_they_were_emitted() -> None:
    outbox = Outbox[str]()
    for event in ("one", "two", "three"):
        outbox.emit(event)
    assert list(outbox.events) == ["one", "two", "three"]
    assert not outbox.actions


def test_the_queues_stay_the_same_objects_when_the_driver_empties_them() -> None:
    outbox = Outbox[str]()
    actions, events = outbox.actions, outbox.events
    for number in range(3):
        outbox.send(str(number))
        outbox.emit(str(number))
        assert actions.popleft() == str(number)
        assert events.popleft() == str(number)
    assert outbox.actions is actions
    assert outbox.events is events


def test_an_endpoint_may_merge_events_that_nobody_has_read() -> None:
    def keep_newest(queue: deque[str], event: str) -> None:
        queue.clear()
        queue.append(event)

    outbox = Outbox[str](keep_newest)
    outbox.emit("one")
    outbox.emit("two")
    assert list(outbox.events) == ["two"]


def test_a_callback_may_send_and_emit_while_the_driver_reads() -> None:
    outbox = Outbox[str]()
    outbox.emit("one")
    seen = []
    while outbox.events:
        event = outbox.events.popleft()
        seen.append(event)
        if event == "one":
            outbox.emit("two")
    assert seen == ["one", "two"]


def test_actions_without_data_are_values() -> None:
    assert Ping() == Ping()
    assert len({Ping(), Ping(), Drop(), Connect()}) == 3
