"""What the audio tells about turns: where one began, where it paused, how much silence ended it.

The session asks with stream positions; the answers come from the VAD and from what was learnt of
this server. Where the VAD found nothing, the answers err on the side of keeping more audio.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Timing, TurnEagerEnd, TurnEnd, TurnEvent
from cartesia_ink_plugins.core.stream.vad import EnergyVAD, Speech

# All in seconds of audio.
_LEAD_IN = 0.5  # before an onset: the VAD notices a quiet beginning late
_LOOK_BACK = 3.0  # before `turn.start`, where the VAD found no speech at all
_SAME_START = 0.3  # a shorter pause lies within one start of a turn
_FRESH_SPEECH = 1.0  # of the next utterance, which the server need not have noticed yet
_SETTLED_SILENCE = 0.06  # positions of the server are known to that
_PAUSE_MARGIN = 0.15  # behind speech, so that its end is not cut
_THINKING = 0.3  # a server that has received audio takes as long to decide
_MAX_THINKING = 3.0  # as long it may take, or what it says may be held back, while it answers pings
_LONG_PAUSE = 1.0  # may have ended a turn on any server
_LONG_PART = 0.75  # of the silence that ends turns on this server; so much may have ended one, too
_END_SILENCE = 2.0  # until it was measured
_END_SILENCE_RANGE = (1.0, 6.0)
_END_MARGIN = 1.25  # a factor
_END_SILENCES = 5  # a count; the median of so many turns


class SpeechTracker:
    """Answers questions about the speech in the caller's audio, which `vad` is to receive."""

    def __init__(self, format: AudioFormat, epoch: float) -> None:
        """Begin before the first audio.

        Args:
            format: Of the audio.
            epoch: Wall-clock time at `now` = 0, in seconds.
        """
        self.epoch = epoch
        self.vad = EnergyVAD(format)
        self._format = format
        self._turn_start: int | None = None
        self._end_silences: deque[float] = deque(maxlen=_END_SILENCES)
        self._stopped_at = 0

    def audio_stopped(self, position: int) -> None:
        """The audio stopped at a position, and silence is sent in its place."""
        if self._stopped_at != position:
            self._stopped_at = position
            self.vad.audio_stopped()

    # --- checkpoints --------------------------------------------------------------------------

    def turn_checkpoint(self, position: int, settled: int, at_most: int) -> int:
        """Where a replay of the turn that just began must begin.

        That is the first speech that no event has announced: however late a server announces a
        turn, and however late the message is, the turn began there or later.

        Args:
            position: What the server had most likely received when it announced the turn.
            settled: Where the turn before it ended at the earliest.
            at_most: What it had received at most.
        """
        onset = self._onset(position, settled)
        self._turn_start = onset.start if onset else None
        start = max(settled, position - self._format.size(_LOOK_BACK))
        unannounced = self.vad.stretches(settled, at_most)
        if not unannounced:
            return start
        first = self._with_lead_in(unannounced[0].sound, settled)
        return first if onset else min(start, first)

    def pause(self, settled: int, at_least: int, at_most: int) -> int | None:
        """A position inside the pause at which the server sent an event.

        It had received something between `at_least` and `at_most`, and all before `settled` is
        known. None when it is unclear which of two pauses was meant, or whether there was one.
        """
        pauses = self._pauses(settled, at_least, at_most)
        return pauses[0] if len(pauses) == 1 else None

    def turn_end(self, settled: int, at_least: int, at_most: int) -> tuple[int, int]:
        """Where the audio of the turn that just ended is over: at the earliest, and at the latest.

        The server had received something between `at_least` and `at_most`, and all before
        `settled` is known. Both positions are the same where only one pause can be meant. Such a
        server may have said so long after a pause that was long enough.
        """
        pauses = self._pauses(settled, at_least, at_most, ends_turn=True)
        if pauses:
            return pauses[0], pauses[-1]
        position = max(settled, at_least - self._format.size(_LEAD_IN))
        # As far as the VAD can tell nobody stopped, or nobody spoke at all.
        is_speaking = bool(self.vad.stretches(position, at_most))
        return position, max(position, at_most) if is_speaking else position

    def _pauses(
        self, settled: int, at_least: int, at_most: int, *, ends_turn: bool = False
    ) -> list[int]:
        """The pauses behind `settled` to which an event, or the end of a turn, may refer."""
        found = []
        long = self.size(min(_LONG_PAUSE, _LONG_PART * self._median_end_silence))
        speech = self.vad.stretches(settled, at_most)
        for stretch, following in zip(speech, [*speech[1:], None], strict=False):
            is_over = self._is_over(stretch, at_most)
            if following is not None:
                is_long = ends_turn and following.start - stretch.end >= long
                thinking = self.size(_MAX_THINKING if is_long else _THINKING)
                is_over = following.start + thinking >= at_least
            if is_over:
                found.append(max(settled, self._within_pause(stretch, at_most)))
        return found

    def unannounced(self, sent: int, settled: int) -> int:
        """Where a replay between turns must begin: before speech that no event has announced."""
        speech = self.vad.stretches(settled, sent)
        start = sent - self._format.size(_LEAD_IN)
        if speech:
            start = min(start, speech[0].sound - self._format.size(_LEAD_IN))
        return max(settled, start)

    def keep_from(self, checkpoint: int, sent: int) -> int:
        """What can leave the replay buffer between turns: the VAD may miss a quiet voice."""
        return min(checkpoint, sent - self._format.size(_LOOK_BACK))

    def has_speech(self, after: int, before: int) -> bool:
        """Whether there is speech between two positions."""
        return self.vad.seconds(after, before) > _SETTLED_SILENCE

    def position_before(self, position: int, speech: float, within: float) -> int | None:
        """Go back from a position until there is enough speech behind it.

        Args:
            position: Where to begin.
            speech: Seconds of speech to find.
            within: Seconds of audio to search.

        Returns:
            A position; None when there is less speech.
        """
        horizon, missing = position - self.size(within), self.size(speech)
        for stretch in reversed(self.vad.stretches(horizon, position)):
            start, end = max(stretch.start, horizon), min(stretch.end, position)
            if end - start >= missing:
                cut = end - missing
                is_near = cut - start <= self.size(_SAME_START)
                return self._whole_sample(start - self.size(_PAUSE_MARGIN) if is_near else cut)
            missing -= end - start
        return None

    def size(self, seconds: float) -> int:
        """Bytes of so many seconds of audio."""
        return self._format.size(seconds)

    # --- time ---------------------------------------------------------------------------------

    def timing(self, event: TurnEvent, turn: int, position: int) -> Timing:
        """The times of an event of a turn."""
        end = self._finished(position) if isinstance(event, TurnEagerEnd | TurnEnd) else None
        if end is not None and self._turn_start is not None and end.end <= self._turn_start:
            end = None
        return Timing(
            turn=turn,
            position=self._format.seconds(position),
            speech_start=self._wall_clock(self._turn_start),
            # The last byte of it: what follows may have come much later.
            speech_end=self._wall_clock(end.end - 1 if end else None),
        )

    # --- how much silence ends a turn ---------------------------------------------------------

    def turn_ended(self, position: int) -> None:
        """Learn from the end of a turn with text; the server had received up to a position."""
        last = self._finished(position)
        if last is not None:
            self._end_silences.append(self._format.seconds(position - last.end))

    @property
    def knows_end_silence(self) -> bool:
        """Whether this server has ended a turn before."""
        return bool(self._end_silences)

    @property
    def end_silence(self) -> float:
        """Seconds of silence after which this server ends a turn; a guess until it was measured."""
        if not self._end_silences:
            return _END_SILENCE
        low, high = _END_SILENCE_RANGE
        return min(high, max(low, _END_MARGIN * self._median_end_silence))

    @property
    def _median_end_silence(self) -> float:
        return median_low(self._end_silences) if self._end_silences else _END_SILENCE

    def silence_after(self, position: int, before: int) -> float:
        """Seconds of silence from the last speech before `position` to the next, or to `before`."""
        last = self.vad.last(position)
        start = last.end if last else position
        following = self.vad.stretches(position, before)
        end = following[0].start if following else before
        return self._format.seconds(max(0, end - start))

    # --- inside -------------------------------------------------------------------------------

    def _onset(self, position: int, settled: int) -> Speech | None:
        """The stretch with which the newest turn began."""
        onset: Speech | None = None
        horizon = max(settled, position - self._format.size(_LOOK_BACK))
        for speech in reversed(self.vad.stretches(horizon, position)):
            if onset is not None and onset.start - speech.end > self._format.size(_SAME_START):
                break
            onset = speech
        return onset

    def _finished(self, position: int) -> Speech | None:
        """The latest stretch that is over, even if somebody has just begun to speak again."""
        last = self.vad.last(position)
        if last is None or self._is_over(last, position):
            return last
        if position - last.start > self._format.size(_FRESH_SPEECH):
            return None
        return self.vad.last(last.start)

    def _is_over(self, stretch: Speech, position: int) -> bool:
        """Whether silence follows the latest stretch before a position."""
        settled = self._format.size(_SETTLED_SILENCE)
        is_stopped = 0 <= self._stopped_at - position < settled
        return is_stopped or position - stretch.end >= settled

    def _within_pause(self, last: Speech, position: int) -> int:
        half = self._whole_sample(max(0, self._silence_end(last, position) - last.end) // 2)
        return last.end + min(self._format.size(_PAUSE_MARGIN), half)

    def _silence_end(self, last: Speech, position: int) -> int:
        """Where the silence after a stretch ends, as far as audio was received."""
        following = self.vad.stretches(last.end, position)
        return following[0].start if following else position

    def _whole_sample(self, size: int) -> int:
        return size // self._format.sample_width * self._format.sample_width

    def _with_lead_in(self, position: int, settled: int) -> int:
        return max(settled, position - self._format.size(_LEAD_IN))

    def _wall_clock(self, position: int | None) -> float | None:
        if position is None:
            return None
        time = self.vad.time_of(position)
        return None if time is None else self.epoch + time
