"""When things may be done: the pace of audio, the wait before a redial, the beat of pings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cartesia_ink_plugins.core.audio import AudioFormat

_BURST = 0.2
_SHORTEST_WAIT = 0.001
_FIRST_DELAY = 0.25
_URGENT_CAP = 0.9
_URGENT_FOR = 30.0
_PATIENT_CAP = 5.0
_BUSY_DELAY = 1.0
_BUSY_CAP = 8.0
_PING_EVERY = 2.0
_PONG_WITHIN = 2.5
_LATE = 0.5
_SILENCE_AFTER = 0.6
_LONGEST_PIECE = 1.5
_MOST_SILENCES = 10
_IDLE_SILENCE_EVERY = 60.0

SILENCE = 0.1
"""Seconds of silence in one message."""

LONGEST_TOLD = 30.0
"""A server that wants to be left alone for longer than this, in seconds, is asked again sooner.

Until then what a caller says fits into the ledger; after that words would be lost.
"""

MOST_REPLAYS = 3
"""How often a wait for the server's answer is prolonged, because its audio is sent once more."""

Jitter = Callable[[], float]


class Pacer:
    """Lets audio through at no more than a multiple of real time.

    The server buffers about as fast as one speaks; a burst overloads it and comes back as an
    internal error (https://docs.cartesia.ai/use-the-api/stt/best-practices). Live audio passes
    without a wait; a backlog is spread out.
    """

    __slots__ = ("_allowance", "_at", "_burst", "_byte_rate", "_growth")

    def __init__(self, format: AudioFormat, rate: float) -> None:
        """Allow `rate` seconds of audio per second."""
        self._byte_rate = format.byte_rate
        self._growth = rate * format.byte_rate
        self._burst = float(format.size(_BURST))
        self._allowance = self._burst
        self._at = 0.0

    @property
    def rate(self) -> float:
        """Seconds of audio per second."""
        return self._growth / self._byte_rate

    def slow_down(self) -> None:
        """Halve the rate, but never below real time."""
        self._growth = max(float(self._byte_rate), self._growth / 2)

    def restart(self, now: float) -> None:
        """Begin anew with a full allowance, for a new connection."""
        self._allowance = self._burst
        self._at = now

    def spend(self, size: int, now: float) -> float:
        """Account for bytes that are to be sent now.

        Returns:
            0, or how many seconds they have to wait, and then they are not accounted for.
        """
        grown = self._allowance + (now - self._at) * self._growth
        self._at = now
        if grown > self._burst:
            grown = self._burst
        if grown < size:
            self._allowance = grown
            # More than a burst is never allowed at once.
            missing = min(float(size), self._burst) - grown
            return max(_SHORTEST_WAIT, missing / self._growth)
        self._allowance = grown - size
        return 0.0


class ReconnectPolicy(Protocol):
    """How long to wait before each attempt to connect; `Backoff` is the one by default."""

    def reset(self) -> None:
        """There was progress: a turn event, or ten seconds of health."""

    def delay(self, now: float) -> float:
        """Seconds to wait after a connection was lost or could not be made."""

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        """Seconds to wait after a 429 or 503."""


class Backoff:
    """How long to wait before the next attempt to connect.

    The first attempt is made at once, then after 0.25 s, doubling. While a caller has waited less
    than 30 s the wait stays below a second, so that the first words after an outage are not late;
    after that it goes up to 5 s. Only progress resets it, never a mere handshake.
    """

    __slots__ = ("_attempts", "_jitter", "_refusals", "_since")

    def __init__(self, jitter: Jitter) -> None:
        """Draw from `jitter`, which returns a number from 0 to 1."""
        self._jitter = jitter
        self._attempts = self._refusals = 0
        self._since: float | None = None

    def reset(self) -> None:
        """There was progress: a turn event, or ten seconds of health."""
        self._attempts = self._refusals = 0
        self._since = None

    def delay(self, now: float) -> float:
        """Seconds to wait after a connection was lost or could not be made."""
        if self._since is None:
            self._since = now
        attempt, self._attempts = self._attempts, self._attempts + 1
        if attempt == 0:
            return 0.0
        cap = _URGENT_CAP if now - self._since < _URGENT_FOR else _PATIENT_CAP
        delay = min(cap, _FIRST_DELAY * 2.0 ** min(attempt - 1, 16))
        return delay * (0.7 + 0.3 * self._jitter())

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        """Seconds to wait after a 429 or 503: not less than told, and not all at one instant.

        A `Retry-After` of hours would leave a caller deaf for the rest of the call, though the
        server may be well again: more than `LONGEST_TOLD` is not obeyed.
        """
        if self._since is None:
            self._since = now
        if retry_after is None:
            told = min(_BUSY_CAP, _BUSY_DELAY * 2.0 ** min(self._refusals, 16))
        else:
            told = min(LONGEST_TOLD, retry_after)
        self._refusals += 1
        return told + max(told, 1.0) * 0.5 * self._jitter()


class Heartbeat:
    """Notices a dead connection by pings: one every 2 s, with 2.5 s to answer.

    Attributes:
        deadline: When to look again.
    """

    __slots__ = ("_waiting_since", "deadline")

    def __init__(self, now: float, phase: float = 0.0) -> None:
        """Begin with a healthy connection.

        Args:
            now: The time.
            phase: How much of the first interval, from 0 to 1, is taken as past.
        """
        self.deadline = now + _PING_EVERY * (1.0 - phase)
        self._waiting_since: float | None = None

    def heard(self, now: float) -> None:
        """Anything came from the server: it lives."""
        if self._waiting_since is not None:
            self._waiting_since = None
            self.deadline = now + _PING_EVERY

    def beat(self, now: float) -> bool | None:
        """Look at the clock.

        Returns:
            True to send a ping, False when the connection is dead, None to do nothing.
        """
        if now < self.deadline:
            return None
        if now - self.deadline > _LATE:
            # We were held up ourselves: the answer may lie unread in the socket.
            self.deadline = now + _LATE
            return None
        if self._waiting_since is not None:
            return False
        self._waiting_since = now
        self.deadline = now + _PONG_WITHIN
        return True


class Filler:
    """Keeps the stream continuous: silence in real time where audio stopped in mid-turn.

    Without it `turn.end` would never come (https://docs.cartesia.ai/use-the-api/stt/turns/turns).
    Between turns nothing is sent, or now and then a little, to keep an idle connection open.
    """

    __slots__ = ("_audio_at", "_idle", "_piece", "_until", "next_at")

    def __init__(self, *, idle: bool) -> None:
        """Fill in turns, and if `idle` between them too."""
        self._idle = idle
        self._audio_at = float("inf")
        self._piece = 0.0
        self._until: float | None = None
        self.next_at = float("inf")

    def audio(self, now: float, seconds: float = 0.0) -> None:
        """A piece of audio came; if it is a long one, the next may take as long to come."""
        self._audio_at = now
        self._piece = seconds
        self._until = None

    def quiet(self, now: float) -> float:
        """Seconds since audio came."""
        return now - self._audio_at

    def due(self, now: float, *, in_turn: bool) -> int:
        """How many messages of silence are due; `next_at` tells when to ask again."""
        self.next_at = float("inf")
        if now - self._audio_at < _SILENCE_AFTER + min(self._piece, _LONGEST_PIECE):
            return 0
        if not in_turn:
            since = self._audio_at if self._until is None else self._until
            if not self._idle or now - since < _IDLE_SILENCE_EVERY:
                return 0
            self._until = now
            return 1
        since = now - SILENCE if self._until is None else self._until
        count = int((now - since) / SILENCE + 1e-6)
        if count > _MOST_SILENCES:
            # We were held up ourselves; what is long past is not made up for.
            since, count = now - _MOST_SILENCES * SILENCE, _MOST_SILENCES
        self._until = since + count * SILENCE
        self.next_at = self._until + SILENCE
        return count
