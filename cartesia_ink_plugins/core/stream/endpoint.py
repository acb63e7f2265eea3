"""What a streaming endpoint is made of, and what it defines.

`Endpoint` holds the parts that both endpoints use and the abstract methods in which they differ.
`StreamSession` adds the inputs; `TurnsSession` and `ManualSession` define the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, TypeAlias, TypeVar

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import ClosedError
from cartesia_ink_plugins.core.events import ConnectionEvent, Message
from cartesia_ink_plugins.core.log import SessionLog
from cartesia_ink_plugins.core.options import ConnectionOptions, Resilience
from cartesia_ink_plugins.core.stats import Snapshot, Unrecognized, Violations, snapshot
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.drain import Drain, DrainState
from cartesia_ink_plugins.core.stream.outbox import Outbox
from cartesia_ink_plugins.core.stream.reconnect import Jitter
from cartesia_ink_plugins.core.stream.repeated_loss import RepeatedLoss
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.stream.supervisor import ConnectionSupervisor
from cartesia_ink_plugins.core.tap import MomentKind, Tap, Taps

T = TypeVar("T")

Append: TypeAlias = Callable[[deque[ConnectionEvent | T], ConnectionEvent | T], None]


class Endpoint(ABC, Generic[T]):
    """The parts of a session; `T` are the events that only this endpoint has.

    Attributes:
        log: Its lines begin with the id of the session.
        taps: The observers.
        outbox: Both outputs.
        sender: The audio.
        connection: What the audio goes over.
        drain: The end of the stream.
        violations: How often the server broke the protocol.
        repeated_loss: Whether each connection is lost at the same audio.
    """

    close_command: ClassVar[str]
    """What asks the server to send the last transcripts and close."""

    def __init__(
        self,
        format: AudioFormat,
        resilience: Resilience,
        jitter: Jitter,
        session_id: str,
        taps: Iterable[Tap],
        append: Append[T],
    ) -> None:
        """Put the parts together; see `StreamSession` for the arguments."""
        self.log = SessionLog(session_id)
        self.taps = Taps(taps, self.log)
        self.outbox: Outbox[ConnectionEvent | T] = Outbox(append)
        self.sender = AudioSender(format, resilience, self.outbox.send, self.taps)
        self.connection = ConnectionSupervisor(
            self.sender, resilience.connect_timeout, jitter=jitter, taps=self.taps, log=self.log
        )
        self.drain = Drain(resilience.drain_timeout)
        self.violations = Violations()
        self.repeated_loss = RepeatedLoss(format)
        self._text_reached: tuple[int, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether the session is over: neither an action nor an event will follow."""
        return self.connection.state is ConnectionState.CLOSED

    @property
    def is_finishing(self) -> bool:
        """Whether the application has said that there is no more audio."""
        return self.drain.state is not DrainState.STREAMING

    @property
    def is_close_sent(self) -> bool:
        """Whether the present connection was asked to send the last transcripts and close."""
        return self.drain.state is DrainState.CLOSE_SENT

    def snapshot(self) -> Snapshot:
        """Return the numbers of the session."""
        sender = self.sender
        return snapshot(sender.counts, sender.format, turns=self.turns, violations=self.violations)

    def require_open(self, method: str) -> None:
        """Check that a call does not come too late.

        Raises:
            ClosedError: The session was finished or is over.
        """
        if self.is_finishing or self.is_closed:
            raise ClosedError(f"{method}: the session is finished and takes no more audio")

    def text_reached(self, reached: tuple[int, ...]) -> None:
        """A message said how far the text has come; only what is further than ever is progress."""
        if reached > self._text_reached:
            self._text_reached = reached
            self.repeated_loss.made_progress(self.sender.server.at_least)
            self.connection.made_progress()

    def emit(self, event: ConnectionEvent | T, now: float) -> None:
        """Give the application an event."""
        timing = getattr(event, "timing", None)
        if timing is not None:
            self.taps.turn = timing.turn
        self.outbox.emit(event)
        self.taps.on(now, MomentKind.EVENT, event)

    def send_command(self, command: str, now: float) -> None:
        """Send a text message."""
        self.outbox.send(command)
        self.taps.on(now, MomentKind.COMMAND, command)

    def count_violation(self, kind: str) -> None:
        """Count a message that the server should not have sent; log the first of its kind."""
        if self.violations.count(kind):
            self.log.info("protocol violation: %s", kind)

    def emit_gap(self, now: float) -> None:
        """Give the application the audio that was lost since the last time, if any was."""
        gap = self.sender.take_gap()
        if gap is not None:
            self.taps.on(now, MomentKind.GAP, gap)
            self.emit(gap, now)

    def give_up_repeated_loss(self, now: float) -> None:
        """The server, or the network, ended the connection: go on behind audio that ends each."""
        server = self.sender.server
        place, has_audio = server.at_loss(now), server.has_audio_at_loss(now)
        lifetime = now - self.connection.opened_at
        lost = self.repeated_loss.connection_lost(place, lifetime, has_audio=has_audio)
        if lost is not None:
            self.log.info("each connection ends at the same audio; going on behind it")
            self.emit_gap(now)
            self._give_up(*lost, now)
            self.emit_gap(now)

    def send_close_if_due(self, now: float) -> None:
        """Send `close` behind the last audio."""
        is_due = self.drain.state is DrainState.FINISHING and self.sender.is_caught_up
        if is_due and self.connection.state is ConnectionState.OPEN:
            self.send_command(self.close_command, now)
            self.drain.close_sent()

    # --- what an endpoint defines -------------------------------------------------------------

    @property
    @abstractmethod
    def turns(self) -> int:
        """How many turns were begun; on the manual endpoint, how many finals were given."""

    @property
    @abstractmethod
    def options(self) -> ConnectionOptions:
        """What the next connection asks for, with all changes made so far."""

    @abstractmethod
    def set_epoch(self, epoch: float) -> None:
        """Set the wall-clock time at `now` = 0, in seconds: the clock may have been adjusted."""

    @abstractmethod
    def unrecognized(self) -> Unrecognized:
        """Return what has no final text yet; to be called while there is no connection."""

    @property
    @abstractmethod
    def has_pending_transcript(self) -> bool:
        """Whether the server has still to send text for audio that was handed in."""

    @abstractmethod
    def _audio_analysed(self, pcm: bytes, received_at: float) -> None:
        """Find speech in audio, which ended at a time."""

    @abstractmethod
    def _handle(self, message: Message, now: float) -> None:
        """Handle one message of the server."""

    @abstractmethod
    def _do_housekeeping(self, now: float) -> None:
        """Do what is due every half second, and more often while silence is sent."""

    @abstractmethod
    def _begin_replay(self, now: float) -> int:
        """A connection is open: return the position from which it is sent audio."""

    @abstractmethod
    def _interrupt_transcript(self) -> None:
        """The open connection is gone: what follows comes from another one."""

    @abstractmethod
    def _give_up(self, start: int, end: int, now: float) -> None:
        """The connection is lost, and every server dies of some audio: go on behind it.

        Args:
            start: Position up to which the text is known.
            end: Position at which the audio may begin to be good again.
            now: The time.
        """

    @abstractmethod
    def _send_commands(self, now: float) -> None:
        """Send the commands that belong at the position that was reached."""

    @abstractmethod
    def _forget_commands(self) -> None:
        """Expect no answer any more."""

    @abstractmethod
    def _last_events(self, *, is_complete: bool) -> Sequence[T]:
        """Return the text known so far, because no more will follow."""
