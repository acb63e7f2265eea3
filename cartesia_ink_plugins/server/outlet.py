"""A way out that takes its time: bytes written to a transport when a `Lane` says they arrive."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

from cartesia_ink_plugins.server.fault_plan import Lane
from cartesia_ink_plugins.server.faults import FOREVER


class Outlet:
    """Writes to a transport, later and in order; no task, one timer."""

    def __init__(self, transport: asyncio.Transport, lane: Lane) -> None:
        """Write to `transport` on the running event loop."""
        self.lane = lane
        self.slice: int | None = None
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, data: bytes) -> None:
        """Write bytes when they are due; what is due together goes into one segment."""
        self._put(data, len(data))

    def finish(self) -> None:
        """End the connection after everything that was sent."""
        self._put(None, 0)

    def send_at_once(self, data: bytes) -> None:
        """Write bytes past those that are waiting: for control frames."""
        self._write(data)

    def drop(self) -> None:
        """Forget what is waiting."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def lag(self) -> float:
        """Seconds until the last bytes that were sent will have been written."""
        return max(0.0, self._queue[-1][0] - self._loop.time()) if self._queue else 0.0

    def _put(self, data: bytes | None, size: int) -> None:
        now = self._loop.time()
        self._queue.append((self.lane.due(now, size), data))
        if len(self._queue) == 1:
            self._run()

    def _run(self) -> None:
        """Write what is due and wait for the rest."""
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
        size = self.slice or len(data)
        for start in range(0, len(data), size):
            self._transport.write(data[start : start + size])


def reset(transport: asyncio.BaseTransport) -> None:
    """Drop a TCP connection so that the peer sees a reset (RST)."""
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.Transport):
        transport.abort()
