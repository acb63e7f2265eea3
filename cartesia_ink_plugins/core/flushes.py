"""Calls of `finalize` that are not answered yet: each stands at a place in the audio."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cartesia_ink_plugins.core.pacing import MOST_REPLAYS


@dataclass(slots=True)
class Flush:
    """One `finalize`.

    Attributes:
        position: Its place in the audio.
        timeout: Seconds that the answer may take once the audio is sent.
        deadline: When it is given up.
        sent: Whether the present connection was told.
        replays: How often the deadline was moved for a replay.
    """

    position: int
    timeout: float
    deadline: float
    sent: bool = False
    replays: int = 0


class Flushes:
    """The queue of them; answers come in its order."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        """Begin without any."""
        self._queue: deque[Flush] = deque()

    def __len__(self) -> int:
        """How many are not answered."""
        return len(self._queue)

    @property
    def last(self) -> int | None:
        """The place of the last one."""
        return self._queue[-1].position if self._queue else None

    @property
    def unsent(self) -> Flush | None:
        """The next one that the present connection must be told."""
        return next((flush for flush in self._queue if not flush.sent), None)

    @property
    def deadline(self) -> float:
        """When the next one is late."""
        return self._queue[0].deadline if self._queue else float("inf")

    def add(self, position: int, timeout: float, deadline: float) -> None:
        """Finalize the audio before a position."""
        self._queue.append(Flush(position, timeout, deadline))

    def answered(self) -> int | None:
        """The server answered; return the place of what it answered, if it was asked."""
        if not self._queue or not self._queue[0].sent:
            return None
        return self._queue.popleft().position

    def late(self, now: float) -> Flush | None:
        """Give up the next one, if it is late."""
        return self._queue.popleft() if self._queue and now >= self.deadline else None

    def take(self) -> int:
        """Give up the next one, whatever the time, and return its place."""
        return self._queue.popleft().position

    def reconnected(self, sent: int, byte_rate: float, now: float) -> None:
        """Another connection replays audio from a position on; wait for that, but not for ever.

        Args:
            sent: Where it begins.
            byte_rate: Bytes that are replayed in a second.
            now: The time.
        """
        for flush in self._queue:
            if flush.replays < MOST_REPLAYS:
                flush.replays += 1
                replay = max(0, flush.position - sent) / byte_rate
                flush.deadline = max(flush.deadline, now + flush.timeout + replay)

    def lost(self) -> None:
        """The connection is gone: the next one must be told again."""
        for flush in self._queue:
            flush.sent = False

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
