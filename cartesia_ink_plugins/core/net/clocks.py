"""The clocks of a client: a timer of the event loop, and the wall clock beside the monotonic one.

The wall clock steps when a machine sleeps, or somebody sets it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_NEVER = float("inf")
_STEP = 0.1  # seconds; less is a process that was held up between two readings


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


class WallClock:
    """Knows the wall-clock time at which the monotonic clock of a session was 0."""

    def __init__(self) -> None:
        """Know nothing before `epoch` is called."""
        self._epoch = 0.0

    def epoch(self, now: float) -> float:
        """Return the wall-clock time at `now` = 0, in seconds since 1970."""
        self._epoch = time.time() - now
        return self._epoch

    def stepped(self, now: float) -> float | None:
        """Return the epoch if it is another one than before."""
        before = self._epoch
        if abs(time.time() - now - before) <= _STEP:
            return None
        return self.epoch(now)
