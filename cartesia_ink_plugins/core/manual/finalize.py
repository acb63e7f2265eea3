"""Calls of `finalize` that the server has not answered yet, each at a position in the audio."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MAX_EXTENSIONS = 3  # of a deadline, because its audio is replayed; more would wait for ever


@dataclass(slots=True)
class PendingFinalize:
    """One `finalize`.

    Attributes:
        position: Its position in the audio.
        timeout: Seconds that the answer may take once the audio is sent.
        deadline: When it is given up.
        is_sent: Whether it was sent on the present connection.
        extensions: How often the deadline was extended for a replay.
    """

    position: int
    timeout: float
    deadline: float
    is_sent: bool = False
    extensions: int = 0


class FinalizeQueue:
    """The queue of pending calls; the server answers in its order."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        """Begin without any."""
        self._queue: deque[PendingFinalize] = deque()

    def __len__(self) -> int:
        """How many are not answered."""
        return len(self._queue)

    @property
    def last(self) -> int | None:
        """The position of the last one."""
        return self._queue[-1].position if self._queue else None

    @property
    def unsent(self) -> PendingFinalize | None:
        """The next one to be sent on the present connection."""
        return next((item for item in self._queue if not item.is_sent), None)

    @property
    def deadline(self) -> float:
        """When the next one is late."""
        return self._queue[0].deadline if self._queue else float("inf")

    def add(self, position: int, timeout: float, deadline: float) -> None:
        """Add a call at a position."""
        self._queue.append(PendingFinalize(position, timeout, deadline))

    def acknowledged(self) -> int | None:
        """The server answered; return the position of what it answered, if anything was asked."""
        if not self._queue or not self._queue[0].is_sent:
            return None
        return self._queue.popleft().position

    def take_late(self, now: float) -> PendingFinalize | None:
        """Give up the next one, if it is late."""
        return self._queue.popleft() if self._queue and now >= self.deadline else None

    def take(self) -> int:
        """Give up the next one, whatever the time, and return its position."""
        return self._queue.popleft().position

    def connection_opened(self, position: int, byte_rate: float, now: float) -> None:
        """Another connection replays audio from a position on: extend the deadlines for that.

        Args:
            position: Where the replay begins.
            byte_rate: Bytes that are replayed in a second.
            now: The time.
        """
        for item in self._queue:
            if item.extensions < _MAX_EXTENSIONS:
                item.extensions += 1
                replay = max(0, item.position - position) / byte_rate
                item.deadline = max(item.deadline, now + item.timeout + replay)

    def connection_lost(self) -> None:
        """The connection is gone: the next one is sent them again."""
        for item in self._queue:
            item.is_sent = False

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
