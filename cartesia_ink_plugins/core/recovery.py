"""Recovery: where a replay begins, and when a turn whose connection died is over.

Between turns the replay begins at the *floor*, the silence after the last turn, or before the first
speech since then that nobody has announced. In a turn it begins at a checkpoint: the turn's onset,
or the pause at an eager end, whose text covers all speech before it. What precedes the earliest
position that may still be needed leaves the ledger.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.conversation import Checkpoint, Conversation
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnEvent, TurnResume
from cartesia_ink_plugins.core.link import Link, LinkState
from cartesia_ink_plugins.core.listening import Listening

_HEARS_NOTHING_AFTER = 3.0
_REPLAY_LATENCY = 2.0


class Recovery:
    """Follows the turns with checkpoints, and knows what to do with them after a loss."""

    def __init__(self, link: Link, conversation: Conversation, listening: Listening) -> None:
        """Stand between the audio, the turns and the ear."""
        self._link = link
        self._conversation = conversation
        self._listening = listening
        self._floor = 0
        self._resume_at = 0
        self._lost_at = 0

    @property
    def is_replaying(self) -> bool:
        """Whether the server may still be talking about audio its predecessor had heard."""
        lost_at = self._lost_at
        return lost_at > 0 and self._link.sent < lost_at + self._link.format.size(_REPLAY_LATENCY)

    @property
    def is_owed(self) -> bool:
        """Whether the server has still to say something about audio that was handed in."""
        return self._conversation.is_open or self._link.backlog > 0 or self._has_unheard_speech

    @property
    def resume_at(self) -> int:
        """The stream position from which the next connection is sent audio."""
        return max(self._resume_at, self._link.ledger.start)

    @property
    def text_before_resume(self) -> str:
        """The text of the open turn that `resume_at` comes after."""
        conversation, checkpoint = self._conversation, self._conversation.checkpoint
        if self._link.ledger.start > self._resume_at or checkpoint is None:
            return conversation.text
        return checkpoint.text

    @property
    def _has_unheard_speech(self) -> bool:
        """Whether there was speech since the last turn that no turn event has answered."""
        link = self._link
        unannounced = self._listening.idle_checkpoint(link.sent, self._floor)
        return self._listening.spoke(unannounced, link.sent)

    def onset(self, heard: int, now: float) -> int:
        """Where a replay of a turn that is announced just now must begin."""
        least = self._link.heard_at_least(now)
        return self._listening.turn_checkpoint(heard, self._floor, least)

    def follow(
        self, event: TurnEvent, heard: int, now: float, *, was_open: bool, onset: int
    ) -> None:
        """Move the checkpoint after a turn event.

        Args:
            event: As it came.
            heard: What the server had heard when it said so, most likely.
            now: When it came.
            was_open: Whether a turn was open before it.
            onset: What `onset` said before it.
        """
        conversation, link, listening = self._conversation, self._link, self._listening
        if conversation.is_open and not was_open:
            conversation.add_checkpoint(onset)
        elif was_open and not conversation.is_open:
            least = link.heard_at_least(now)
            self._floor = listening.end_checkpoint(link.sent, self._floor, least)
            link.ledger.settle(self._floor)
        checkpoint = conversation.checkpoint
        if checkpoint is None:
            return
        if isinstance(event, TurnEagerEnd):
            pause = listening.pause(link.sent, link.heard_at_least(now))
            if pause is not None and pause > checkpoint.position:
                conversation.add_checkpoint(pause)
                # The one before stays: an eager end that came late may yet turn out to be wrong.
                link.ledger.settle(checkpoint.position)
        elif self._doubts(event, checkpoint) and not listening.spoke(checkpoint.position, heard):
            conversation.revoke_checkpoint()

    def _doubts(self, event: TurnEvent, checkpoint: Checkpoint) -> bool:
        """Whether an event makes the last checkpoint doubtful, should nobody have spoken since."""
        if isinstance(event, TurnResume):
            # A pause after which nobody spoke is not the pause the server meant.
            return True
        # Words that come late: those of the eager end were not all that was said before it.
        return self._conversation.is_eager and self._conversation.text != checkpoint.text

    def settle_between_turns(self) -> None:
        """Let go of audio in which there was nothing to hear."""
        link, listening = self._link, self._listening
        if not self._conversation.is_open:
            checkpoint = listening.idle_checkpoint(link.sent, self._floor)
            link.ledger.settle(listening.keep_from(checkpoint, link.sent))

    def lost(self) -> None:
        """The connection is gone: decide where the next one begins to hear."""
        link, conversation = self._link, self._conversation
        self._lost_at = max(self._lost_at, link.sent)
        if not conversation.checkpoints:
            self._resume_at = self._listening.idle_checkpoint(link.sent, self._floor)
        else:
            before = conversation.checkpoints[-2:][0].position
            if not self._listening.knows_end_silence and before >= link.ledger.start:
                # Nobody knows yet how much silence ends a turn: let the server hear the words
                # before the pause again, and decide.
                conversation.revoke_checkpoint()
            self._resume_at = conversation.checkpoints[-1].position
        conversation.reconnected()

    def reconnected(self, now: float) -> int:
        """There is a connection, the first or another one.

        Returns:
            The position from which it is to be sent audio.
        """
        held = self._link.ledger.start
        if self._conversation.is_open and held > self._resume_at:
            # The turn was longer than the ledger: go on from the words that are known.
            self._conversation.reconnected(keep_known=True, overlaps=held < self._lost_at)
        self._listening.connected(self.resume_at, now)
        return self.resume_at

    def speak(self, now: float) -> None:
        """On this endpoint nothing is said between the audio."""

    def forget(self) -> None:
        """Nothing is ever asked either."""

    def last(self, request_id: str | None, *, is_complete: bool) -> list[TurnEvent]:
        """End the open turn with the words known so far, because nothing more will be said."""
        timing = self._listening.timing(TurnEnd(""), self._link.sent)
        return self._conversation.end_with_known_text(timing)

    def carried_turn_is_over(self, now: float) -> bool:
        """Whether the audio shows that a turn whose connection died has ended."""
        conversation, link, listening = self._conversation, self._link, self._listening
        checkpoint = conversation.checkpoint
        if not conversation.is_carried or checkpoint is None:
            return False
        online = link.state is LinkState.OPEN
        heard = link.sent if online else link.ledger.end
        if checkpoint.text and checkpoint.text == conversation.text:
            silence = listening.silence_after(checkpoint.position, heard)
            over, floor = silence >= listening.end_silence, checkpoint.position
        else:
            # Every word was sent again, and then some silence, and no connection heard anything.
            silent_from = self._lost_at + link.format.size(_HEARS_NOTHING_AFTER)
            floor = max(self._lost_at, heard - link.format.size(_HEARS_NOTHING_AFTER))
            over = (
                online
                and heard >= silent_from
                and now - link.opened_at >= _HEARS_NOTHING_AFTER
                and listening.has_doubts
                and not listening.spoke(floor, heard)
            )
        if over:
            self._floor = max(self._floor, floor)
        return over
