"""One timer that is set again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_NEVER = float("inf")


class DeadlineTimer:
    """Calls back at a time.

    Attributes:
        at: The time, on the clock of the event loop, in seconds; infinity when it is not set.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        """Prepare.

        Args:
            callback: Called once for each time that is reached.
        """
        self.at = _NEVER
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        """Call back at this time instead of the former one; at infinity, not at all."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.at = at
        if at < _NEVER:
            self._handle = loop.call_at(at, self._reached)

    def _reached(self) -> None:
        self._handle, self.at = None, _NEVER
        self._callback()
