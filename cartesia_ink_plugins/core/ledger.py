"""The ledger: audio that was handed in and is not yet settled, by stream position.

A position is a count of bytes since the session began; it never restarts, whatever happens to
connections. Audio enters at `end`, is read at any position that is still held, and leaves at
`start`: by `settle` when its words are safe, or by overflow when there is no more room, which the
caller of `append` is told because those words are lost.
"""

from __future__ import annotations

from collections import deque


class Ledger:
    """A bounded run of bytes addressed by stream position."""

    __slots__ = ("_capacity", "_chunks", "_end", "_start")

    def __init__(self, capacity: int) -> None:
        """Hold at most `capacity` bytes (and never less than the newest chunk)."""
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
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
        self._end += len(pcm)
        dropped = 0
        while self._end - self._start > self._capacity and len(self._chunks) > 1:
            size = len(self._chunks.popleft())
            self._start += size
            dropped += size
        return dropped

    def settle(self, position: int) -> None:
        """Let go of the whole chunks before `position`: their words are safe."""
        chunks = self._chunks
        while chunks and self._start + len(chunks[0]) <= position:
            self._start += len(chunks.popleft())

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
        parts: list[bytes] = []
        at = self._start
        for chunk in self._chunks:
            if limit <= 0:
                break
            if at + len(chunk) > position:
                part = chunk[max(position - at, 0) :][:limit]
                parts.append(part)
                limit -= len(part)
            at += len(chunk)
        return b"".join(parts)
