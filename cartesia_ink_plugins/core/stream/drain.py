"""The end of a stream: no more audio, `close`, the last transcripts; all within a time limit."""

from __future__ import annotations

from enum import Enum

_NEVER = float("inf")


class DrainState(Enum):
    """Where the end of the stream is."""

    STREAMING = "streaming"
    FINISHING = "finishing"
    CLOSE_SENT = "close sent"


class Drain:
    """Follows the end of one stream.

    Attributes:
        state: Where it is.
        deadline: When the session ends in any case, on its clock.
    """

    __slots__ = ("_timeout", "deadline", "state")

    def __init__(self, timeout: float) -> None:
        """Begin with a stream that goes on.

        Args:
            timeout: Seconds that the end may take, if `begin` is not given another value.
        """
        self._timeout = timeout
        self.state = DrainState.STREAMING
        self.deadline = _NEVER

    def begin(self, now: float, timeout: float | None) -> None:
        """There is no more audio."""
        self.state = DrainState.FINISHING
        self.deadline = now + (self._timeout if timeout is None else timeout)

    def close_sent(self) -> None:
        """The server was asked to close."""
        self.state = DrainState.CLOSE_SENT

    def connection_lost(self) -> None:
        """The server that was asked is gone; the next one has to be asked again."""
        if self.state is DrainState.CLOSE_SENT:
            self.state = DrainState.FINISHING

    def end_by(self, at: float) -> None:
        """End sooner: the last transcripts have arrived."""
        self.deadline = min(self.deadline, at)
