"""The end of speech where the session does not tell it: a pause in the audio itself."""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.speech import SpeechClock

_PAUSE = 0.5  # seconds; a session waits as long after speech before it takes a turn for ended
_SPEECH = 0.06  # seconds; less is a click
_LOOK_EVERY = 0.1  # seconds of audio


class PauseDetector:
    """Tells of each pause after speech once, for versions of LiveKit that cannot flush."""

    def __init__(self, format: AudioFormat) -> None:
        """Begin with silence."""
        self._format = format
        self._speech = SpeechClock(format)
        self._end = self._looked_at = self._segment_start = 0

    def add(self, pcm: bytes, now: float) -> bool:
        """Take the next audio; tell whether speech ended with a pause that is long enough.

        Args:
            pcm: In the format of the constructor.
            now: The time, in seconds on a monotonic clock.
        """
        self._speech.hear(pcm, now)
        self._end += len(pcm)
        if self._end - self._looked_at < self._format.size(_LOOK_EVERY):
            return False
        self._looked_at = self._end
        pause_start = self._end - self._format.size(_PAUSE)
        if self._seconds(pause_start, self._end) > 0.0:
            return False
        if self._seconds(self._segment_start, pause_start) < _SPEECH:
            return False
        self._segment_start = self._end
        return True

    def _seconds(self, start: int, end: int) -> float:
        return self._speech.seconds(start, end)
