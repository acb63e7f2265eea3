"""The heartbeat: pings notice a connection that is dead without having been closed."""

from __future__ import annotations

# All in seconds; together a dead connection is noticed within 4.5 s.
_PING_INTERVAL = 2.0
_PONG_TIMEOUT = 2.5
# A timer later than this was held up by our own process: the answer may lie unread in the socket.
_TIMER_TOLERANCE = 0.5


class Heartbeat:
    """A ping every 2 s, with 2.5 s to answer.

    Attributes:
        deadline: When to call `check` again.
    """

    __slots__ = ("_waiting_since", "deadline")

    def __init__(self, now: float, phase: float = 0.0) -> None:
        """Begin with a healthy connection.

        Args:
            now: The time.
            phase: Share of the first interval, 0 to 1, that is skipped.
        """
        self.deadline = now + _PING_INTERVAL * (1.0 - phase)
        self._waiting_since: float | None = None

    def message_received(self, now: float) -> None:
        """Anything came from the server: it is alive."""
        if self._waiting_since is not None:
            self._waiting_since = None
            self.deadline = now + _PING_INTERVAL

    def check(self, now: float) -> bool | None:
        """Check the deadline.

        Returns:
            True to send a ping, False when the connection is dead, None to do nothing.
        """
        if now < self.deadline:
            return None
        if now - self.deadline > _TIMER_TOLERANCE:
            self.deadline = now + _TIMER_TOLERANCE
            return None
        if self._waiting_since is not None:
            return False
        self._waiting_since = now
        self.deadline = now + _PONG_TIMEOUT
        return True
