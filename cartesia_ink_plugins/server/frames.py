"""WebSocket frames as bytes, without IO: RFC 6455, section 5.

Not those of aiohttp, because one TCP segment must be able to hold several frames, because a test
server must be able to send invalid ones, and because the proxy parses them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from cartesia_ink_plugins.server.engine import Close

WireItem: TypeAlias = str | bytes | Close
_MAX_FRAME = 64 * 2**20  # bytes; more than either peer accepts, so that the peer rejects it


class Opcode(IntEnum):
    """The type of a frame."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as received.

    Attributes:
        opcode: Its type; a plain number if it is unknown.
        raw: All its bytes.
        head: Bytes before the payload.
        mask: The four bytes that mask the payload; empty if it is not masked.
    """

    opcode: int
    raw: bytes
    head: int
    mask: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.raw) - self.head

    @property
    def payload(self) -> bytes:
        """The payload, unmasked."""
        data = self.raw[self.head :]
        if not self.mask:
            return data
        key = (self.mask * (len(data) // 4 + 1))[: len(data)]
        number = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
        return number.to_bytes(len(data), "big")


class FrameTooLargeError(Exception):
    """The length of a frame is above the limit."""


class FrameReader:
    """Splits a stream of bytes into frames."""

    def __init__(self) -> None:
        """Start at the beginning of a frame."""
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes and yield the complete frames.

        Raises:
            FrameTooLargeError: The next frame is longer than 64 MiB.
        """
        self._data += data
        while (frame := self._next()) is not None:
            del self._data[: len(frame.raw)]
            yield frame

    def _next(self) -> Frame | None:
        data = self._data
        if len(data) < 2:
            return None
        size, head = data[1] & 0x7F, 2
        if size >= 126:
            extra = 2 if size == 126 else 8
            if len(data) < 2 + extra:
                return None
            size, head = int.from_bytes(data[2 : 2 + extra], "big"), 2 + extra
        if size > _MAX_FRAME:
            raise FrameTooLargeError(f"a frame of {size} bytes")
        mask = b""
        if data[1] & 0x80:
            mask = bytes(data[head : head + 4])
            head += 4
        if len(data) < head + size:
            return None
        return Frame(data[0] & 0x0F, bytes(data[: head + size]), head, mask)


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Encode one unmasked frame, as servers send it."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def encode_close(close: Close) -> bytes:
    """Encode a close frame: 1005 is one without a code, 1006 is none."""
    if close.code == 1006:
        return b""
    if close.code == 1005:
        return encode_frame(Opcode.CLOSE, b"")
    reason = close.reason.encode()[:123].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, struct.pack("!H", close.code) + reason)


def encode_items(items: Sequence[WireItem]) -> bytes:
    """Encode items as consecutive frames."""
    frames = []
    for item in items:
        match item:
            case str():
                frames.append(encode_frame(Opcode.TEXT, item.encode()))
            case bytes():
                frames.append(encode_frame(Opcode.BINARY, item))
            case Close():
                frames.append(encode_close(item))
    return b"".join(frames)
