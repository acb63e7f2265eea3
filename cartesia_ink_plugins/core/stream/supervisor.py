"""Supervises the connection of a session: opens it, notices that it is dead, opens the next one.

The supervisor knows neither audio nor transcripts. The session tells it what the network does, and
asks at every timeout whether the connection must be replaced.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.log import Log
from cartesia_ink_plugins.core.stream.connection_state import ConnectionMachine, ConnectionState
from cartesia_ink_plugins.core.stream.heartbeat import Heartbeat
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop
from cartesia_ink_plugins.core.stream.reconnect import (
    Backoff,
    ConnectionBudget,
    Jitter,
    ReconnectPolicy,
)
from cartesia_ink_plugins.core.stream.rejections import Rejections
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.tap import MomentKind, Taps

# All in seconds.
_BLOCKED_FOR = 5.0  # a server that reads nothing for so long is replaced
_HEALTHY_AFTER = 10.0  # a connection that lives so long resets the backoff
_NEVER = float("inf")

_POLICY_CLOSE = 1008  # WebSocket close code: the request cannot be served


class ConnectionSupervisor(ConnectionMachine):
    """The connection of a session, over all its attempts.

    Attributes:
        state: Where the connection is.
        request_id: Id of the present connection, or of the last.
        is_accepted: Whether the server has shown that it accepts the settings of this connection.
        opened_at: When it was opened, on the session's clock.
        backoff: The delay before the next attempt.
        rejections: Which answers end the session.
        next_at: When `check` must be called next.
    """

    __slots__ = (
        "_budget",
        "_connect_timeout",
        "_default_timeout",
        "_due_at",
        "_heartbeat",
        "_is_healthy",
        "_jitter",
        "_sender",
        "_taps",
        "backoff",
        "is_accepted",
        "next_at",
        "opened_at",
        "rejections",
        "request_id",
    )

    def __init__(
        self,
        sender: AudioSender,
        connect_timeout: float,
        *,
        jitter: Jitter,
        taps: Taps,
        log: Log,
    ) -> None:
        """Begin without a connection.

        Args:
            sender: Whose audio goes over the connection.
            connect_timeout: Seconds until an attempt without an answer is given up.
            jitter: Returns a number from 0 to 1.
            taps: Told of every change.
            log: Where transitions are logged.
        """
        super().__init__(log)
        self.request_id: str | None = None
        self.is_accepted = False
        self.opened_at = 0.0
        self.backoff: ReconnectPolicy = Backoff(jitter)
        self.rejections = Rejections()
        self._budget = ConnectionBudget()
        self._sender = sender
        self._connect_timeout = self._default_timeout = connect_timeout
        self._jitter = jitter
        self._taps = taps
        self.next_at = _NEVER
        self._due_at = _NEVER  # when to connect, or to give an attempt up
        self._heartbeat = Heartbeat(0.0)
        self._is_healthy = False

    @property
    def is_active(self) -> bool:
        """Whether a connection is open or being opened."""
        return self.state in (ConnectionState.OPEN, ConnectionState.CONNECTING)

    def set_reconnect_policy(
        self, policy: ReconnectPolicy | None, connect_timeout: float | None, now: float
    ) -> None:
        """Reconnect as a policy says, beginning with an attempt that is under way.

        Args:
            policy: None for the default.
            connect_timeout: Seconds until an attempt is given up; None for the default.
            now: The time.
        """
        self.backoff = policy or Backoff(self._jitter)
        self._connect_timeout = connect_timeout or self._default_timeout
        if self.state is ConnectionState.CONNECTING:
            self._due_at = min(self._due_at, now + self._connect_timeout)
            self._schedule()
        elif self.state is ConnectionState.BACKOFF:
            self.connect(now)

    def connect(self, now: float) -> None:
        """Open a connection, unless one is open or being opened."""
        if self.state in (ConnectionState.IDLE, ConnectionState.BACKOFF):
            self.become(ConnectionState.CONNECTING)
            self._due_at = now + self._connect_timeout
            self._schedule()
            self._sender.send(Connect())
            self._taps.on(now, MomentKind.CONNECTING)

    def opened(self, now: float, request_id: str | None) -> None:
        """The attempt succeeded."""
        self.become(ConnectionState.OPEN)
        self._budget.spend(now)
        self.request_id = request_id
        self.is_accepted = self._is_healthy = False
        self.opened_at = now
        self._heartbeat = Heartbeat(now, self._jitter() / 2)
        self._taps.connection += 1
        self._taps.on(now, MomentKind.OPENED, request_id)
        self._sender.ping(now)
        self._schedule()

    def reconnect_delay(self, now: float) -> float:
        """Seconds until the next attempt, after the connection or attempt was lost."""
        return max(self.backoff.delay(now), self._budget.wait(now))

    def busy_delay(self, now: float, retry_after: float | None) -> float:
        """Seconds until the next attempt, after a 429 or 503."""
        return max(self.backoff.delay_when_busy(now, retry_after), self._budget.wait(now))

    def is_rejected_by_close(self, code: int | None, now: float) -> bool:
        """Whether the connection was closed in place of its acceptance, for good."""
        if code != _POLICY_CLOSE or self.is_accepted:
            return False
        return self.rejections.is_final(400, now, is_api_error=False)

    def lost(self, now: float, delay: float | None) -> None:
        """The connection or attempt is gone.

        Args:
            now: The time.
            delay: Seconds until the next attempt; None to wait for audio.
        """
        self._due_at = _NEVER if delay is None else now + delay
        self.become(ConnectionState.IDLE if delay is None else ConnectionState.BACKOFF)
        self._schedule()

    def drop(self) -> None:
        """Abort the connection or attempt; `lost` or `close` follows."""
        self._sender.send(Drop())

    def close(self) -> None:
        """End for good."""
        if self.is_active:
            self.drop()
        self._due_at = _NEVER
        self.become(ConnectionState.CLOSED)
        self._schedule()

    def message_received(self, now: float) -> None:
        """Anything arrived from the server."""
        self._heartbeat.message_received(now)
        self._schedule()

    def pong_received(self, number: int, now: float) -> None:
        """A ping was answered."""
        self.message_received(now)
        self._sender.server.pong_received(number, now)

    def writable(self, now: float, *, is_writable: bool) -> None:
        """The socket stopped taking data, or takes it again."""
        self._sender.blocked_since = None if is_writable else now
        self._schedule()

    def accepted(self) -> None:
        """The server has shown that it accepts the settings of this connection."""
        self.is_accepted = True
        self.rejections.accepted()

    def made_progress(self) -> None:
        """The connection has been useful: the next backoff begins anew."""
        self._is_healthy = True
        self.backoff.reset()

    def check(self, now: float) -> str | None:
        """Do what is due.

        Returns:
            Why the connection or attempt must be replaced, if it must.
        """
        if self.state is ConnectionState.OPEN:
            reason = self._check_open(now)
            self._schedule()
            return reason
        if now >= self._due_at:
            if self.state is ConnectionState.CONNECTING:
                return "no answer to the handshake"
            self.connect(now)
        return None

    def _check_open(self, now: float) -> str | None:
        blocked_since = self._sender.blocked_since
        if blocked_since is not None and now >= blocked_since + _BLOCKED_FOR:
            return "the server takes no audio"
        is_ping_due = self._heartbeat.check(now)
        if is_ping_due is False:
            return "no answer to a ping"
        if is_ping_due:
            self._sender.ping(now)
        if not self._is_healthy and now - self.opened_at >= _HEALTHY_AFTER:
            self.made_progress()
            self.rejections.accepted()
        return None

    def _schedule(self) -> None:
        """Set `next_at`; every change of the connection ends with it."""
        if self.state is not ConnectionState.OPEN:
            self.next_at = self._due_at
            return
        self.next_at, blocked_since = self._heartbeat.deadline, self._sender.blocked_since
        if blocked_since is not None:
            self.next_at = min(self.next_at, blocked_since + _BLOCKED_FOR)
