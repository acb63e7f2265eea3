"""Writes WebSocket frames to a transport, several in one TCP segment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frames import Opcode, WireItem, encode_frame, encode_items

_CLOSE_TIMEOUT = 2.0
"""Seconds that the peer has to answer a close frame."""


class FrameWriter:
    """Writes the frames of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport` on the running event loop."""
        self._transport = transport
        self._close_timer: asyncio.TimerHandle | None = None
        self.close_code: int | None = None

    def send(self, items: Sequence[WireItem]) -> None:
        """Write items in one segment; after a `Close` the peer has 2 s to close."""
        self._write(encode_items(items))
        if items and isinstance(items[-1], Close):
            self._close(items[-1])

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._write(encode_frame(Opcode.PONG, payload))

    def end(self) -> None:
        """Close the TCP connection after everything has been written."""
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._transport.close()

    def _write(self, data: bytes) -> None:
        """Write bytes in one segment, unless the connection is closed."""
        if data and self.close_code is None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self, close: Close) -> None:
        if self.close_code is not None:
            return
        self.close_code = close.code
        if close.code == 1006:
            self._transport.close()
        else:
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(_CLOSE_TIMEOUT, self._transport.abort)
