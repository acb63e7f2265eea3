"""Repeated losses: audio at which every server dies is given up, so that the call can go on.

A network that flaps breaks each connection after about the same time, a server that dies of certain
audio at the same place in it. To tell them apart, some replays begin later: only such a server then
lives longer by as much. And a connection on which the server had received no audio was not lost
because of audio.
"""

from __future__ import annotations

from statistics import median_low

from cartesia_ink_plugins.core.audio import AudioFormat

_LOSSES = 5  # a count; fewer at one place may be chance
_MANY_LOSSES = 10  # a count; at one place they are no chance, whatever else
_SUSPICIOUS = 3  # a count; a loss or two are replayed without delay
_SAME_PLACE = 0.25  # seconds of audio; the server's position is known to about a message and a ping
_HELD_BACK = 0.5  # seconds; twice as much audio at the default catch-up rate, well above that


class RepeatedLoss:
    """Follows the connections of one session that the server, or the network, ended."""

    __slots__ = ("_format", "_losses", "_reached")

    def __init__(self, format: AudioFormat) -> None:
        """Begin without a loss."""
        self._reached = 0
        self._format = format
        self._losses: list[tuple[int, float, float]] = []  # place, lifetime, held back

    @property
    def hold_back(self) -> float:
        """Seconds for which the next replay is held back."""
        losses = len(self._losses)
        return _HELD_BACK if losses >= _SUSPICIOUS and losses % 2 else 0.0

    def made_progress(self, position: int) -> None:
        """The server went past what was reached before.

        Args:
            position: What it had received.
        """
        self._reached = max(self._reached, position)
        self._losses.clear()

    def connection_lost(
        self, place: int, lifetime: float, *, has_audio: bool = True
    ) -> tuple[int, int] | None:
        """An open connection ended.

        Args:
            place: Position that the server had received.
            lifetime: Seconds for which it was open.
            has_audio: Whether it had received any audio on this connection.

        Returns:
            The audio to give up, if there is some: from the latest progress, or a little before the
            place, to a little behind it.
        """
        if not has_audio:
            self._losses.clear()
            return None
        self._losses.append((place, lifetime, self.hold_back))
        count = _LOSSES if self._is_later_when_held_back() else _MANY_LOSSES
        last = [place for place, _, _ in self._losses[-count:]]
        margin = self._format.size(_SAME_PLACE)
        if len(last) < count or max(last) - min(last) > margin:
            return None
        self._losses.clear()
        return min(self._reached, min(last) - margin), max(last) + margin

    def _is_later_when_held_back(self) -> bool:
        """Whether the last connections lived longer when their replay was held back."""
        last = self._losses[-_LOSSES:]
        held = [lifetime for _, lifetime, hold in last if hold]
        free = [lifetime for _, lifetime, hold in last if not hold]
        # One may have heard of its opening late, and one of its end.
        return bool(held) and min(held) - median_low(free) > _HELD_BACK / 2
