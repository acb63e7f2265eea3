"""Connects one `EndpointConnection`, which has no IO, to an aiohttp WebSocket."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import WSMsgType, web

from cartesia_ink_plugins.server.endpoint import EndpointConnection
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.frame_writer import FrameWriter
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.validate import Command

_MAX_TEXT = 16_384  # characters of a text message; the longest `config` has about 200
_MAX_QUEUED = 8 * 2**20  # bytes queued behind a command; with more the socket is not read
_TOO_BIG = Close(1009, "Message too big")


class ConnectionDriver:
    """Reads frames, supplies the time, runs commands and the idle timer."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        writer: FrameWriter,
        connection: EndpointConnection,
        record: ConnectionRecord,
    ) -> None:
        """Create the driver of a connection after its upgrade."""
        self._websocket = websocket
        self._writer = writer
        self._connection = connection
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.TimerHandle | None = None
        self._command: asyncio.Task[None] | None = None
        self._queued: deque[tuple[bytes | str, float]] = deque()
        self._queued_bytes = 0

    async def run(self) -> None:
        """Serve the connection until it has ended; leave no task or timer."""
        try:
            self._connection.start(self._loop.time())
            self._watch_idle()
            while await self._step():
                pass
        finally:
            if self._idle is not None:
                self._idle.cancel()
            if self._command is not None:
                self._command.cancel()
                await asyncio.wait([self._command])
            self._connection.abort()
            if self._record.close_code is None:
                self._record.close_code = self._writer.close_code or 1006
            self._writer.end()

    def close(self, code: int, reason: str) -> None:
        """Close with a code, as a deploy of the service does."""
        self._connection.send([Close(code, reason)])

    async def _step(self) -> bool:
        """Handle one frame; return whether another can follow."""
        message = await self._websocket.receive()
        match message.type:
            case WSMsgType.BINARY | WSMsgType.TEXT if self._connection.is_closed:
                pass  # ignored after our close frame
            case WSMsgType.BINARY | WSMsgType.TEXT if self._command is not None:
                # Messages wait until the command before them is done; pings are answered at once.
                self._queued.append((message.data, self._loop.time()))
                self._queued_bytes += len(message.data)
                if self._queued_bytes > _MAX_QUEUED:
                    await asyncio.wait([self._command])
            case WSMsgType.BINARY | WSMsgType.TEXT:
                self._receive(message.data, self._loop.time())
            case WSMsgType.PING:
                self._connection.ping(self._loop.time())
                self._writer.pong(message.data)
            case WSMsgType.PONG:
                pass
            case WSMsgType.CLOSE:
                if self._writer.close_code is None:
                    # A close frame is not a `close` command: no text is flushed.
                    self._record.close_code = message.data or 1005
                    self._writer.send([Close(self._record.close_code)])
                return False
            case _:
                return False
        return True

    def _receive(self, data: bytes | str, now: float) -> None:
        """Pass audio on, or start the command of a text message."""
        if isinstance(data, bytes):
            self._connection.receive_audio(data, now)
        elif len(data) > _MAX_TEXT:
            self._connection.send([_TOO_BIG])
        elif command := self._connection.receive_text(data):
            self._command = asyncio.create_task(self._run(command))

    async def _run(self, command: Command) -> None:
        """Run a command, then handle the messages queued behind it."""
        match command:
            case Command.CLOSE:
                await self._connection.finish()
            case Command.FINALIZE:
                await self._connection.flush()
        self._command = None
        while self._queued and self._command is None:
            data, received_at = self._queued.popleft()
            self._queued_bytes -= len(data)
            self._receive(data, received_at)

    def _watch_idle(self) -> None:
        """Check the idle timeout and set the timer for the next check."""
        now = self._loop.time()
        self._connection.expire(now)
        if not self._connection.is_closed:
            # 5 ms late, because a timer may fire early.
            when = self._connection.idle_deadline() + 0.005
            self._idle = self._loop.call_at(when, self._watch_idle)
