"""Audio on its way to the analysis: gathered, because many small pieces cost more time."""

from __future__ import annotations

from collections.abc import Callable

_INTERVAL = 0.1  # seconds: five frames of 20 ms at a time


class AnalysisQueue:
    """Hands audio on in larger pieces."""

    __slots__ = ("_analyse", "_at", "_due_at", "_pieces")

    def __init__(self, analyse: Callable[[bytes, float], None]) -> None:
        """Call `analyse` with audio, and the time at which it ended."""
        self._analyse = analyse
        self._pieces: list[bytes] = []
        self._at = float("inf")
        self._due_at = 0.0

    def append(self, pcm: bytes, now: float) -> None:
        """Take audio that ends now."""
        is_due = now >= self._due_at
        if is_due and now - self._at > _INTERVAL:
            self.flush()  # what came before the pause
        self._at = now
        self._pieces.append(pcm)
        if is_due:
            self.flush()
            self._due_at = now + _INTERVAL

    def flush(self) -> None:
        """Analyse what was received since the last time."""
        if self._pieces:
            pcm, self._pieces = b"".join(self._pieces), []
            self._analyse(pcm, self._at)
