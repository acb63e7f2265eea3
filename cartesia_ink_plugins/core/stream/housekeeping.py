"""When a session does what is due every half second."""

from __future__ import annotations

# Seconds.
_INTERVAL = 0.5
_EARLY = 0.06  # done with a frame that arrives shortly before, which saves a timer
_LATE = 0.1  # later than this, the process was held up
_NEVER = float("inf")


class Housekeeping:
    """The time of the next one.

    Attributes:
        at: When it is due; infinity when nothing is.
        early: From when on it may be done.
    """

    __slots__ = ("_is_stopped", "_late", "at", "early")

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._late = 0
        self._is_stopped = False
        self._set(_NEVER)

    @property
    def is_late_once(self) -> bool:
        """Whether the last one was late, and the one before was not."""
        return self._late == 1

    def start(self, now: float, part: float = 1.0) -> None:
        """Be due within an interval, or within a part of it.

        Sessions that start in one instant are not all looked after in one.
        """
        self.do_by(now + _INTERVAL * part)

    def do_by(self, at: float) -> None:
        """Be due at a time, or sooner."""
        if at < self.at:
            self._set(at)

    def done(self, now: float, *, is_idle: bool) -> None:
        """It is being done now."""
        self._late = self._late + 1 if now - self.at > _LATE else 0
        self._set(_NEVER if is_idle else now + _INTERVAL)

    def stop(self) -> None:
        """Nothing is due any more, whatever comes: the session is over."""
        self._is_stopped = True
        self._set(_NEVER)

    def _set(self, at: float) -> None:
        self.at = _NEVER if self._is_stopped else at
        self.early = self.at - _EARLY
