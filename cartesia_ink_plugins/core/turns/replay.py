"""The turn replay: where a replay begins, and when a turn whose connection was lost is over.

Between turns the replay begins at the *settled position*, the silence after the last turn, or
before the first speech since then that no event has announced. In a turn it begins at a checkpoint:
the turn's onset, or the pause at an eager end, whose text covers all speech before it. What
precedes the earliest position that may still be needed leaves the replay buffer.
"""

from __future__ import annotations

import math

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnUpdate,
)
from cartesia_ink_plugins.core.stats import Unrecognized
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.stream.supervisor import ConnectionSupervisor
from cartesia_ink_plugins.core.turns.alignment import UpdateHistory
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.core.turns.stall import StallDetector
from cartesia_ink_plugins.core.turns.transcript import Checkpoint, TurnTranscript

# Seconds.
_SILENT_FOR = 3.0  # of audio without speech, after which an unanswered turn can be given up
_SETTLED_AFTER = 6.0  # without a turn event, speech that the last turn may lack was no speech
_SHORT_SOUND = 1.0  # a cough or a door; a turn of one word is not much longer
_SAME_SILENCE = 0.15  # two eager ends after silences that differ by less came equally soon
_REPLAY_LATENCY = 2.0  # of audio behind the replay, whose events may still be about the replay


class TurnReplay:
    """Follows the turns with checkpoints, and knows what to do with them after a loss."""

    def __init__(
        self,
        sender: AudioSender,
        transcript: TurnTranscript,
        speech: SpeechTracker,
        stall: StallDetector,
    ) -> None:
        """Stand between the audio, the text and the speech."""
        self._sender = sender
        self._transcript = transcript
        self._speech = speech
        self._stall = stall
        self._settled_position = 0
        self._settled_at_latest = 0  # where several pauses may have ended the last turn
        self._eager_pause: int | None = None  # of the eager end that is valid
        self._eager_text: str | None = None  # as the server sent it
        self._eager_silence: float | None = None  # seconds before it
        self._complete_after = math.inf  # seconds of silence, it has all words said before it
        self._eager_is_partial = False  # on this server: it lacked words at least once
        self._replay_from = 0
        self._lost_at = 0
        self._updates = UpdateHistory()
        self._is_answered = False  # by a turn event, on the present connection

    @property
    def is_replaying(self) -> bool:
        """Whether events may still be about audio that the former connection was sent."""
        if not self._lost_at:
            return False
        # What was sent may still be under way: only what the server has received tells.
        end = self._lost_at + self._sender.format.size(_REPLAY_LATENCY)
        return self._sender.server.at_least < end

    @property
    def has_pending_transcript(self) -> bool:
        """Whether the server has still to send text for audio that was handed in."""
        return self._transcript.is_open or self._sender.backlog > 0 or self._has_unannounced_speech

    @property
    def _unannounced(self) -> int:
        """Where a replay between turns must begin."""
        settled = max(self._settled_position, self._stall.noise_until)
        return self._speech.unannounced(self._sender.sent, settled)

    @property
    def _has_unannounced_speech(self) -> bool:
        """Whether there is speech since the last turn that no event has announced."""
        return self._speech.has_speech(self._unannounced, self._sender.sent)

    # --- turn events --------------------------------------------------------------------------

    def turn_started(self, position: int, now: float) -> int:
        """A turn is announced just now; return where a replay of it must begin."""
        sender, settled = self._sender, max(self._settled_position, self._stall.noise_until)
        if self._is_past(self._settled_at_latest, now):
            self._transcript.expect_no_repeat()
        at_most = sender.server.at_most(sender.sent, now)
        return self._speech.turn_checkpoint(position, settled, at_most)

    def event_received(
        self, event: TurnEvent, position: int, now: float, *, was_open: bool, onset: int
    ) -> None:
        """Move the checkpoint after a turn event.

        Args:
            event: As it came.
            position: What the server had most likely received when it sent the event.
            now: The time.
            was_open: Whether a turn was open before it.
            onset: What `turn_started` returned before it.
        """
        transcript, speech = self._transcript, self._speech
        self._is_answered = True
        self._learn(event)
        if transcript.is_open and not was_open:
            self._updates.clear()
            transcript.add_onset(onset)
        elif was_open and not transcript.is_open:
            self._turn_ended(now)
        checkpoint = transcript.checkpoint
        if checkpoint is None or transcript.is_awaiting_replay:
            return  # what the server says is about a turn that is over
        sender = self._sender
        if isinstance(event, TurnUpdate) and not self.is_replaying:
            self._updates.add(sender.server.at_least, transcript.text)
        if isinstance(event, TurnEagerEnd):
            pause = speech.pause(checkpoint.position, *self._bounds(now))
            self._eager_pause = pause
            if pause is None:
                return
            self._eager_silence = sender.format.seconds(position - pause)
            if pause > checkpoint.position and self._is_complete(self._eager_silence):
                transcript.add_checkpoint(pause)
                # The one before stays: an eager end that came late may yet turn out to be wrong.
                sender.buffer.release(checkpoint.position)
        elif self._is_doubtful(event, checkpoint, position):
            transcript.revoke_checkpoint()

    def _learn(self, event: TurnEvent) -> None:
        """Learn whether an eager end has all words that were said before it.

        It need not: more may come in an update, or with the end of the turn. One that came late
        does not tell whether one that comes soon has them.
        """
        eager_text, self._eager_text = self._eager_text, None
        silence, self._eager_silence = self._eager_silence, None
        if isinstance(event, TurnEagerEnd):
            self._eager_text = event.transcript
        elif eager_text is not None and isinstance(event, TurnUpdate | TurnEnd):
            if event.transcript != eager_text:
                if self._is_complete(silence):
                    self._transcript.revoke_checkpoint()
                self._eager_is_partial = True
            elif silence is not None:
                self._complete_after = min(silence, self._complete_after)
        self._eager_pause = None

    def _is_complete(self, silence: float | None) -> bool:
        """Whether an eager end after so many seconds of silence has all words, for all we know."""
        is_soon = silence is None or silence <= self._complete_after - _SAME_SILENCE
        return not is_soon and not self._eager_is_partial

    def _turn_ended(self, now: float) -> None:
        sender, settled = self._sender, self._settled_position
        at_least, at_most = self._bounds(now)
        self._settled_position, _ = self._speech.turn_end(settled, at_least, at_most)
        # A server that answers no pings may have received more than they tell.
        _, self._settled_at_latest = self._speech.turn_end(settled, at_least, sender.sent)
        sender.buffer.release(self._settled_position)

    def _is_past(self, position: int, now: float) -> bool:
        """Whether the server has had time to announce a turn that began before a position."""
        sender = self._sender
        return sender.server.at_least > position + sender.format.size(_SETTLED_AFTER)

    def _is_silence_told(self, now: float) -> bool:
        """Whether a server that announced nothing more tells by it that there is nothing more.

        One that says nothing of speech which it must announce, or that would not have been
        replaced by now if it had stopped to say anything, tells nothing.
        """
        at_least = self._sender.server.at_least
        is_announcement_due = self._speech.has_speech(self._settled_at_latest, at_least)
        return not is_announcement_due and self._stall.should_have_answered(self._sender.sent, now)

    def _bounds(self, now: float) -> tuple[int, int]:
        """What the server had received when it sent a message: at least, and at most."""
        server = self._sender.server
        return server.at_least, server.at_most(self._sender.sent, now)

    def _is_doubtful(self, event: TurnEvent, checkpoint: Checkpoint, position: int) -> bool:
        """Whether an event makes the last checkpoint doubtful; the server had a position."""
        if checkpoint is self._transcript.checkpoints[0]:
            return False  # there is none before it: the onset of the turn stands
        if isinstance(event, TurnResume):
            # A pause after which nobody spoke is not the pause the server meant.
            return not self._speech.has_speech(checkpoint.position, position)
        # Text that came late: that of the eager end did not cover all speech before it.
        is_more = self._transcript.text != checkpoint.text
        return is_more and not self._speech.has_speech(checkpoint.position, position)

    def release_silence(self, now: float) -> None:
        """Let audio without speech leave the replay buffer between turns."""
        if not self._transcript.is_open:
            sent, settled = self._sender.sent, self._settled_at_latest
            is_between = self._is_answered and not self._transcript.is_repeating
            if is_between and self._is_past(settled, now) and self._is_silence_told(now):
                # Had the turn ended at an earlier pause, another one would have begun since.
                self._settled_position = max(self._settled_position, settled)
            self._sender.buffer.release(self._speech.keep_from(self._unannounced, sent))

    # --- connections --------------------------------------------------------------------------

    def connection_lost(self) -> None:
        """The connection is gone: decide from where the next one is sent audio."""
        sender, transcript = self._sender, self._transcript
        self._lost_at = max(self._lost_at, sender.sent)
        self._eager_text = self._eager_silence = None
        if not transcript.is_eager:
            self._eager_pause = None
        if not transcript.checkpoints:
            self._replay_from = self._unannounced
        else:
            before = transcript.checkpoints[-2:][0]
            is_doubtful = transcript.is_eager or not self._speech.knows_end_silence
            if is_doubtful and before.position >= sender.buffer.start:
                # An eager end need not have all words that were said before it; and how much
                # silence ends a turn may be unknown yet. Let the server receive them again.
                transcript.revoke_checkpoint()
            self._replay_from = transcript.checkpoints[-1].position
        transcript.connection_lost()
        is_short = self._shorten_replay()
        if not is_short and self._replay_from < self._settled_at_latest:
            transcript.expect_repeat()

    def _shorten_replay(self) -> bool:
        """Replay only the last seconds of a long turn, if its updates allow it; tell whether.

        They serve once: should the short replay fail, the next one is the long one.
        """
        transcript, is_short = self._transcript, False
        if transcript.checkpoint is not None:
            position = transcript.checkpoint.position
            short = self._updates.short_replay(transcript.text, position, self._speech)
            if short is not None:
                self._replay_from = short[0]
                transcript.expect_overlap(short[1])
                is_short = True
        self._updates.clear()
        return is_short

    def begin(self, now: float) -> int:
        """A connection is open, the first or another one; return from where it is sent audio."""
        self._is_answered = False
        held = self._sender.buffer.start
        if self._transcript.is_open and held > self._replay_from:
            # The turn is longer than the buffer: go on from the text that is known.
            self._transcript.keep_known_text(overlaps=held < self._lost_at)
        position = max(self._replay_from, held)
        self._stall.connection_opened(position, now)
        return position

    def give_up(self, start: int, end: int) -> None:
        """No turn is open, and the audio between two positions is replayed no more.

        Args:
            start: What precedes it has been transcribed.
            end: Where it ends at the earliest; it ends with a pause.
        """
        start = max(start, self._replay_from)
        end = self._sender.give_up(start, self._speech.vad.speech_end(end))
        self._settled_position = self._replay_from = max(self._settled_position, end)

    def unrecognized(self) -> Unrecognized:
        """Return what the next connection would begin with."""
        buffer, transcript = self._sender.buffer, self._transcript
        checkpoint = transcript.checkpoint
        position = max(checkpoint.position if checkpoint else self._replay_from, buffer.start)
        is_held = checkpoint is not None and buffer.start <= checkpoint.position
        text = checkpoint.text if checkpoint and is_held else transcript.text
        return Unrecognized(text, buffer.read(position, buffer.end - position))

    def is_turn_over(self, now: float, connection: ConnectionSupervisor) -> bool:
        """Whether the audio shows that a turn awaiting its replay has ended.

        Args:
            now: The time.
            connection: The present one, or the last.
        """
        transcript, speech, sender = self._transcript, self._speech, self._sender
        checkpoint = transcript.checkpoint
        if not transcript.is_awaiting_replay or checkpoint is None:
            return False
        is_open = connection.state is ConnectionState.OPEN
        end = sender.sent if is_open else sender.buffer.end
        if self._eager_pause is not None:
            if speech.silence_after(self._eager_pause, end) < speech.end_silence:
                return False
            self._turn_over(checkpoint.position, self._eager_pause)
            return True
        if checkpoint.text and checkpoint.text == transcript.text:
            if speech.silence_after(checkpoint.position, end) < speech.end_silence:
                return False
            self._turn_over(checkpoint.position, checkpoint.position)
            return True
        # The server received all audio again, and some silence behind it, and announced nothing?
        # That audio was sent does not tell: it, or what the server says of it, may be late.
        silent_for = sender.format.size(_SILENT_FOR)
        silent_from = max(self._lost_at, end - silent_for)
        is_unanswered = (
            is_open
            and sender.server.at_least >= self._lost_at + silent_for
            and now - connection.opened_at >= _SILENT_FOR
            and not speech.has_speech(silent_from, end)
        )
        if not is_unanswered:
            return False
        if self._stall.is_doubtful:
            self._turn_over(checkpoint.position, silent_from)
            return True
        # A short sound that only the lost connection took for speech. It stays in the buffer:
        # should it be speech after all, it becomes a turn of its own.
        sound = speech.vad.seconds(checkpoint.position, end)
        return connection.is_accepted and not transcript.text and sound < _SHORT_SOUND

    def _turn_over(self, at_least: int, at_most: int) -> None:
        """The open turn is over with the text that is known, which need not be all of it.

        Args:
            at_least: The position up to which all words are known.
            at_most: The position behind the last word.
        """
        self._settled_position = max(self._settled_position, at_least)
        self._settled_at_latest = max(self._settled_at_latest, at_most)
        self._transcript.expect_repeat(of_open_turn=True)
