"""The manual replay: one orderly run of finals, made of what several connections were sent.

It knows the text (`ManualTranscript`), the calls of `finalize` that are pending (`FinalizeQueue`),
and from the audio itself (`ManualSpeech`) which audio the text covers. What precedes that leaves
the replay buffer.
"""

from __future__ import annotations

from dataclasses import replace

from cartesia_ink_plugins.core.events import Final, Interim, Timing, Transcript
from cartesia_ink_plugins.core.log import Log
from cartesia_ink_plugins.core.manual.finalize import FinalizeQueue
from cartesia_ink_plugins.core.manual.speech import ManualSpeech
from cartesia_ink_plugins.core.manual.transcript import ManualTranscript
from cartesia_ink_plugins.core.stats import Unrecognized
from cartesia_ink_plugins.core.stream.sender import AudioSender


class ManualReplay:
    """The text of a manual session, whatever becomes of its connections.

    Attributes:
        transcript: The text.
        pending: Calls of `finalize` that are not answered yet.
        speech: The speech in the audio.
    """

    def __init__(self, sender: AudioSender, epoch: float, log: Log) -> None:
        """Stand between the audio and the text; `epoch` is the wall-clock time at `now` = 0."""
        self.transcript = ManualTranscript()
        self.pending = FinalizeQueue()
        self.speech = ManualSpeech(sender.format, epoch)
        self._sender = sender
        self._log = log
        self._settled_position = 0  # where the last complete final ended
        self._final_position = 0  # where the last final ended
        self._opened_from = 0
        self._lost_at = 0

    @property
    def number(self) -> int:
        """The number that the final of a `finalize` called now has."""
        return self.transcript.number + len(self.pending)

    @property
    def is_finalized(self) -> bool:
        """Whether nothing was handed in since the last final, and nothing is pending."""
        return not self.pending and self._settled_position == self._sender.buffer.end

    @property
    def has_pending_transcript(self) -> bool:
        """Whether the server has still to send text for audio that was handed in."""
        sender, checkpoint = self._sender, self.transcript.checkpoint
        has_speech = self.speech.has_speech(checkpoint.position, sender.buffer.end)
        return bool(self.pending or sender.backlog or has_speech)

    # --- connections --------------------------------------------------------------------------

    def begin(self, now: float) -> int:
        """A connection is open, the first or another one; return from where it is sent audio."""
        sender, held = self._sender, self._sender.buffer.start
        position = max(self.transcript.checkpoint.position, held)
        if sender.counts.connections:
            is_missing = held > self.transcript.checkpoint.position
            overlaps = held < self._lost_at
            self.transcript.connection_replaced(keep_known=is_missing, overlaps=overlaps)
        self._opened_from = position
        self.update_limit()
        rate = sender.format.byte_rate * sender.pacer.rate
        self.pending.connection_opened(position, rate, now)
        return position

    def connection_lost(self) -> None:
        """The connection is gone."""
        self._lost_at = max(self._lost_at, self._sender.sent)
        self.pending.connection_lost()

    def give_up(self, start: int, end: int) -> None:
        """The audio between two positions is replayed no more; the text known so far is kept.

        Args:
            start: What precedes it has been transcribed.
            end: Where it ends at the earliest; it ends with a pause.
        """
        start = max(start, self.transcript.checkpoint.position)
        end = self._sender.give_up(start, self.speech.speech_end(end))
        self.transcript.keep_known_text(max(self.transcript.checkpoint.position, end))

    def unrecognized(self) -> Unrecognized:
        """Return what the next connection would begin with."""
        buffer, transcript = self._sender.buffer, self.transcript
        position = max(transcript.checkpoint.position, buffer.start)
        is_held = buffer.start <= transcript.checkpoint.position
        text = transcript.text_at_checkpoint if is_held else transcript.text
        return Unrecognized(text, buffer.read(position, buffer.end - position))

    # --- finalize -----------------------------------------------------------------------------

    def finalize(self, timeout: float, deadline: float) -> int:
        """Finalize all audio so far; a second call at the same position is the same final.

        Args:
            timeout: Seconds that the answer may take once the audio is sent.
            deadline: When it is given up.

        Returns:
            The number of its final.
        """
        position = self._sender.buffer.end
        if self.pending.last != position:
            self.pending.add(position, timeout, deadline)
        return self.number - 1

    def finalize_due(self) -> bool:
        """Whether `finalize` belongs at the position that was reached; if so, it is sent now."""
        self.update_limit()
        item = self.pending.unsent
        if item is None or self._sender.sent < item.position:
            return False
        item.is_sent = True
        self.update_limit()
        return True

    def update_limit(self) -> None:
        """Let the sender stop where the next `finalize` belongs."""
        item = self.pending.unsent
        self._sender.limit = item.position if item else None

    # --- text ---------------------------------------------------------------------------------

    def receive(self, delta: Transcript, now: float) -> list[Interim]:
        """Take a delta; the application often receives nothing for it."""
        sender, transcript = self._sender, self.transcript
        interim = transcript.receive(delta, sender.format.seconds(self._opened_from))
        received = sender.server.likely(now)
        settled = self.speech.settled_position(transcript.checkpoint.position, received)
        if settled is not None and not self.pending:
            self._set_checkpoint(settled)
        if interim is None:
            return []
        return [replace(interim, timing=self._timing(sender.sent, is_over=False))]

    def acknowledged(self) -> list[Final]:
        """The server sent `flush_done`; nothing follows when nothing was pending."""
        position = self.pending.acknowledged()
        return [] if position is None else [self.end(position, is_complete=True)]

    def end(self, position: int, *, is_complete: bool) -> Final:
        """End the open segment at a position; it is complete when all its text has arrived."""
        timing, transcript = self._timing(position, is_over=True), self.transcript
        final = transcript.finish(position) if is_complete else transcript.interrupt()
        self._final_position = position
        if is_complete:
            self._settled_position = position
            self._sender.buffer.release(position)
        else:
            self._log.info("the server did not confirm final %d", timing.turn)
        return replace(final, timing=timing)

    def last(self, request_id: str | None, *, is_complete: bool) -> list[Final]:
        """Return the text known so far, because no more will follow."""
        finals = []
        while self.pending:
            finals.append(self.end(self.pending.take(), is_complete=is_complete))
        if self.transcript.text:
            last = self.end(self._sender.buffer.end, is_complete=is_complete)
            finals += [last] if last.text else []
        return [replace(final, request_id=request_id) for final in finals]

    def release_silence(self, now: float) -> None:
        """Let audio without speech leave the replay buffer."""
        received = self._sender.server.likely(now)
        silent = self.speech.silent_until(self.transcript.checkpoint.position, received)
        if silent is not None and not self.pending:
            self._set_checkpoint(silent)

    # --- inside -------------------------------------------------------------------------------

    def _set_checkpoint(self, position: int) -> None:
        """Text and audio agree at a position: a replay begins there."""
        if position > self.transcript.checkpoint.position:
            self.transcript.set_checkpoint(position)
            self._sender.buffer.release(position)

    def _timing(self, position: int, *, is_over: bool) -> Timing:
        number, begun = self.transcript.number, self._final_position
        return self.speech.timing(number, begun, position, is_over=is_over)
