"""The replay buffer: audio that may have to be sent once more, by stream position.

A position is a count of bytes since the session began; it never restarts, whatever happens to
connections. Audio enters at `end`, is read at any position that is still held, and leaves at
`start`: by `release` when its transcript is settled, or by overflow, which `append` reports because
that audio can no longer be replayed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice


class ReplayBuffer:
    """A bounded run of bytes addressed by stream position.

    Attributes:
        start: The oldest position that can be read.
        end: The position of the next byte to be handed in.
    """

    __slots__ = ("_capacity", "_chunks", "_starts", "end", "start")

    def __init__(self, capacity: int) -> None:
        """Hold at most `capacity` bytes (and never less than the newest chunk)."""
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._starts: deque[int] = deque()
        self.start = 0
        self.end = 0

    def append(self, pcm: bytes) -> int:
        """Take audio in at the end.

        Returns:
            How many of the oldest bytes had to be dropped to make room.
        """
        self._chunks.append(pcm)
        self._starts.append(self.end)
        self.end += len(pcm)
        before = self.start
        while self.end - self.start > self._capacity and len(self._chunks) > 1:
            self.release(self._starts[1])
        return self.start - before

    def release(self, position: int) -> None:
        """Discard the whole chunks before `position`: their transcript is settled."""
        chunks, starts = self._chunks, self._starts
        while chunks and starts[0] + len(chunks[0]) <= position:
            chunks.popleft()
            starts.popleft()
        self.start = starts[0] if starts else self.end

    def read(self, position: int, limit: int) -> bytes:
        """Read up to `limit` bytes from `position` on.

        A chunk that fits is returned as it was handed in, without a copy.

        Args:
            position: Where to begin; not before `start`.
            limit: The most bytes to return.

        Raises:
            IndexError: The position is no longer held, or not yet there.
        """
        if not self.start <= position <= self.end:
            raise IndexError(f"position {position} is not in {self.start}..{self.end}")
        if position == self.end:
            return b""
        newest = self._chunks[-1]
        if position == self.end - len(newest) and len(newest) <= limit:
            return newest
        first = bisect_right(self._starts, position) - 1
        skipped = position - self._starts[first]
        parts: list[bytes] = []
        for chunk in islice(self._chunks, first, None):
            part = chunk[skipped : skipped + limit]
            parts.append(part)
            limit -= len(part)
            skipped = 0
            if limit <= 0:
                break
        return b"".join(parts)
