"""Audio on its way to the analysis: gathered, because many small pieces cost more time."""

from __future__ import annotations

from collections.abc import Callable

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.tap import InputAudio, MomentKind, Taps

_INTERVAL = 0.1  # seconds: five frames of 20 ms at a time


class AnalysisQueue:
    """Hands audio on in larger pieces.

    Attributes:
        collect: Keeps audio until the next piece is due; bound once, as it is called for every
            frame.
        due_at: From when on audio is to be added with `add_due`.
    """

    __slots__ = (
        "_analyse",
        "_format",
        "_pieces",
        "_reports_audio",
        "_size",
        "_taps",
        "collect",
        "due_at",
    )

    def __init__(
        self, analyse: Callable[[bytes, float], None], format: AudioFormat, taps: Taps
    ) -> None:
        """Prepare.

        Args:
            analyse: Called with audio, and the time at which it ended.
            format: Of the audio.
            taps: Told of the audio.
        """
        self._analyse = analyse
        self._format = format
        self._taps = taps
        self._reports_audio = taps.want(MomentKind.AUDIO)
        self._size = 0
        self._pieces: list[bytes] = []
        self.collect = self._pieces.append
        self.due_at = 0.0

    def add_due(self, pcm: bytes, now: float, before: float) -> None:
        """Take audio that ends now, and analyse it with what was collected.

        Args:
            pcm: The audio.
            now: The time.
            before: When audio was received last; a pause is not part of the piece.
        """
        if now - before > _INTERVAL:
            self.flush(before)
        self._pieces.append(pcm)
        self.flush(now)
        self.due_at = now + _INTERVAL

    def flush(self, at: float) -> None:
        """Analyse what was collected, which ended at a time."""
        if self._pieces:
            pcm = b"".join(self._pieces)
            self._pieces.clear()
            if self._reports_audio:
                self._tell(pcm, at)
            self._analyse(pcm, at)

    def _tell(self, pcm: bytes, at: float) -> None:
        start, self._size = self._size, self._size + len(pcm)
        seconds = self._format.seconds
        span = seconds(start), seconds(self._size), seconds(len(pcm))
        self._taps.on(at, MomentKind.AUDIO, InputAudio(*span, pcm))
