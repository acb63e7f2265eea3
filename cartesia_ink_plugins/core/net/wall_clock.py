"""The wall clock beside the monotonic one: it steps when a machine sleeps, or somebody sets it."""

from __future__ import annotations

import time

_STEP = 0.1  # seconds; less is a process that was held up between two readings


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
