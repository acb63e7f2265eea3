"""What a streaming endpoint is made of, and what it defines.

`Endpoint` holds the parts that both endpoints use and the abstract methods in which they differ.
`StreamSession` adds the inputs; `TurnsSession` and `ManualSession` define the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeAlias, TypeVar

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import ConnectionEvent, Message
from cartesia_ink_plugins.core.log import SessionLog
from cartesia_ink_plugins.core.options import ConnectionOptions, Resilience
from cartesia_ink_plugins.core.stats import Snapshot, Violations, snapshot
from cartesia_ink_plugins.core.stream.outbox import Outbox
from cartesia_ink_plugins.core.stream.reconnect import Jitter
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
        violations: How often the server broke the protocol.
    """

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
        self.violations = Violations()

    def snapshot(self) -> Snapshot:
        """Return the numbers of the session."""
        sender = self.sender
        return snapshot(
            sender.counts, sender.format, turns=self.taps.turn, violations=self.violations
        )

    def emit(self, event: ConnectionEvent | T, now: float) -> None:
        """Give the application an event."""
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

    # --- what an endpoint defines -------------------------------------------------------------

    @property
    @abstractmethod
    def options(self) -> ConnectionOptions:
        """What the next connection asks for, with all changes made so far."""

    @abstractmethod
    def set_epoch(self, epoch: float) -> None:
        """Set the wall-clock time at `now` = 0, in seconds: the clock may have been adjusted."""

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
    def _send_commands(self, now: float) -> None:
        """Send the commands that belong at the position that was reached."""

    @abstractmethod
    def _forget_commands(self) -> None:
        """Expect no answer any more."""

    @abstractmethod
    def _last_events(self, *, is_complete: bool) -> Sequence[T]:
        """Return the text known so far, because no more will follow."""
