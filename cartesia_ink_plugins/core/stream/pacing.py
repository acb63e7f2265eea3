"""The pace of audio: live audio passes at once, a backlog is spread out."""

from __future__ import annotations

from cartesia_ink_plugins.core.audio import AudioFormat

# Seconds of audio that may leave at once: a few frames that were held up together.
_BURST = 0.2
# Seconds; a timer cannot be more exact than that.
_MIN_WAIT = 0.001


class Pacer:
    """Limits audio to a multiple of real time (a token bucket).

    The server buffers about one second of audio per second; a burst overloads it and is answered
    with an internal error (https://docs.cartesia.ai/use-the-api/stt/best-practices).
    """

    __slots__ = ("_allowance", "_at", "_burst", "_byte_rate", "_growth")

    def __init__(self, format: AudioFormat, rate: float) -> None:
        """Allow `rate` seconds of audio per second."""
        self._byte_rate = format.byte_rate
        self._growth = rate * format.byte_rate
        self._burst = float(format.size(_BURST))
        self._allowance = self._burst
        self._at = 0.0

    @property
    def rate(self) -> float:
        """Seconds of audio per second."""
        return self._growth / self._byte_rate

    def slow_down(self) -> None:
        """Halve the rate, but never below real time."""
        self._growth = max(float(self._byte_rate), self._growth / 2)

    def restart(self, now: float, hold_back: float = 0.0) -> None:
        """Begin anew for a new connection: with a full allowance, or after some seconds."""
        self._allowance = self._burst - hold_back * self._growth
        self._at = now

    def spend(self, size: int, now: float) -> float:
        """Take bytes out of the bucket, to send them now.

        Returns:
            0; or the seconds to wait when there is not enough, and then nothing is taken.
        """
        grown = self._allowance + (now - self._at) * self._growth
        self._at = now
        if grown > self._burst:
            grown = self._burst
        if grown < size:
            self._allowance = grown
            # More than a burst is never allowed at once.
            missing = min(float(size), self._burst) - grown
            return max(_MIN_WAIT, missing / self._growth)
        self._allowance = grown - size
        return 0.0
