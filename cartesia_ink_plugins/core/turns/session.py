"""The session of `/stt/turns/websocket`, without IO: audio and messages in, actions and events out.

`TurnTranscript` makes one run of turns of what several connections sent, `SpeechTracker` tells
where there was speech, `TurnReplay` where a replay begins, `StallDetector` when a silent server is
a broken one, `PendingSettings` which options are in force. Connections are the matter of
`StreamSession`, which also says how a session is driven.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias

from cartesia_ink_plugins.core.errors import is_permanent
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
    Event,
    Malformed,
    Message,
    SettingsRejected,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unknown,
    converted,
)
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.stats import Unrecognized
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.reconnect import Jitter
from cartesia_ink_plugins.core.stream.session import StreamSession
from cartesia_ink_plugins.core.stream.unread import bound
from cartesia_ink_plugins.core.tap import MomentKind, Tap
from cartesia_ink_plugins.core.turns.replay import TurnReplay
from cartesia_ink_plugins.core.turns.settings import PendingSettings
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.core.turns.stall import StallDetector
from cartesia_ink_plugins.core.turns.transcript import TurnTranscript

# Unread events; beyond that only the newest update of a turn is kept, and beyond `MAX_UNREAD` only
# the newest turns.
_MAX_UNREAD = 100

TurnsEvent: TypeAlias = TurnEvent | SettingsRejected


def merge_unread(queue: deque[Event], event: Event) -> None:
    """Put an event into the queue of the application.

    An eager end that is void before anybody read it becomes an update.
    """
    last = queue[-1] if queue else None
    if isinstance(last, TurnEagerEnd) and isinstance(event, TurnResume | TurnEnd):
        last = queue[-1] = converted(last, TurnUpdate)
        if isinstance(event, TurnResume):
            return
    has_more_text = isinstance(last, TurnUpdate) and isinstance(event, TurnUpdate | TurnEnd)
    if has_more_text and len(queue) >= _MAX_UNREAD:
        queue.pop()
    queue.append(event)
    bound(queue)


class TurnsSession(StreamSession[TurnsEvent]):
    """One conversation, over as many connections as it takes.

    Attributes:
        transcript: The turns.
        speech: The speech in the audio.
    """

    close_command: ClassVar[str] = json.dumps({"type": "close"}, separators=(",", ":"))

    def __init__(
        self,
        options: TurnsOptions,
        resilience: Resilience,
        *,
        jitter: Jitter,
        epoch: float = 0.0,
        session_id: str = "turns",
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
        self.transcript = TurnTranscript(self.log, self.count_violation)
        self.speech = SpeechTracker(options.format, epoch)
        self._stall = StallDetector(self.speech.vad, options.format, resilience.stall_timeout)
        self._replay = TurnReplay(self.sender, self.transcript, self.speech, self._stall)
        self._settings = PendingSettings(options)

    @property
    def options(self) -> TurnsOptions:
        """What the next connection asks for, with all changes made so far."""
        return self._settings.options

    @property
    def turns(self) -> int:
        """How many turns were begun."""
        return self.transcript.turn

    @property
    def has_pending_transcript(self) -> bool:
        """Whether the server has still to send text for audio that was handed in."""
        return self._replay.has_pending_transcript

    def unrecognized(self) -> Unrecognized:
        """Return what has no final text yet; to be called while there is no connection."""
        self.analyse()
        return self._replay.unrecognized()

    # --- inputs of the application ------------------------------------------------------------

    def configure(self, changes: TurnSettings, now: float) -> None:
        """Change thresholds in mid-session, without a new connection.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        command = self._settings.configure(changes, now, self.connection.state)
        self.taps.on(now, MomentKind.SETTINGS, self.options)
        if command is not None and not self.is_finishing:
            self.send_command(command, now)

    def update_keyterms(self, keyterms: Sequence[str], now: float) -> None:
        """Change the keyterms from the next turn on; the API takes them at connect time only.

        Raises:
            UsageError: There are too many.
        """
        if self._settings.update_keyterms(keyterms):
            self.taps.on(now, MomentKind.SETTINGS, self.options)
            self.options_changed(now)

    def set_epoch(self, epoch: float) -> None:
        """Set the wall-clock time at `now` = 0, in seconds: the clock may have been adjusted."""
        self.speech.epoch = epoch

    # --- messages -----------------------------------------------------------------------------

    def _handle(self, message: Message, now: float) -> None:
        match message:
            case TurnStart() | TurnUpdate() | TurnEagerEnd() | TurnResume() | TurnEnd():
                self._accepted(message.request_id, now)
                self._turn_event(message, now)
            case Connected():
                self._accepted(message.request_id, now)
            case ErrorMessage():
                self._error(message, now)
            case Malformed() | Unknown():
                self.count_violation(message.reason)
            case _:
                self.count_violation(f"{message.type} on this endpoint")

    def _accepted(self, request_id: str | None, now: float) -> None:
        connection = self.connection
        if not connection.is_accepted:
            connection.accepted()
            self._settings.accepted(connection.opened_at)
            connection.request_id = request_id or connection.request_id
            self.emit(Connected(connection.request_id), now)

    def _turn_event(self, event: TurnEvent, now: float) -> None:
        transcript, speech, replay = self.transcript, self.speech, self._replay
        if isinstance(event, TurnStart):
            self._end_turn_if_over(now)
        was_open = transcript.is_open
        position = self.sender.server.likely(now)
        onset = 0 if was_open else replay.turn_started(position, now)
        timing = speech.timing(event, transcript.turn_of_next, position)
        is_replaying = replay.is_replaying
        for told in transcript.receive(event, timing, is_replaying=is_replaying):
            self.emit(told, now)
        self.text_reached(transcript.reached)
        if transcript.needs_longer_replay:
            self.drop("the replay did not repeat the known text", now)
            return
        if not transcript.overlap_is_pending:
            replay.event_received(event, position, now, was_open=was_open, onset=onset)
        is_end = isinstance(event, TurnEnd)
        self._stall.event_received(position, now, text=transcript.text, is_end=is_end)
        # A replay comes faster than real time: it shows no silence as the server measures it.
        if isinstance(event, TurnEnd) and event.transcript.strip() and not is_replaying:
            speech.turn_ended(position)
        self.reconnect_for_new_options(now)

    def _end_turn_if_over(self, now: float) -> None:
        """End a turn whose connection was lost, once its audio shows that it is over."""
        if self._replay.is_turn_over(now, self.connection):
            for event in self._last_events(is_complete=True):
                self.emit(event, now)

    def _error(self, message: ErrorMessage, now: float) -> None:
        """The server reports an error; it may only be about the latest change of settings."""
        is_accepted = self.connection.is_accepted
        is_reverted = is_permanent(message.status) and self._settings.revert(
            now, is_accepted=is_accepted
        )
        self.server_error(
            message, now, SettingsRejected(message, self.options.turn) if is_reverted else None
        )

    # --- what `Endpoint` asks for -------------------------------------------------------------

    def _audio_analysed(self, pcm: bytes, received_at: float) -> None:
        self.speech.vad.audio_received(pcm, received_at)

    def _do_housekeeping(self, now: float) -> None:
        self._end_turn_if_over(now)
        sender, transcript = self.sender, self.transcript
        sender.needs_position = self.has_pending_transcript
        if self.connection.state is not ConnectionState.OPEN:
            return
        is_stalled = self._stall.is_stalled(
            sender.sent,
            now,
            is_open=transcript.is_open,
            is_awaiting_replay=transcript.is_awaiting_replay,
            end_silence=self.options.turn.max_end_silence,
        )
        if is_stalled:
            is_accepted = self.connection.is_accepted
            self._stall.connection_replaced(sender.sent, is_accepted=is_accepted)
            self.drop("speech, but no turn event", now)
            return
        if self.send_keepalive_silence(now, in_turn=transcript.is_open):
            self.speech.audio_stopped(sender.sent)
        self._replay.release_silence(now)
        self.reconnect_for_new_options(now)

    def _begin_replay(self, now: float) -> int:
        command = self._settings.connection_opened(now)
        if command is not None:
            self.send_command(command, now)
        return self._replay.begin(now)

    def _interrupt_transcript(self) -> None:
        self._replay.connection_lost()

    def _give_up(self, start: int, end: int, now: float) -> None:
        for event in self._last_events(is_complete=True):
            self.emit(event, now)
        self._replay.give_up(start, end)

    def _send_commands(self, now: float) -> None:
        self.send_close_if_due(now)

    def _forget_commands(self) -> None:
        """No command of this endpoint is answered."""

    def _last_events(self, *, is_complete: bool) -> Sequence[TurnsEvent]:
        turn, sent = self.transcript.turn_of_next, self.sender.sent
        timing = self.speech.timing(TurnEnd(""), turn, sent)
        return self.transcript.end_with_known_text(timing, self.connection.request_id)
