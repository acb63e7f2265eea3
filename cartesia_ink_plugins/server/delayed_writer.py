"""Writes bytes to a transport with the delay of a simulated link."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import cast

from cartesia_ink_plugins.server.fault_plan import OneWayLink
from cartesia_ink_plugins.server.faults import FOREVER


class DelayedWriter:
    """Writes to a transport, delayed and in order, with one timer and no task."""

    def __init__(self, writer: asyncio.StreamWriter, link: OneWayLink) -> None:
        """Write to the transport of `writer` on the running event loop."""
        self.link = link
        self.segment_bytes: int | None = None
        self._transport = cast(asyncio.Transport, writer.transport)
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, data: bytes) -> None:
        """Queue bytes; those that are due at the same time are written in one segment."""
        self._put(data, len(data))

    def finish(self) -> None:
        """Close the transport after everything that is queued."""
        self._put(None, 0)

    def send_at_once(self, data: bytes) -> None:
        """Write bytes ahead of the queue, for control frames."""
        self._write(data)

    def drop(self) -> None:
        """Drop the queue."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def lag(self) -> float:
        """Seconds until the last queued bytes are written."""
        return max(0.0, self._queue[-1][0] - self._loop.time()) if self._queue else 0.0

    def _put(self, data: bytes | None, size: int) -> None:
        now = self._loop.time()
        self._queue.append((self.link.arrival(now, size), data))
        if len(self._queue) == 1:
            self._run()

    def _run(self) -> None:
        """Write the bytes that are due and set the timer for the rest."""
        now = self._loop.time()
        due: list[bytes] = []
        while self._queue and self._queue[0][0] <= now:
            data = self._queue.popleft()[1]
            if data is None:
                self._write(b"".join(due))
                self._transport.close()
                return
            due.append(data)
        self._write(b"".join(due))
        if self._queue and self._queue[0][0] < FOREVER:
            self._timer = self._loop.call_at(self._queue[0][0], self._run)

    def _write(self, data: bytes) -> None:
        if not data or self._transport.is_closing():
            return
        size = self.segment_bytes or len(data)
        for start in range(0, len(data), size):
            self._transport.write(data[start : start + size])


def reset(transport: asyncio.BaseTransport) -> None:
    """Abort a TCP connection with a reset (RST)."""
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.Transport):
        transport.abort()
