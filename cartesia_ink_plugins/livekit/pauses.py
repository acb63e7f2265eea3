"""The end of speech where the session does not tell it: a pause in the audio, or no more audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.stream.vad import EnergyVAD

_PAUSE = 0.5  # seconds; a session waits as long after speech before it takes a turn for ended
_SPEECH = 0.06  # seconds; less is a click
_LOOK_EVERY = 0.1  # seconds of audio


class PauseDetector:
    """Tells of each pause after speech once, for versions of LiveKit that flush no stream."""

    def __init__(self, format: AudioFormat, on_pause: Callable[[], None]) -> None:
        """Begin with silence; needs a running event loop.

        Args:
            format: Of the audio.
            on_pause: Called when speech has ended.
        """
        self._format = format
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._speech = EnergyVAD(format)
        self._end = self._looked_at = self._segment_start = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, pcm: bytes) -> None:
        """Take the next audio."""
        self._speech.audio_received(pcm, time.monotonic())
        self._end += len(pcm)
        self.close()
        self._timer = self._loop.call_later(_PAUSE, self._look, self._end)
        if self._end - self._looked_at >= self._format.size(_LOOK_EVERY):
            self._looked_at = self._end
            pause_start = self._end - self._format.size(_PAUSE)
            if not self._speech.seconds(pause_start, self._end):
                self._look(pause_start)

    def close(self) -> None:
        """Wait for no pause any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, pause_start: int) -> None:
        """There is a pause: tell of it, if there was speech before it."""
        if self._speech.seconds(self._segment_start, pause_start) >= _SPEECH:
            self._segment_start = self._end
            self._on_pause()
