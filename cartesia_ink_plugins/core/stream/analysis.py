"""Audio on its way to the analysis: gathered, because many small pieces cost more time."""

from __future__ import annotations

from collections.abc import Callable

_INTERVAL = 0.1  # seconds: five frames of 20 ms at a time


class AnalysisQueue:
    """Hands audio on in larger pieces.

    Attributes:
        collect: Keeps audio until the next piece is due; bound once, as it is called for every
            frame.
        due_at: From when on audio is to be added with `add_due`.
    """

    __slots__ = ("_analyse", "_pieces", "collect", "due_at")

    def __init__(self, analyse: Callable[[bytes, float], None]) -> None:
        """Call `analyse` with audio, and the time at which it ended."""
        self._analyse = analyse
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
            self._analyse(pcm, at)
