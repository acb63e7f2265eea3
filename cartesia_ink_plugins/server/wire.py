"""Writing WebSocket frames to a transport, several in one TCP segment.

The frames are made here and not by aiohttp, because one segment must be able to carry several of
them and because a server for tests must be able to send what a polite library would not.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from enum import IntEnum

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.turns_endpoint import WireItem

_CLOSE_PATIENCE = 2.0


class Opcode(IntEnum):
    """What a frame is: RFC 6455, section 5.2."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Write one whole frame of a server: RFC 6455, section 5.2."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def close_frame(close: Close) -> bytes:
    """Write a close frame; 1005 stands for one without a code."""
    if close.code == 1005:
        return frame(Opcode.CLOSE, b"")
    reason = close.reason.encode()[:123].decode(errors="ignore").encode()
    return frame(Opcode.CLOSE, struct.pack("!H", close.code) + reason)


def encode_items(items: Sequence[WireItem]) -> bytes:
    """Write items as consecutive frames; a `Close` without a close frame (1006) gives nothing."""
    frames = []
    for item in items:
        match item:
            case str():
                frames.append(frame(Opcode.TEXT, item.encode()))
            case bytes():
                frames.append(frame(Opcode.BINARY, item))
            case Close(code=1006):
                pass
            case Close():
                frames.append(close_frame(item))
    return b"".join(frames)


def reset(transport: asyncio.Transport) -> None:
    """Drop a TCP connection so that the peer sees a reset (RST)."""
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Wire:
    """The way out of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`, on the running event loop."""
        self._transport = transport
        self._giving_up: asyncio.TimerHandle | None = None
        self.close_code: int | None = None

    def send(self, items: Sequence[WireItem]) -> None:
        """Write items in one segment; after a `Close` the peer gets 2 s to close, too."""
        self.write(encode_items(items))
        if items and isinstance(items[-1], Close):
            self._close(items[-1])

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.write(frame(Opcode.PONG, payload))

    def write(self, data: bytes) -> None:
        """Write bytes in one segment, unless the connection is gone or closed by us."""
        if data and self.close_code is None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """Close the TCP connection once everything is written."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._transport.close()

    def _close(self, close: Close) -> None:
        if self.close_code is not None:
            return
        self.close_code = close.code
        if close.code == 1006:
            self._transport.close()
        else:
            loop = asyncio.get_running_loop()
            self._giving_up = loop.call_later(_CLOSE_PATIENCE, self._transport.abort)
