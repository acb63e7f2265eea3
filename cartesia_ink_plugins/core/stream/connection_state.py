"""The connection table: which state of the connection may follow which.

IDLE, BACKOFF ──▶ CONNECTING ──▶ OPEN
CONNECTING, OPEN ──▶ BACKOFF     lost; the next attempt has a time
CONNECTING, OPEN ──▶ IDLE        lost; the next attempt waits for audio
every state ──▶ CLOSED           the session is over
"""

from __future__ import annotations

from enum import Enum

from cartesia_ink_plugins.core.log import Log


class ConnectionState(Enum):
    """Where the connection of a session is."""

    IDLE = "idle"
    BACKOFF = "backoff"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSED = "closed"


TABLE: dict[ConnectionState, frozenset[ConnectionState]] = {
    ConnectionState.IDLE: frozenset({ConnectionState.CONNECTING, ConnectionState.CLOSED}),
    ConnectionState.BACKOFF: frozenset({ConnectionState.CONNECTING, ConnectionState.CLOSED}),
    ConnectionState.CONNECTING: frozenset(
        {
            ConnectionState.OPEN,
            ConnectionState.BACKOFF,
            ConnectionState.IDLE,
            ConnectionState.CLOSED,
        }
    ),
    ConnectionState.OPEN: frozenset(
        {ConnectionState.BACKOFF, ConnectionState.IDLE, ConnectionState.CLOSED}
    ),
    ConnectionState.CLOSED: frozenset(),
}


class ConnectionMachine:
    """The connection's position in the table.

    Attributes:
        state: The current state; `become` is the only way to change it.
    """

    __slots__ = ("_log", "state")

    def __init__(self, log: Log) -> None:
        """Begin idle.

        Args:
            log: Where transitions are logged.
        """
        self._log = log
        self.state = ConnectionState.IDLE

    def become(self, state: ConnectionState) -> None:
        """Take one step.

        Raises:
            AssertionError: The table does not have it; the state is unchanged.
        """
        if state not in TABLE[self.state]:
            raise AssertionError(f"connection: {self.state.value} -> {state.value}")
        self._log.debug("connection: %s -> %s", self.state.value, state.value)
        self.state = state
