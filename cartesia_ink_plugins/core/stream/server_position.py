"""What of the stream the server had received when it sent a message.

Messages carry no times, and each may be late. But a connection keeps the order: a message that
arrives behind the answer to a ping was sent by a server that had received all audio before the
ping, and one that arrives ahead of the answer by a server that had not received the audio behind
it. So pings are sent among the audio, and bound the position on both sides however late the
messages are. Between the bounds, the round-trip time tells how old a message most likely is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

POINT_INTERVAL = 0.05
"""Seconds between two noted positions, of the clock and of the stream."""

PING_INTERVAL = 0.25
"""Seconds of audio between two pings while a transcript is pending; two pauses of a speaker are
further apart."""

_MAX_POINTS = 64  # 3.2 s back, more than a round trip takes on a connection that passes for alive
_MAX_ROUND_TRIPS = 5  # a network changes within some pings
_MAX_PINGS = 64  # without an answer; 8 s of audio at twice real time
_MAX_AGE = 10.0  # seconds; the server does not answer this ping, whatever it received


@dataclass(frozen=True, slots=True)
class _SentPing:
    """A ping without an answer, and the position between whose audio it was sent."""

    number: int
    at: float
    position: int


class ServerPosition:
    """Estimates for one session; begins anew with every connection."""

    __slots__ = ("_answered", "_begun", "_number", "_pings", "_points", "_round_trips")

    def __init__(self) -> None:
        """Begin without a connection."""
        self._points: deque[tuple[float, int]] = deque(maxlen=_MAX_POINTS)
        self._round_trips: deque[float] = deque(maxlen=_MAX_ROUND_TRIPS)
        self._pings: deque[_SentPing] = deque()
        self._number = 0
        self._answered: int | None = None
        self._begun = 0

    @property
    def can_ping(self) -> bool:
        """Whether another ping may be sent: not too many are without an answer."""
        return len(self._pings) < _MAX_PINGS

    def connection_lost(self) -> None:
        """The connection is gone, and with it the answers that it owed."""
        self._pings.clear()

    def connection_opened(self, position: int, now: float) -> None:
        """A connection is sent audio from a position on; a ping may have preceded it."""
        self._points.clear()
        self._round_trips.clear()
        self._points.append((now, position))
        self._begun = position
        self._pings = deque(_SentPing(p.number, p.at, position) for p in self._pings)
        self._answered = None

    def audio_sent(self, position: int, now: float) -> None:
        """Audio was sent up to a position."""
        self._points.append((now, position))

    def ping_sent(self, position: int, now: float) -> int:
        """A ping is sent behind the audio up to a position; return its number."""
        self._number += 1
        self._pings.append(_SentPing(self._number, now, position))
        return self._number

    def pong_received(self, number: int, now: float) -> None:
        """A ping was answered, and with it those before it: this is the round-trip time."""
        if not self._pings or not self._pings[0].number <= number <= self._number:
            return
        while (ping := self._pings.popleft()).number != number:
            pass
        self._round_trips.append(now - ping.at)
        self._answered = ping.position

    def likely(self, now: float) -> int:
        """The position that the server had most likely received.

        A pong may have waited behind a stall, so the shortest recent round trip counts.
        """
        return max(self.at_least, self.at_most(self._at(now), now))

    def at_loss(self, now: float) -> int:
        """The position that the server had most likely received when the connection was lost.

        What it sent last was lost with it, so that an answer that is missing tells nothing.
        """
        return max(self.at_least, self._at(now))

    def has_audio_at_loss(self, now: float) -> bool:
        """Whether the server had most likely received audio when the connection was lost."""
        return self.at_loss(now) > self._begun

    @property
    def at_least(self) -> int:
        """The position that the server had received even if its message is late."""
        if self._answered is not None:
            return self._answered
        return self._points[0][1] if self._points else 0

    def at_most(self, sent: int, now: float) -> int:
        """The position beyond which the server had received nothing.

        Args:
            sent: The position up to which it was sent audio.
            now: The time.
        """
        if self._answered is None or not self._pings or now - self._pings[0].at > _MAX_AGE:
            return sent
        return min(sent, self._pings[0].position)

    def _at(self, now: float) -> int:
        """The position up to which audio had been sent a round trip ago."""
        time, position = now - min(self._round_trips, default=0.0), 0
        for noted_at, position in reversed(self._points):
            if noted_at <= time:
                return position
        return position
