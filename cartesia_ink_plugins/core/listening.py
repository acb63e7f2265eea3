"""What the audio itself says about turns: where one began, where it paused, whether it is over.

The session asks these questions with stream positions; the answers come from the speech clock and
from what was learnt of this server, such as how much silence it takes to end a turn. When the clock
heard nothing, the answers err on the side of keeping more audio.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median_low

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.conversation import Conversation
from cartesia_ink_plugins.core.events import Timing, TurnEagerEnd, TurnEnd, TurnEvent
from cartesia_ink_plugins.core.link import Link
from cartesia_ink_plugins.core.speech import Speech, SpeechClock

_LEAD_IN = 0.5
_LOOK_BACK = 3.0
_SAME_START = 0.3
_FRESH_SPEECH = 1.0
_SETTLED_SILENCE = 0.06
_PAUSE_MARGIN = 0.15
_THINKING = 0.15
_END_SILENCE = 2.0
_END_SILENCE_RANGE = (1.0, 6.0)
_END_MARGIN = 1.25
_STALL_SPEECH = 0.18
_DOUBTS_AFTER = 2
_NOISE_REPLAYED = 16.0
_STALL_CAP = 320.0
_END_GRACE = 3.0


class Listening:
    """The client's own ear on the conversation."""

    def __init__(self, format: AudioFormat, epoch: float) -> None:
        """Listen to audio of one format; `epoch` is the wall-clock time at `now` = 0."""
        self._format = format
        self.epoch = epoch
        self._clock = SpeechClock(format)
        self._turn_start: int | None = None
        self._earliest_start = 0
        self._end_silences: deque[float] = deque(maxlen=5)
        self._event_at = 0.0
        self._event_position = 0
        self._patience = 1.0
        self._mute = 0
        self._noise = 0
        self._known_text = ""
        self._hushed_at = 0

    def hear(self, pcm: bytes, now: float) -> None:
        """Take the next audio."""
        self._clock.hear(pcm, now)

    def hush(self, end: int) -> None:
        """The audio stopped at a position, and silence is sent in its place."""
        if self._hushed_at != end:
            self._hushed_at = end
            self._clock.interrupt()

    # --- checkpoints --------------------------------------------------------------------------

    def turn_checkpoint(self, heard: int, floor: int, least: int | None = None) -> int:
        """Where a replay of the turn that just began must begin: its onset, less a lead-in.

        Args:
            heard: What the server had heard when it said so, most likely.
            floor: Where the turn before it is over.
            least: What it must have heard; what began after it may have been the onset, too.
        """
        onset = self._onset(heard, floor)
        self._turn_start = onset.start if onset else None
        if onset is None:
            self._earliest_start = floor
            return max(floor, heard - self._format.size(_LOOK_BACK))
        start = onset.start
        if least is not None:
            early = self._onset(least, floor)
            since = [early] if early else self._clock.stretches(max(floor, least), heard)
            start = min([start, *(speech.start for speech in since)])
        self._earliest_start = start
        # Whatever was heard shortly before may have been the onset, too: a stall of the way since
        # the last ping makes the news old, and nobody can tell.
        horizon = max(floor, start - self._format.size(_LOOK_BACK))
        return self._before(self._clock.stretches(horizon, heard)[0].sound, floor)

    def pause(self, sent: int, least: int) -> int | None:
        """A position inside the pause at which the server said something.

        It had heard something between `least` and `sent`, and takes some time to think. When it is
        not clear which of two pauses was meant, or whether there was one, the answer is None.
        """
        last = self._finished(sent)
        if last is None or last is not self._finished(least - self._format.size(_THINKING)):
            return None
        return self._within_pause(last, sent)

    def end_checkpoint(self, sent: int, floor: int, least: int) -> int:
        """Where the audio of the turn that just ended is over.

        The server had heard something between `least` and `sent`; if that leaves a choice of
        pauses since the turn began, the longest is the one that ended it.
        """
        last, newest = self._finished(sent), self._clock.last(sent)
        if last is None and newest is not None and newest.start > least:
            # What is being said now, and for a while, it need not have heard.
            last = self._clock.last(newest.start)
        if last is None:
            return max(floor, least - self._format.size(_LEAD_IN))
        first = self._finished(least) or last
        found, longest = last, self._silence_end(last, sent) - last.end
        since = max(first.end - 1, self._earliest_start)
        for speech, following in pairwise(self._clock.stretches(since, last.end)):
            if following.start - speech.end > longest:
                found, longest = speech, following.start - speech.end
        return max(floor, self._within_pause(found, sent))

    def idle_checkpoint(self, sent: int, floor: int) -> int:
        """Where a replay between turns must begin: before speech nobody has announced yet."""
        horizon = max(floor, self._noise)
        unannounced = self._clock.stretches(horizon, sent)
        start = sent - self._format.size(_LEAD_IN)
        if unannounced:
            start = min(start, unannounced[0].sound - self._format.size(_LEAD_IN))
        return max(horizon, start)

    def keep_from(self, checkpoint: int, sent: int) -> int:
        """What may leave the ledger between turns: a quiet voice may have escaped the clock."""
        return min(checkpoint, sent - self._format.size(_LOOK_BACK))

    def spoke(self, after: int, before: int) -> bool:
        """Whether there was speech between two positions."""
        return self._clock.seconds(after, before) > _SETTLED_SILENCE

    # --- time ---------------------------------------------------------------------------------

    def timing(self, event: TurnEvent, sent: int) -> Timing:
        """The times of an event; the turn's number is filled in by the conversation."""
        end = self._finished(sent) if isinstance(event, TurnEagerEnd | TurnEnd) else None
        if end is not None and self._turn_start is not None and end.end <= self._turn_start:
            end = None
        return Timing(
            turn=0,
            position=self._format.seconds(sent),
            speech_start=self._wall(self._turn_start),
            # The last byte of it: what follows may have come much later.
            speech_end=self._wall(end.end - 1 if end else None),
        )

    # --- is the turn over, is the server alive? -----------------------------------------------

    def silence_after(self, position: int, before: int) -> float:
        """Seconds of silence from the last speech before `position` to the next, or to `before`."""
        last = self._clock.last(position)
        start = min(last.end, position) if last else position
        following = self._clock.stretches(position, before)
        end = following[0].start if following else before
        return self._format.seconds(max(0, end - start))

    @property
    def knows_end_silence(self) -> bool:
        """Whether this server was seen to end a turn."""
        return bool(self._end_silences)

    @property
    def end_silence(self) -> float:
        """Seconds of silence after which this server ends a turn; a guess until it was seen."""
        if not self._end_silences:
            return _END_SILENCE
        low, high = _END_SILENCE_RANGE
        return min(high, max(low, _END_MARGIN * median_low(self._end_silences)))

    def connected(self, position: int, now: float) -> None:
        """A new connection begins to hear at a position."""
        self._event_position, self._event_at = position, now

    def event(
        self,
        event: TurnEvent,
        conversation: Conversation,
        sent: int,
        now: float,
        *,
        replaying: bool = False,
    ) -> None:
        """Remember that the server is alive, and what it does with silence.

        While it is `replaying`, audio comes too fast to tell how much silence there was.
        """
        self._event_position, self._event_at = sent, now
        self._mute = 0
        text = conversation.text
        if isinstance(event, TurnEnd) or len(text) > len(self._known_text):
            self._patience = 1.0
        self._known_text = text
        if isinstance(event, TurnEnd) and event.transcript.strip() and not replaying:
            last = self._finished(sent)
            if last is not None:
                self._end_silences.append(self._format.seconds(sent - last.end))

    def is_stalled(
        self, link: Link, conversation: Conversation, timeout: float, end_timeout: float, now: float
    ) -> bool:
        """Whether the server should have said something by now."""
        # A turn was announced, so somebody spoke: no doubt that there is something to be said.
        sure = conversation.is_carried and not self.has_doubts
        patience = 1.0 if sure else self._patience
        quiet = now - self._event_at
        if quiet < timeout * patience:
            return False
        speech = self._clock.stretches(self._event_position, link.sent)
        if self._clock.seconds(self._event_position, link.sent) >= _STALL_SPEECH:
            begun = max(speech[0].start, self._event_position)
            sent_at = self._event_at + self._format.seconds(begun - self._event_position)
            # Audio may have stopped in between, as that of a muted microphone does.
            sent_at = max(sent_at, self._clock.time_of(begun) or 0.0)
            return now - sent_at >= timeout * patience
        return conversation.is_open and quiet >= (end_timeout + _END_GRACE) * patience

    @property
    def has_doubts(self) -> bool:
        """Whether two connections in a row were replaced for their silence."""
        return self._mute >= _DOUBTS_AFTER

    def stalled(self, sent: int, *, answered: bool) -> None:
        """The connection is replaced; if that does not help, it was noise: be more patient.

        Args:
            sent: What it was sent.
            answered: Whether it had said anything at all; one that had not is no witness.
        """
        self._patience = min(2 * self._patience, _STALL_CAP)
        if not answered:
            return
        self._mute += 1
        if self._mute > _DOUBTS_AFTER:
            # Three connections heard this and said nothing.
            self._noise = max(self._noise, sent - self._format.size(_NOISE_REPLAYED))

    # --- inside -------------------------------------------------------------------------------

    def _onset(self, sent: int, floor: int) -> Speech | None:
        """The stretch with which the newest turn began."""
        onset: Speech | None = None
        horizon = max(floor, sent - self._format.size(_LOOK_BACK))
        for speech in reversed(self._clock.stretches(horizon, sent)):
            if onset is not None and onset.start - speech.end > self._format.size(_SAME_START):
                break
            onset = speech
        return onset

    def _finished(self, sent: int) -> Speech | None:
        """The latest stretch that is over, even if somebody has just begun to speak again."""
        last = self._clock.last(sent)
        settled = self._format.size(_SETTLED_SILENCE)
        # What the server has heard is known to some hundredths of a second only.
        hushed = 0 <= self._hushed_at - sent < settled
        if last is None or hushed or sent - last.end >= settled:
            return last
        if sent - last.start > self._format.size(_FRESH_SPEECH):
            return None
        return self._clock.last(last.start)

    def _within_pause(self, last: Speech, heard: int) -> int:
        half = self._whole(max(0, self._silence_end(last, heard) - last.end) // 2)
        return last.end + min(self._format.size(_PAUSE_MARGIN), half)

    def _silence_end(self, last: Speech, heard: int) -> int:
        """Where the silence after a stretch is over, going by what was heard so far."""
        following = self._clock.stretches(last.end, heard)
        return following[0].start if following else heard

    def _before(self, position: int, floor: int) -> int:
        return max(floor, position - self._format.size(_LEAD_IN))

    def _whole(self, size: int) -> int:
        return size // self._format.sample_width * self._format.sample_width

    def _wall(self, position: int | None) -> float | None:
        if position is None:
            return None
        time = self._clock.time_of(position)
        return None if time is None else self.epoch + time
