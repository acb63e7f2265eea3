"""What the audio tells about a manual session: when there was speech, and which audio is settled.

The manual endpoint reports no turns, and mostly no times. So the VAD tells which audio the text
received so far must cover, because that audio need not be replayed.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Timing
from cartesia_ink_plugins.core.stream.vad import EnergyVAD

# All in seconds of audio.
_LEAD_IN = 3.0  # of silence that is kept: the VAD may miss a quiet voice
_SILENT_FOR = 1.0  # after which all text of the speech before it has arrived
_NOISE_AFTER = 10.0  # without text, after which speech was noise
_PAUSE_MARGIN = 0.15  # behind speech, so that its end is not cut
_MIN_SPEECH = 0.06  # positions of the server are known to that


class ManualSpeech:
    """Answers questions about the speech in the caller's audio. Positions are bytes."""

    def __init__(self, format: AudioFormat, epoch: float) -> None:
        """Begin before the first audio; `epoch` is the wall-clock time at `now` = 0, in seconds."""
        self._format = format
        self.epoch = epoch
        self._vad = EnergyVAD(format)

    def audio_received(self, pcm: bytes, now: float) -> None:
        """Take the next audio, which ended at `now`."""
        self._vad.audio_received(pcm, now)

    def has_speech(self, after: int, before: int) -> bool:
        """Whether there was speech between two positions."""
        return self._vad.seconds(after, before) > _MIN_SPEECH

    def speech_end(self, position: int) -> int:
        """Where the speech around a position ends, as far as is known; itself in silence."""
        return self._vad.speech_end(position)

    def settled_position(self, checkpoint: int, received: int) -> int | None:
        """The pause up to which the text that arrived just now is complete.

        Args:
            checkpoint: The position that is settled already.
            received: What the server had received when it sent the text.

        Returns:
            A position; None when somebody has just spoken.
        """
        last = self._vad.last(received)
        end = checkpoint if last is None else last.end
        if received - end < self._format.size(_SILENT_FOR):
            return None
        return end + self._format.size(_PAUSE_MARGIN)

    def silent_until(self, checkpoint: int, received: int) -> int | None:
        """The position up to which there is no speech, or only what the server took for noise."""
        last = self._vad.last(received)
        noise = last is not None and received - last.end >= self._format.size(_NOISE_AFTER)
        if noise or not self.has_speech(checkpoint, received):
            return received - self._format.size(_LEAD_IN)
        return None

    def timing(self, number: int, begun: int, position: int, *, is_over: bool) -> Timing:
        """The times of an event.

        Args:
            number: Of the final it belongs to.
            begun: Where the final before that ended.
            position: Where this event stands.
            is_over: Whether the end of the speech is known.
        """
        speech = self._vad.stretches(begun, position)
        return Timing(
            turn=number,
            position=self._format.seconds(position),
            speech_start=self._wall_clock(max(speech[0].start, begun)) if speech else None,
            speech_end=self._wall_clock(min(speech[-1].end, position))
            if speech and is_over
            else None,
        )

    def _wall_clock(self, position: int) -> float | None:
        time = self._vad.time_of(position)
        return None if time is None else self.epoch + time
