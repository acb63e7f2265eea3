"""The ledger: audio that was handed in and is not yet settled, by stream position.

A position is a count of bytes since the session began; it never restarts, whatever happens to
connections. Audio enters at `end`, is read at any position that is still held, and leaves at
`start`: by `settle` when its words are safe, or by overflow when there is no more room, which the
caller of `append` is told because those words are lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice


class Ledger:
    """A bounded run of bytes addressed by stream position."""

    __slots__ = ("_capacity", "_chunks", "_end", "_start", "_starts")

    def __init__(self, capacity: int) -> None:
        """Hold at most `capacity` bytes (and never less than the newest chunk)."""
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._starts: deque[int] = deque()
        self._start = 0
        self._end = 0

    @property
    def start(self) -> int:
        """The oldest position that can be read."""
        return self._start

    @property
    def end(self) -> int:
        """The position of the next byte to be handed in."""
        return self._end

    def append(self, pcm: bytes) -> int:
        """Take audio in at the end.

        Returns:
            How many of the oldest bytes had to be dropped to make room.
        """
        self._chunks.append(pcm)
        self._starts.append(self._end)
        self._end += len(pcm)
        dropped = 0
        while self._end - self._start > self._capacity and len(self._chunks) > 1:
            dropped += self._drop()
        return dropped

    def settle(self, position: int) -> None:
        """Let go of the whole chunks before `position`: their words are safe."""
        while self._chunks and self._start + len(self._chunks[0]) <= position:
            self._drop()

    def read(self, position: int, limit: int) -> bytes:
        """Read up to `limit` bytes from `position` on.

        A chunk that fits is returned as it was handed in, without a copy.

        Args:
            position: Where to begin; not before `start`.
            limit: The most bytes to return.

        Raises:
            IndexError: The position is no longer held, or not yet there.
        """
        if not self._start <= position <= self._end:
            raise IndexError(f"position {position} is not in {self._start}..{self._end}")
        if position == self._end:
            return b""
        newest = self._chunks[-1]
        if position == self._end - len(newest) and len(newest) <= limit:
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

    def _drop(self) -> int:
        """Let go of the oldest chunk; return its size."""
        self._starts.popleft()
        size = len(self._chunks.popleft())
        self._start += size
        return size
