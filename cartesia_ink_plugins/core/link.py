"""One session's way to the server: dials, sends at the right pace, notices death, dials again.

A link knows audio, time and connections, but neither turns nor transcripts, so it serves every
streaming endpoint. It does no IO: it writes down actions for a driver to carry out, and is told
what became of them. All times are seconds on one monotonic clock that the driver owns.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.core.ledger import Ledger
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.pacing import Backoff, Heartbeat, Jitter, Pacer, ReconnectPolicy

logger = logging.getLogger(__name__)

_CHUNK = 0.1
_HEALTHY_AFTER = 10.0
_BLOCKED_FOR = 5.0
_MARK_EVERY = 0.05
_MARKS = 64
_ROUND_TRIPS = 5
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a new connection; answer with `opened`, `refused` or `lost`."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up the current connection or attempt at once; no answer is expected."""


Action: TypeAlias = Dial | Ping | Drop | bytes | str


class LinkState(Enum):
    """Where the connection is."""

    RESTING = "resting"
    WAITING = "waiting"
    DIALLING = "dialling"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True)
class Accounts:
    """Where every byte went: handed in = sent once + lost in gaps + still pending."""

    received: int = 0
    sent: int = 0
    replayed: int = 0
    lost: int = 0
    silence: int = 0
    connections: int = 0


class Link:
    """The sending half of a session, over as many connections as it takes."""

    def __init__(self, format: AudioFormat, resilience: Resilience, jitter: Jitter) -> None:
        """Rest until there is a reason to dial.

        Args:
            format: What the bytes are.
            resilience: How much audio is kept, and how it is caught up.
            jitter: Returns a number from 0 to 1, so that many links do nothing in one instant.
        """
        self.format = format
        self.jitter = jitter
        self.ledger = Ledger(format.size(resilience.ledger_seconds))
        self.accounts = Accounts()
        self.pacer = Pacer(format, resilience.catch_up_rate)
        self.backoff: ReconnectPolicy = Backoff(jitter)
        self.actions: list[Action] = []
        self.sent = 0
        self.barrier: int | None = None
        """Nothing beyond this position is sent: something has to be said there first."""
        self.opened_at = 0.0
        self.dial_at = 0.0
        self._dial_timeout = self._resilience_timeout = resilience.dial_timeout
        self.state = LinkState.RESTING
        """Where the connection is."""
        self._reached = 0
        self._least = max(format.size(resilience.coalesce), 1)
        self._mark = format.size(_MARK_EVERY)
        self._chunk = max(format.size(_CHUNK), format.sample_width)
        self._pace_at = _NEVER
        self._dial_deadline = _NEVER
        self._heartbeat: Heartbeat | None = None
        self._blocked_since: float | None = None
        self._gap: tuple[int, int] | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)
        self._pinged_at: float | None = None
        self._round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS)
        self._healthy = False

    @property
    def backlog(self) -> int:
        """Bytes handed in that wait to be sent on the current connection, or the next."""
        return self.ledger.end - max(self.sent, self.ledger.start)

    @property
    def is_live(self) -> bool:
        """Whether all audio that was handed in is on its way."""
        return self.state is LinkState.OPEN and self.sent == self.ledger.end

    @property
    def reached(self) -> int:
        """The furthest position that any connection was sent."""
        return self._reached

    def heard_by_server(self, now: float) -> int:
        """What of the stream the server can have heard when it said what comes in just now."""
        # A pong may have waited behind a stall; the shortest way of late is the way there is.
        return self._sent_before(now - min(self._round_trips, default=0.0))

    def heard_at_least(self, now: float) -> int:
        """What of the stream the server must have heard by then, however slow the way is."""
        slowest = max(self._round_trips, default=0.0)
        if self._pinged_at is not None:
            slowest = max(slowest, now - self._pinged_at)
        return self._sent_before(now - slowest)

    def _sent_before(self, said_at: float) -> int:
        """What had been sent at a time, going by the marks."""
        position = self.sent
        for time, sent in reversed(self._marks):
            position = sent
            if time <= said_at:
                break
        return position

    def dial(self, now: float) -> None:
        """Open a connection now, unless there is one already."""
        if self.state in (LinkState.RESTING, LinkState.WAITING):
            self._become(LinkState.DIALLING)
            self._dial_deadline = now + self._dial_timeout
            self.actions.append(Dial())

    def set_reconnect_policy(
        self, policy: ReconnectPolicy | None, connect_timeout: float | None, now: float
    ) -> None:
        """Wait as the policy says from now on, beginning with an attempt that is under way.

        Args:
            policy: None for the policy by default.
            connect_timeout: Seconds until a hung attempt is given up; None for that of the
                resilience.
            now: The time.
        """
        self.backoff = policy or Backoff(self.jitter)
        self._dial_timeout = (
            self._resilience_timeout if connect_timeout is None else connect_timeout
        )
        if self.state is LinkState.DIALLING:
            self._dial_deadline = min(self._dial_deadline, now + self._dial_timeout)
        elif self.state is LinkState.WAITING:
            self.dial(now)

    def take(self, pcm: bytes, now: float) -> None:
        """Take audio in, and send what may be sent."""
        self.accounts.received += len(pcm)
        if self.ledger.append(pcm):
            self._give_up_overflow()
        if self.state is LinkState.OPEN:
            self.pump(now)
        elif self.state is LinkState.RESTING:
            self.dial(now)

    def opened(self, position: int, now: float) -> None:
        """A connection is there: send from a stream position on."""
        self._become(LinkState.OPEN)
        self.opened_at = now
        self.accounts.connections += 1
        self.sent = max(position, self.ledger.start)
        self._give_up_overflow()
        self._heartbeat = Heartbeat(now, self.jitter() / 2)
        self._blocked_since = None
        self._healthy = False
        self._dial_deadline = _NEVER
        self._marks.clear()
        self._round_trips.clear()
        self._marks.append((now, self.sent))
        self.pacer.restart(now)
        self._ping(now)
        self.pump(now)

    def lost(self, delay: float | None, now: float) -> None:
        """The connection or attempt is gone: dial again after a delay, or when there is audio."""
        self._heartbeat = None
        self._dial_deadline = self._pace_at = _NEVER
        if delay is None:
            self._become(LinkState.RESTING)
        else:
            self._become(LinkState.WAITING)
            self.dial_at = now + delay

    def close(self) -> None:
        """Drop everything; nothing will be sent any more."""
        if self.state in (LinkState.DIALLING, LinkState.OPEN):
            self.actions.append(Drop())
        self._become(LinkState.CLOSED)
        self._dial_deadline = self._pace_at = _NEVER

    def progress(self) -> None:
        """The connection has proven itself useful."""
        self._healthy = True
        self.backoff.reset()

    def heard(self, now: float) -> None:
        """Anything came from the server."""
        if self._heartbeat:
            self._heartbeat.heard(now)

    def pong(self, now: float) -> None:
        """A ping was answered: this is how long the way to the server and back takes."""
        self.heard(now)
        if self._pinged_at is not None:
            self._round_trips.append(now - self._pinged_at)
            self._pinged_at = None

    def block(self, now: float) -> None:
        """The socket takes no more for now; audio stays in the ledger."""
        self._blocked_since = now

    def unblock(self, now: float) -> None:
        """The socket takes audio again."""
        self._blocked_since = None
        if self.state is LinkState.OPEN:
            self.pump(now)

    def flush(self, now: float) -> None:
        """Send also what is too little to be a message of its own."""
        if self.state is LinkState.OPEN:
            self.pump(now, flush=True)

    def pump(self, now: float, *, flush: bool = False) -> None:
        """Send as much of the backlog as the pace allows, in order.

        Args:
            now: The time.
            flush: Whether also to send what is too little to be a message of its own.
        """
        self._pace_at = _NEVER
        end = self.ledger.end if self.barrier is None else self.barrier
        least = 1 if flush or self.barrier is not None else self._least
        while (pending := end - self.sent) >= least and self._blocked_since is None:
            size = pending if pending < self._chunk else self._chunk
            if wait := self.pacer.spend(size, now):
                self._pace_at = now + wait
                return
            self.actions.append(self.ledger.read(self.sent, size))
            self.sent = sent = self.sent + size
            marked_at, marked = self._marks[-1]
            # Who was held up hands in much at one time.
            if now - marked_at >= _MARK_EVERY or sent - marked >= self._mark:
                self._marks.append((now, sent))
            new = sent - self._reached
            if new < size:
                new = max(0, new)
                self.accounts.replayed += size - new
            self.accounts.sent += new
            self._reached += new

    def send_silence(self, seconds: float) -> None:
        """Send silence that nobody handed in; it has no position and is never replayed."""
        silence = self.format.silence(seconds)
        self.accounts.silence += len(silence)
        self.actions.append(silence)

    def take_gap(self) -> list[AudioGap]:
        """The audio lost since this was last asked: one gap, or none."""
        if self._gap is None:
            return []
        (position, size), self._gap = self._gap, None
        return [AudioGap(self.format.seconds(size), self.format.seconds(position))]

    def give_up_backlog(self) -> None:
        """Count what was never sent as lost, at the very end."""
        self._lose(self.ledger.end)

    def tick(self, now: float) -> str | None:
        """Look at the clock.

        Returns:
            Why the connection or attempt must be given up now, if it must.
        """
        if self.state is LinkState.WAITING and now >= self.dial_at:
            self.dial(now)
        elif self.state is LinkState.DIALLING and now >= self._dial_deadline:
            return "no answer to the handshake"
        elif self.state is LinkState.OPEN:
            if self._blocked_since is not None and now - self._blocked_since >= _BLOCKED_FOR:
                return "the server takes no audio"
            if self._heartbeat:
                match self._heartbeat.beat(now):
                    case True:
                        self._ping(now)
                    case False:
                        return "no answer to a ping"
            if not self._healthy and now - self.opened_at >= _HEALTHY_AFTER:
                self.progress()
            self.pump(now, flush=True)
        return None

    def deadline(self) -> float:
        """When `tick` must be called next."""
        if self.state is LinkState.OPEN and self._heartbeat:
            deadline = min(self._heartbeat.deadline, self._pace_at)
            if self._blocked_since is not None:
                deadline = min(deadline, self._blocked_since + _BLOCKED_FOR)
            return deadline
        if self.state is LinkState.WAITING:
            return self.dial_at
        return self._dial_deadline

    def _become(self, state: LinkState) -> None:
        if state is not self.state:
            logger.debug("link: %s -> %s", self.state.value, state.value)
            self.state = state

    def _ping(self, now: float) -> None:
        self._pinged_at = now
        self.actions.append(Ping())

    def _give_up_overflow(self) -> None:
        """Skip what the ledger no longer holds and no connection was ever sent."""
        if self.ledger.start > self.sent:
            self._lose(self.ledger.start)
            self.sent = self.ledger.start

    def _lose(self, position: int) -> None:
        size = position - self._reached
        if size > 0:
            first = self._gap[0] if self._gap else self._reached
            self._gap = (first, size + (self._gap[1] if self._gap else 0))
            self._reached = position
            self.accounts.lost += size
