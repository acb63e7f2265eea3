"""The turn replay: where a replay begins, and when a turn whose connection was lost is over.

Between turns the replay begins at the *settled position*, the silence after the last turn, or
before the first speech since then that no event has announced. In a turn it begins at a checkpoint:
the turn's onset, or the pause at an eager end, whose text covers all speech before it. What
precedes the earliest position that may still be needed leaves the replay buffer.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEvent, TurnResume, TurnUpdate
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
_SHORT_SOUND = 1.0  # a cough or a door; a turn of one word is not much longer
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
        self._replay_from = 0
        self._lost_at = 0
        self._updates = UpdateHistory()

    @property
    def is_replaying(self) -> bool:
        """Whether events may still be about audio that the former connection was sent."""
        sender, lost_at = self._sender, self._lost_at
        return lost_at > 0 and sender.sent < lost_at + sender.format.size(_REPLAY_LATENCY)

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

    def onset(self, position: int, now: float) -> int:
        """Where a replay of a turn that is announced just now must begin."""
        at_least = self._sender.server.at_least(now)
        return self._speech.turn_checkpoint(position, self._settled_position, at_least)

    def event_received(
        self, event: TurnEvent, position: int, now: float, *, was_open: bool, onset: int
    ) -> None:
        """Move the checkpoint after a turn event.

        Args:
            event: As it came.
            position: What the server had most likely received when it sent the event.
            now: The time.
            was_open: Whether a turn was open before it.
            onset: What `onset` returned before it.
        """
        transcript, speech = self._transcript, self._speech
        if transcript.is_open and not was_open:
            self._updates.clear()
            transcript.add_checkpoint(onset)
        elif was_open and not transcript.is_open:
            self._turn_ended(now)
        checkpoint = transcript.checkpoint
        if checkpoint is None:
            return
        sender = self._sender
        if isinstance(event, TurnUpdate) and not self.is_replaying:
            self._updates.add(sender.server.at_least(now), transcript.text)
        if isinstance(event, TurnEagerEnd):
            pause = speech.pause(sender.sent, sender.server.at_least(now))
            if pause is not None and pause > checkpoint.position:
                transcript.add_checkpoint(pause)
                # The one before stays: an eager end that came late may yet turn out to be wrong.
                sender.buffer.release(checkpoint.position)
        elif self._is_doubtful(event, checkpoint) and not speech.has_speech(
            checkpoint.position, position
        ):
            transcript.revoke_checkpoint()

    def _turn_ended(self, now: float) -> None:
        sender = self._sender
        self._settled_position = self._speech.end_checkpoint(
            sender.sent, self._settled_position, sender.server.at_least(now)
        )
        sender.buffer.release(self._settled_position)

    def _is_doubtful(self, event: TurnEvent, checkpoint: Checkpoint) -> bool:
        """Whether an event makes the last checkpoint doubtful, should nobody have spoken since."""
        if isinstance(event, TurnResume):
            # A pause after which nobody spoke is not the pause the server meant.
            return True
        # Text that came late: that of the eager end did not cover all speech before it.
        return self._transcript.is_eager and self._transcript.text != checkpoint.text

    def release_silence(self) -> None:
        """Let audio without speech leave the replay buffer between turns."""
        if not self._transcript.is_open:
            sent = self._sender.sent
            self._sender.buffer.release(self._speech.keep_from(self._unannounced, sent))

    # --- connections --------------------------------------------------------------------------

    def connection_lost(self) -> None:
        """The connection is gone: decide from where the next one is sent audio."""
        sender, transcript = self._sender, self._transcript
        self._lost_at = max(self._lost_at, sender.sent)
        if not transcript.checkpoints:
            self._replay_from = self._unannounced
        else:
            before = transcript.checkpoints[-2:][0].position
            if not self._speech.knows_end_silence and before >= sender.buffer.start:
                # How much silence ends a turn is unknown yet: let the server receive the words
                # before the pause again, and decide.
                transcript.revoke_checkpoint()
            self._replay_from = transcript.checkpoints[-1].position
        transcript.connection_lost()
        self._shorten_replay()

    def _shorten_replay(self) -> None:
        """Replay only the last seconds of a long turn, if its updates allow it.

        They serve once: should the short replay fail, the next one is the long one.
        """
        transcript = self._transcript
        if transcript.checkpoint is not None:
            position = transcript.checkpoint.position
            short = self._updates.short_replay(transcript.text, position, self._speech)
            if short is not None:
                self._replay_from = short[0]
                transcript.expect_overlap(short[1])
        self._updates.clear()

    def begin(self, now: float) -> int:
        """A connection is open, the first or another one; return from where it is sent audio."""
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
        received = sender.sent if is_open else sender.buffer.end
        if checkpoint.text and checkpoint.text == transcript.text:
            if speech.silence_after(checkpoint.position, received) < speech.end_silence:
                return False
            self._settled_position = max(self._settled_position, checkpoint.position)
            return True
        # All audio was sent again, and some silence behind it, and nobody transcribed it?
        silent_for = sender.format.size(_SILENT_FOR)
        silent_from = max(self._lost_at, received - silent_for)
        is_unanswered = (
            is_open
            and received >= self._lost_at + silent_for
            and now - connection.opened_at >= _SILENT_FOR
            and not speech.has_speech(silent_from, received)
        )
        if not is_unanswered:
            return False
        if self._stall.is_doubtful:
            self._settled_position = max(self._settled_position, silent_from)
            return True
        # A short sound that only the lost connection took for speech. It stays in the buffer:
        # should it be speech after all, it becomes a turn of its own.
        sound = speech.vad.seconds(checkpoint.position, received)
        return connection.is_accepted and not transcript.text and sound < _SHORT_SOUND
