"""Servers that send raw bytes, also invalid ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from websockets.utils import accept_key

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frames import (
    Frame,
    FrameReader,
    Opcode,
    encode_close,
    encode_frame,
)


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """Encode one frame as a server does; the last of its message if `fin`."""
    data = encode_frame(opcode, payload)
    return data if fin else bytes([data[0] & 0x7F]) + data[1:]


@dataclass
class Peer:
    """The other end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: str = ""
    _frames: FrameReader = field(default_factory=FrameReader)
    _received: deque[Frame] = field(default_factory=deque)

    async def upgrade(self, headers: str = "", *, behind: bytes = b"") -> None:
        """Read the request and answer it as a WebSocket server.

        Args:
            headers: More header lines of the answer.
            behind: Sent in the same segment.
        """
        await self.read_request()
        key = next(
            line.partition(":")[2].strip()
            for line in self.request.splitlines()
            if line.lower().startswith("sec-websocket-key:")
        )
        self.writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{headers}\r\n".encode()
            + behind
        )

    async def read_request(self) -> None:
        """Read the request only."""
        self.request = (await self.reader.readuntil(b"\r\n\r\n")).decode()

    def answer(self, status: str, body: bytes = b"", headers: str = "") -> None:
        """Answer with an HTTP status."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)

    def send(self, opcode: Opcode, payload: bytes | str, *, fin: bool = True) -> None:
        """Send a frame."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.writer.write(frame(opcode, data, fin=fin))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame."""
        self.writer.write(encode_close(Close(code, reason)))

    async def receive(self) -> tuple[Opcode, bytes]:
        """Read a frame of the client."""
        while not self._received:
            data = await self.reader.read(1 << 16)
            if not data:
                raise asyncio.IncompleteReadError(b"", None)
            self._received += self._frames.feed(data)
        received = self._received.popleft()
        return Opcode(received.opcode), received.payload


@dataclass
class RawServer:
    """What a raw server saw."""

    port: int = 0
    peers: list[Peer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"ws://127.0.0.1:{self.port}"

    async def requested(self) -> str:
        """Wait for the request of the first connection, and return it."""
        while not self.peers or not self.peers[0].request:
            await asyncio.sleep(0.01)
        return self.peers[0].request


@contextlib.asynccontextmanager
async def raw_server(talk: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[RawServer]:
    """Serve every connection with `talk`; its end does not close the connection."""
    server = RawServer()
    talks: set[asyncio.Task[None]] = set()

    async def serve(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(peer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.peers.append(Peer(reader, writer))
        talks.add(asyncio.create_task(serve(server.peers[-1])))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    # Small, so that a server that does not read is soon noticed.
    listening.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    try:
        yield server
    finally:
        listening.close()
        for peer in server.peers:
            peer.writer.transport.abort()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await listening.wait_closed()
