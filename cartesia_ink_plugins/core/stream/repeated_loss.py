"""Repeated losses: audio at which every server dies is given up, so that the call can go on.

A network that flaps breaks each connection after about the same time, a server that dies of certain
audio at the same place in it. To tell them apart, some replays begin later: the place at which a
flapping network breaks them is then another one. And a connection on which the server had received
no audio was not lost because of audio.
"""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat

_LOSSES = 5  # a count; fewer at one place may be chance
_SUSPICIOUS = 3  # a count; a loss or two are replayed without delay
_SAME_PLACE = 0.25  # seconds of audio; the server's position is known to about a message and a ping
_HELD_BACK = 0.5  # seconds; twice as much audio at the default catch-up rate, well above that


class RepeatedLoss:
    """Follows the connections of one session that the server, or the network, ended."""

    __slots__ = ("_format", "_places", "_reached")

    def __init__(self, format: AudioFormat) -> None:
        """Begin without a loss."""
        self._reached = 0
        self._format = format
        self._places: list[int] = []

    @property
    def hold_back(self) -> float:
        """Seconds for which the next replay is held back."""
        losses = len(self._places)
        return _HELD_BACK if losses >= _SUSPICIOUS and losses % 2 else 0.0

    def made_progress(self, position: int) -> None:
        """The server went past what was reached before.

        Args:
            position: What it had received.
        """
        self._reached = max(self._reached, position)
        self._places.clear()

    def connection_lost(self, place: int, *, has_audio: bool = True) -> tuple[int, int] | None:
        """An open connection ended.

        Args:
            place: Position that the server had received.
            has_audio: Whether it had received any audio on this connection.

        Returns:
            The audio to give up, if there is some: from the latest progress, or a little before the
            place, to a little behind it.
        """
        if not has_audio:
            self._places.clear()
            return None
        self._places.append(place)
        last = self._places[-_LOSSES:]
        is_same = max(last) - min(last) <= self._format.size(_SAME_PLACE)
        if len(last) < _LOSSES or not is_same:
            return None
        self._places.clear()
        margin = self._format.size(_SAME_PLACE)
        return min(self._reached, min(last) - margin), max(last) + margin
