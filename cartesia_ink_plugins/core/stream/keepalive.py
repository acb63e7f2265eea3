"""Keepalive silence: keeps the stream continuous where audio stopped.

Without it `turn.end` would never come (https://docs.cartesia.ai/use-the-api/stt/turns/turns).
"""

from __future__ import annotations

SILENCE = 0.1
"""Seconds of silence in one message."""

# All in seconds.
_STOPPED_AFTER = 2.1  # a line may stall for 2 s inside a word, and silence would cut it in two
_MAX_FRAME = 1.5  # a source that hands in frames longer than this one is waited for no longer
_IDLE_INTERVAL = 60.0  # the server closes an idle connection after 180 s
_NEVER = float("inf")

# Messages at a time; after the process was held up, what is long past is not made up for.
_MAX_MESSAGES = 10


class KeepaliveSilence:
    """Decides how much silence is due.

    In a turn it is due in real time. Between turns none is due; or, if the application wants to
    keep an idle connection open, one message every 60 s.
    """

    __slots__ = ("_idle", "_until", "next_at")

    def __init__(self, *, idle: bool) -> None:
        """Begin when audio was received last.

        Args:
            idle: Whether silence is also sent between turns.
        """
        self._idle = idle
        self._until = -_NEVER
        self.next_at = _NEVER
        """When to ask again."""

    def messages_due(
        self, now: float, *, audio_at: float, frame: float, in_turn: bool, is_stopped: bool = False
    ) -> int:
        """Return how many messages of silence are due now.

        Args:
            now: The time.
            audio_at: When audio was received last.
            frame: Seconds of audio in that frame: the next one may take as long to come.
            in_turn: Whether a turn is open.
            is_stopped: Whether the application has said that the audio has stopped.
        """
        self.next_at = _NEVER
        if not is_stopped and now - audio_at < _STOPPED_AFTER + min(frame, _MAX_FRAME):
            return 0
        sent_until = self._until if self._until > audio_at else None
        if not in_turn:
            since = audio_at if sent_until is None else sent_until
            if not self._idle or now - since < _IDLE_INTERVAL:
                return 0
            self._until = now
            return 1
        since = now - SILENCE if sent_until is None else sent_until
        count = int((now - since) / SILENCE + 1e-6)
        if count > _MAX_MESSAGES:
            since, count = now - _MAX_MESSAGES * SILENCE, _MAX_MESSAGES
        self._until = since + count * SILENCE
        self.next_at = self._until + SILENCE
        return count
