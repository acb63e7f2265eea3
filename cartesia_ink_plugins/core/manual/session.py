"""The session of `/stt/websocket`, without IO: the caller decides when speech is over.

    audio ─▶ ... ─▶ finalize ─▶ transcripts (deltas) ─▶ flush_done ─▶ Final

`ManualReplay` makes finals of deltas and places `finalize` in the audio; this class bounds every
wait for an answer. Connections are the matter of `StreamSession`, which also says how a session is
driven.

https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, TypeAlias

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    Connected,
    Done,
    ErrorMessage,
    Final,
    FlushDone,
    Interim,
    Malformed,
    ManualEvent,
    Message,
    Transcript,
    Unknown,
)
from cartesia_ink_plugins.core.manual.replay import ManualReplay
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.core.stats import Unrecognized
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.reconnect import Jitter
from cartesia_ink_plugins.core.stream.session import StreamSession
from cartesia_ink_plugins.core.stream.unread import bound
from cartesia_ink_plugins.core.tap import MomentKind, Tap

_FINALIZE = "finalize"
_CLOSE_TIMEOUT = 1.0  # seconds that the server may take to close after `done`

TextResult: TypeAlias = Interim | Final


def merge_unread(queue: deque[ManualEvent], event: ManualEvent) -> None:
    """Put an event into the queue of the application.

    An interim that nobody has read is replaced by the next text. `finalize` alone is enough to use
    the client, so nobody may read the queue at all.
    """
    if queue and isinstance(queue[-1], Interim) and isinstance(event, Interim | Final):
        queue.pop()
    queue.append(event)
    bound(queue)


class ManualSession(StreamSession[TextResult]):
    """One stream, over as many connections as it takes.

    Attributes:
        replay: The text, and what is pending.
    """

    close_command: ClassVar[str] = "close"

    def __init__(
        self,
        options: ManualOptions,
        resilience: Resilience,
        *,
        jitter: Jitter,
        epoch: float = 0.0,
        session_id: str = "manual",
        taps: Iterable[Tap] = (),
    ) -> None:
        """Prepare; nothing happens before `start` or the first audio.

        Args:
            options: What each connection asks for.
            resilience: How the session recovers.
            jitter: Returns a number from 0 to 1, so that many sessions do nothing in one instant.
            epoch: Wall-clock time at `now` = 0, in seconds; speech times are given on that clock.
            session_id: Begins every log line.
            taps: Observers.
        """
        super().__init__(
            options.format,
            resilience,
            jitter=jitter,
            session_id=session_id,
            taps=taps,
            append=merge_unread,
        )
        self._options = options
        self.replay = ManualReplay(self.sender, epoch, self.log)
        self._finalize_timeout = resilience.drain_timeout

    @property
    def options(self) -> ManualOptions:
        """What the next connection asks for, with all changes made so far."""
        return self._options

    @property
    def next_timeout(self) -> float:
        """When `timeout` must be called next; infinity when only an input can change anything."""
        return min(super().next_timeout, self.replay.pending.deadline)

    @property
    def turns(self) -> int:
        """How many finals were given."""
        return self.replay.transcript.number - 1

    @property
    def has_pending_transcript(self) -> bool:
        """Whether the server has still to send text for audio that was handed in."""
        return self.replay.has_pending_transcript

    @property
    def next_final(self) -> int:
        """The number of the final that a `finalize` called now is answered with."""
        replay = self.replay
        return replay.number - (replay.pending.last == self.sender.buffer.end)

    def unrecognized(self) -> Unrecognized:
        """Return what has no final text yet; to be called while there is no connection."""
        return self.replay.unrecognized()

    # --- inputs of the application ------------------------------------------------------------

    def finalize(self, now: float, timeout: float | None = None) -> int:
        """Speech is over; a `Final` with the text up to here follows.

        Without audio since the last one it is empty and follows at once. A second call at the same
        position is the same final.

        Args:
            now: The time.
            timeout: Seconds to wait once the audio is sent; after that the final has the text that
                is known.

        Returns:
            The number of the final, as in its `timing.turn`.

        Raises:
            ClosedError: The session was finished or is over.
            UsageError: The timeout is not positive.
        """
        self.require_open("finalize")
        if timeout is not None and timeout <= 0:
            raise UsageError(f"timeout: {timeout} is not positive")
        self.analyse()
        replay = self.replay
        if replay.is_finalized:
            self._emit_text([replay.end(self.sender.buffer.end, is_complete=True)], now)
            return replay.number - 1
        wait = self._finalize_timeout if timeout is None else timeout
        number = replay.finalize(wait, now + wait + self._backlog_seconds())
        if self.connection.state is ConnectionState.IDLE:
            self.connection.connect(now)
        self._send_commands(now)
        return number

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Change the keyterms from the next pause on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many, or the model takes none.
        """
        options = replace(self.options, keyterms=keyterms)
        if options != self._options:
            self._options = options
            self.taps.on(now, MomentKind.SETTINGS, options)
            self.options_changed(now)

    def set_epoch(self, epoch: float) -> None:
        """Set the wall-clock time at `now` = 0, in seconds: the clock may have been adjusted."""
        self.replay.speech.epoch = epoch

    # --- inputs of network and clock ----------------------------------------------------------

    def connection_opened(self, now: float, request_id: str | None = None) -> None:
        """The upgrade succeeded; this endpoint sends no `connected`."""
        self.emit(Connected(request_id), now)
        super().connection_opened(now, request_id)

    def timeout(self, now: float) -> None:
        """Do what is due; to be called at `next_timeout`, or at any time."""
        super().timeout(now)
        self._give_up_late(now)

    def _give_up_late(self, now: float) -> None:
        """End the segments whose answer is late, with the text that is known."""
        late = []
        while item := self.replay.pending.take_late(now):
            self._emit_text([self.replay.end(item.position, is_complete=False)], now)
            late.append(item)
        is_open = self.connection.state is ConnectionState.OPEN
        if is_open and any(item.is_sent for item in late):
            # A late answer on this connection could not be told from the next one.
            self.drop("no answer to finalize", now)
        elif late:
            self._send_commands(now)

    # --- messages -----------------------------------------------------------------------------

    def _handle(self, message: Message, now: float) -> None:
        match message:
            case Transcript():
                self._accepted()
                self._emit_text(self.replay.receive(message, now), now)
                self.text_reached(self.replay.transcript.reached)
            case FlushDone():
                self._accepted()
                finals = self.replay.acknowledged()
                if not finals:
                    self.count_violation("flush_done without finalize")
                self.text_reached(self.replay.transcript.reached)
                self._emit_text(finals, now)
            case Done() if self.is_close_sent:
                # All text has arrived; the server closes, or the session does.
                self._accepted()
                request_id = self.connection.request_id
                self._emit_text(self.replay.last(request_id, is_complete=True), now)
                self.drain.end_by(now + _CLOSE_TIMEOUT)
            case ErrorMessage():
                self.server_error(message, now)
            case Malformed() | Unknown():
                self.count_violation(message.reason)
            case _:
                self.count_violation(f"{message.type} without a request")

    def _accepted(self) -> None:
        self.connection.accepted()

    def _emit_text(self, events: Sequence[TextResult], now: float) -> None:
        for event in events:
            self.emit(replace(event, request_id=self.connection.request_id), now)

    # --- what `Endpoint` asks for -------------------------------------------------------------

    def _audio_analysed(self, pcm: bytes, received_at: float) -> None:
        self.replay.speech.audio_received(pcm, received_at)

    def _do_housekeeping(self, now: float) -> None:
        self.sender.needs_position = self.has_pending_transcript
        if self.connection.state is ConnectionState.OPEN and not self.sender.backlog:
            self.send_keepalive_silence(now, in_turn=False)
            self.replay.release_silence(now)
            self.reconnect_for_new_options(now)

    def _begin_replay(self, now: float) -> int:
        return self.replay.begin(now)

    def _interrupt_transcript(self) -> None:
        self.replay.connection_lost()

    def _give_up(self, start: int, end: int, now: float) -> None:
        self.replay.give_up(start, end)

    def _send_commands(self, now: float) -> None:
        """Send `finalize` where it belongs, then let the audio behind it go."""
        while self.connection.state is ConnectionState.OPEN and self.replay.finalize_due():
            self.send_command(_FINALIZE, now)
            self.sender.pump(now)
        self.send_close_if_due(now)

    def _forget_commands(self) -> None:
        self.replay.pending.clear()

    def _last_events(self, *, is_complete: bool) -> Sequence[TextResult]:
        return self.replay.last(self.connection.request_id, is_complete=is_complete)

    def _backlog_seconds(self) -> float:
        """Seconds it takes to send what the present connection, or the next, was not sent."""
        sender = self.sender
        is_open = self.connection.state is ConnectionState.OPEN
        sent = sender.sent if is_open else self.replay.transcript.checkpoint.position
        size = sender.buffer.end - max(sent, sender.buffer.start)
        return sender.format.seconds(size) / sender.pacer.rate
