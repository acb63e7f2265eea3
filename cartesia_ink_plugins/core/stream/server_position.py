"""What of the stream the server had received when it sent a message.

Messages carry no times. So positions are noted as audio is sent, and the round-trip time of pings
tells how old a message is when it arrives.
"""

from __future__ import annotations

from collections import deque

POINT_INTERVAL = 0.05
"""Seconds between two noted positions, of the clock and of the stream."""

_MAX_POINTS = 64  # 3.2 s back, more than a round trip takes on a connection that passes for alive
_MAX_ROUND_TRIPS = 5  # a network changes within some pings


class ServerPosition:
    """Estimates for one session; begins anew with every connection."""

    __slots__ = ("_pinged_at", "_points", "_round_trips")

    def __init__(self) -> None:
        """Begin without a connection."""
        self._points: deque[tuple[float, int]] = deque(maxlen=_MAX_POINTS)
        self._round_trips: deque[float] = deque(maxlen=_MAX_ROUND_TRIPS)
        self._pinged_at: float | None = None

    def connection_opened(self, position: int, now: float) -> None:
        """A connection is sent audio from a position on."""
        self._points.clear()
        self._round_trips.clear()
        self._points.append((now, position))

    def audio_sent(self, position: int, now: float) -> None:
        """Audio was sent up to a position."""
        self._points.append((now, position))

    def ping_sent(self, now: float) -> None:
        """A ping is under way."""
        self._pinged_at = now

    def pong_received(self, now: float) -> None:
        """The ping was answered: this is the round-trip time."""
        if self._pinged_at is not None:
            self._round_trips.append(now - self._pinged_at)
            self._pinged_at = None

    def likely(self, now: float) -> int:
        """The position that the server had most likely received.

        A pong may have waited behind a stall, so the shortest recent round trip counts.
        """
        return self._at(now - min(self._round_trips, default=0.0))

    def at_least(self, now: float) -> int:
        """The position that the server had received even if the network is slow."""
        slowest = max(self._round_trips, default=0.0)
        if self._pinged_at is not None:
            slowest = max(slowest, now - self._pinged_at)
        return self._at(now - slowest)

    def _at(self, time: float) -> int:
        """The position up to which audio had been sent at a time."""
        position = 0
        for noted_at, position in reversed(self._points):  # noqa: B007
            if noted_at <= time:
                break
        return position
