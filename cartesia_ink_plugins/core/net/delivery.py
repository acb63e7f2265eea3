"""Gives the application the events of a session: by one callback, or to whoever iterates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cartesia_ink_plugins.core.log import Log

E = TypeVar("E")


class Delivery(Generic[E]):
    """One way out for the events, in order.

    Attributes:
        on_event: Receives each event when it arrives, in place of iteration; None to iterate.
    """

    def __init__(self, on_event: Callable[[E], None] | None) -> None:
        """Deliver to a callback, or to whoever iterates."""
        self.on_event = on_event
        self._changed = asyncio.Event()
        self._is_delivering = False

    def deliver(self, events: deque[Any], log: Log) -> None:
        """Empty the queue into the callback; without one, wake whoever iterates.

        Args:
            events: Of the session, in order.
            log: Where the exception of a callback is logged; the next event follows.
        """
        if self.on_event is None:
            self.wake()
            return
        if self._is_delivering:
            return  # called back from within the callback: the outer call goes on
        self._is_delivering = True
        try:
            while events and self.on_event is not None:
                event = events.popleft()
                try:
                    self.on_event(event)
                except Exception:
                    log.exception("on_event failed on %s", type(event).__name__)
        finally:
            self._is_delivering = False

    def wake(self) -> None:
        """There are events, or the session is over: wake whoever waits for a change."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until there are events, or the end."""
        self._changed.clear()
        await self._changed.wait()
