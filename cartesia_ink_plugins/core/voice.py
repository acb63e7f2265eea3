"""What the audio of a manual session says: how long nobody has spoken, and when somebody did.

The manual endpoint says little: no turns, and mostly no times. So the speech clock is asked what of
the audio the words that came can be about, which is what need not be replayed.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Timing
from cartesia_ink_plugins.core.speech import SpeechClock

_LEAD_IN = 3.0
_SILENT_FOR = 1.0
_NOISE_AFTER = 10.0
_PAUSE_MARGIN = 0.15
_SPEECH = 0.06


class Voice:
    """The client's own ear on a manual session. Positions are bytes of the stream."""

    def __init__(self, format: AudioFormat, epoch: float) -> None:
        """Listen to audio of one format; `epoch` is the wall-clock time at `now` = 0."""
        self._format = format
        self.epoch = epoch
        self._clock = SpeechClock(format)

    def hear(self, pcm: bytes, now: float) -> None:
        """Take the next audio."""
        self._clock.hear(pcm, now)

    def spoke(self, after: int, before: int) -> bool:
        """Whether there was speech between two positions."""
        return self._clock.seconds(after, before) > _SPEECH

    def settled(self, mark: int, heard: int) -> int | None:
        """The pause up to which words that came just now are all.

        Args:
            mark: What is known already.
            heard: What the server can have heard when it said them.

        Returns:
            A position; None when somebody has just spoken.
        """
        last = self._clock.last(heard)
        end = mark if last is None else last.end
        if heard - end < self._format.size(_SILENT_FOR):
            return None
        return end + self._format.size(_PAUSE_MARGIN)

    def passed(self, mark: int, heard: int) -> int | None:
        """The position up to which nobody spoke, or the server took it for noise; None if none."""
        last = self._clock.last(heard)
        noise = last is not None and heard - last.end >= self._format.size(_NOISE_AFTER)
        if noise or not self.spoke(mark, heard):
            return heard - self._format.size(_LEAD_IN)
        return None

    def timing(self, number: int, begun: int, position: int, *, is_over: bool) -> Timing:
        """The times of an event.

        Args:
            number: Of the final it belongs to.
            begun: Where the final before that ended.
            position: Where this event stands.
            is_over: Whether the end of the speech is known.
        """
        speech = self._clock.stretches(begun, position)
        return Timing(
            turn=number,
            position=self._format.seconds(position),
            speech_start=self._wall(max(speech[0].start, begun)) if speech else None,
            speech_end=self._wall(min(speech[-1].end, position)) if speech and is_over else None,
        )

    def _wall(self, position: int) -> float | None:
        time = self._clock.time_of(position)
        return None if time is None else self.epoch + time
