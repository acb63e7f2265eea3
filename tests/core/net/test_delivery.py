"""Events go to one callback, or to whoever iterates, in order and each once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import pytest

from cartesia_ink_plugins.core.net.delivery import Delivery

LOG = logging.getLogger("test")


def test_the_callback_receives_all_in_order() -> None:
    received: list[str] = []
    events = deque(["a", "b", "c"])
    Delivery(received.append).deliver(events, LOG)
    assert received == ["a", "b", "c"]
    assert not events


def test_a_callback_that_raises_is_logged_and_the_next_event_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    received: list[str] = []

    def take(event: str) -> None:
        received.append(event)
        raise ValueError("a fault of the application")

    delivery = Delivery(take)
    for _ in range(2):
        delivery.deliver(deque(["a", "b"]), LOG)
    assert received == ["a", "b"] * 2
    assert [record.getMessage() for record in caplog.records] == ["on_event failed on str"] * 4


def test_events_that_a_callback_causes_follow_those_before_them() -> None:
    received: list[int] = []
    events = deque([1, 2])

    def take(event: int) -> None:
        if event == 1:
            events.append(3)
            delivery.deliver(events, LOG)  # called back from within: it changes no order
            assert received == []
        received.append(event)

    delivery = Delivery(take)
    delivery.deliver(events, LOG)
    assert received == [1, 2, 3]


def test_a_callback_that_is_taken_away_leaves_the_rest_to_be_iterated_over() -> None:
    received: list[str] = []
    events = deque(["a", "b"])

    def take(event: str) -> None:
        received.append(event)
        delivery.on_event = None

    delivery = Delivery(take)
    delivery.deliver(events, LOG)
    assert (received, list(events)) == (["a"], ["b"])


async def test_without_a_callback_whoever_waits_is_woken_each_time() -> None:
    delivery = Delivery[str](None)
    for _ in range(2):
        waiting = asyncio.create_task(delivery.change())
        await asyncio.sleep(0)
        assert not waiting.done()
        delivery.deliver(deque(["a"]), LOG)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting.done()
