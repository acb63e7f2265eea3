"""Reconnecting: how long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

# All in seconds.
_FIRST_DELAY = 0.25
_URGENT_CAP = 0.9  # so that the first words after an outage are transcribed within a second
_URGENT_FOR = 30.0  # a caller who has waited longer is likely gone
_PATIENT_CAP = 5.0
_BUSY_DELAY = 1.0
_BUSY_CAP = 8.0
_MAX_DOUBLINGS = 16  # a count; keeps the power of two finite

_OPENED_AT_ONCE = 5  # a count; a network that wobbles for seconds costs no more than that
_OPENED_EVERY = 2.0  # so that there are at most 10 connections in any 10 s

MAX_RETRY_AFTER = 30.0
"""Upper bound for Retry-After, in seconds: until then the replay buffer holds a call's audio."""

Jitter: TypeAlias = Callable[[], float]


class ReconnectPolicy(Protocol):
    """Decides how long to wait before each attempt to connect; `Backoff` is the default."""

    def reset(self) -> None:
        """There was progress: a new turn or new text, or ten seconds without a fault."""

    def delay(self, now: float) -> float:
        """Seconds to wait after a connection was lost or could not be opened."""

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        """Seconds to wait after a 429 or 503."""


class Backoff:
    """Exponential backoff with jitter.

    The first attempt follows at once, the next after 0.25 s, doubling. In the first 30 s of an
    outage the delay stays below a second; after that it grows up to 5 s. Only progress resets it,
    never a handshake.
    """

    __slots__ = ("_attempts", "_jitter", "_rejections", "_since")

    def __init__(self, jitter: Jitter) -> None:
        """Draw from `jitter`, which returns a number from 0 to 1."""
        self._jitter = jitter
        self._attempts = self._rejections = 0
        self._since: float | None = None

    def reset(self) -> None:
        """Begin anew: there was progress."""
        self._attempts = self._rejections = 0
        self._since = None

    def delay(self, now: float) -> float:
        """Seconds to wait after a connection was lost or could not be opened."""
        if self._since is None:
            self._since = now
        attempt, self._attempts = self._attempts, self._attempts + 1
        if attempt == 0:
            return 0.0
        cap = _URGENT_CAP if now - self._since < _URGENT_FOR else _PATIENT_CAP
        delay = min(cap, _FIRST_DELAY * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
        return delay * (0.7 + 0.3 * self._jitter())

    def delay_when_busy(self, now: float, retry_after: float | None) -> float:
        """Seconds to wait after a 429 or 503.

        Args:
            now: The time.
            retry_after: Seconds of a Retry-After header; followed up to `MAX_RETRY_AFTER`, because
                a caller cannot wait for longer.

        Returns:
            Not less than that, and more by a random part, so that many sessions do not come back
            in one instant. A server that says 0 again and again is asked about once a second.
        """
        if self._since is None:
            self._since = now
        if retry_after is None:
            delay = min(_BUSY_CAP, _BUSY_DELAY * 2.0 ** min(self._rejections, _MAX_DOUBLINGS))
        else:
            least = _FIRST_DELAY * 2.0 ** min(self._rejections, _MAX_DOUBLINGS)
            delay = min(MAX_RETRY_AFTER, max(retry_after, min(_URGENT_CAP, least)))
        self._rejections += 1
        return delay + max(delay, 1.0) * 0.5 * self._jitter()


class ConnectionBudget:
    """Bounds how often connections are opened, whatever the server says on them.

    A server that accepts, sends an event and closes looks useful each time. So no event is worth a
    connection more than this: five in a row, then one every 2 s. Attempts that fail cost no replay
    and are not counted; the backoff spaces them.
    """

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        """Begin with a full budget."""
        self._left = float(_OPENED_AT_ONCE)
        self._at = 0.0

    def spend(self, now: float) -> None:
        """A connection was opened."""
        self._refill(now)
        self._left = max(0.0, self._left - 1)

    def wait(self, now: float) -> float:
        """Seconds until the next connection may be opened."""
        self._refill(now)
        return max(0.0, 1 - self._left) * _OPENED_EVERY

    def _refill(self, now: float) -> None:
        self._left = min(_OPENED_AT_ONCE, self._left + (now - self._at) / _OPENED_EVERY)
        self._at = now
