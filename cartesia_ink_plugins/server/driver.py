"""Carries one connection, of either streaming endpoint, over an aiohttp WebSocket."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from aiohttp import WSMsgType, web

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.exchange import Exchange
from cartesia_ink_plugins.server.record import ConnectionRecord
from cartesia_ink_plugins.server.validate import Command
from cartesia_ink_plugins.server.wire import Wire

_MAX_TEXT = 16_384  # characters of a message; the longest `config` has about 200
_MAX_HELD = 8 * 2**20  # bytes that wait behind a command; then the socket is not read
_TOO_BIG = Close(1009, "Message too big")


class Served(Protocol):
    """One connection without IO; `TurnsConnection` describes the methods."""

    exchange: Exchange

    def start(self, now: float) -> None: ...  # noqa: D102

    def receive_audio(self, data: bytes, now: float) -> None: ...  # noqa: D102

    def receive_text(self, text: str) -> Command | None: ...  # noqa: D102

    async def flush(self) -> None: ...  # noqa: D102

    async def finish(self) -> None: ...  # noqa: D102

    def abort(self) -> None: ...  # noqa: D102


class ConnectionDriver:
    """Reads frames, tells the time, and takes care that the connection ends."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        wire: Wire,
        connection: Served,
        record: ConnectionRecord,
    ) -> None:
        """Drive a connection whose upgrade has been answered."""
        self._websocket = websocket
        self._wire = wire
        self._connection = connection
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.TimerHandle | None = None
        self._obeying: asyncio.Task[None] | None = None
        self._held: deque[tuple[bytes | str, float]] = deque()
        self._held_size = 0

    async def run(self) -> None:
        """Serve until the connection has ended; leaves nothing behind."""
        try:
            self._connection.start(self._loop.time())
            self._watch_idle()
            while await self._step():
                pass
        finally:
            if self._idle is not None:
                self._idle.cancel()
            if self._obeying is not None:
                self._obeying.cancel()
                await asyncio.wait([self._obeying])
            self._connection.abort()
            if self._record.close_code is None:
                self._record.close_code = self._wire.close_code or 1006
            self._wire.end()

    def close(self, code: int, reason: str) -> None:
        """Close from outside, as in a deploy of the service."""
        self._connection.exchange.emit([Close(code, reason)])

    async def _step(self) -> bool:
        """Take one frame; tell whether there can be another."""
        message = await self._websocket.receive()
        match message.type:
            case WSMsgType.BINARY | WSMsgType.TEXT if self._connection.exchange.is_closed:
                pass  # nothing is heard any more
            case WSMsgType.BINARY | WSMsgType.TEXT if self._obeying is not None:
                # What comes after a command is heard after it; pings are answered meanwhile.
                self._held.append((message.data, self._loop.time()))
                self._held_size += len(message.data)
                if self._held_size > _MAX_HELD:
                    await asyncio.wait([self._obeying])
            case WSMsgType.BINARY | WSMsgType.TEXT:
                self._take(message.data, self._loop.time())
            case WSMsgType.PING:
                self._connection.exchange.ping(self._loop.time())
                self._wire.pong(message.data)
            case WSMsgType.PONG:
                pass
            case WSMsgType.CLOSE:
                if self._wire.close_code is None:
                    # The client's own close frame is no request to flush: it is gone.
                    self._record.close_code = message.data or 1005
                    self._wire.send([Close(self._record.close_code)])
                return False
            case _:
                return False
        return True

    def _take(self, data: bytes | str, now: float) -> None:
        """Hear audio, or begin to do what a text asks for."""
        if isinstance(data, bytes):
            self._connection.receive_audio(data, now)
        elif len(data) > _MAX_TEXT:
            self._connection.exchange.emit([_TOO_BIG])
        elif command := self._connection.receive_text(data):
            self._obeying = asyncio.create_task(self._obey(command))

    async def _obey(self, command: Command) -> None:
        """Do what takes its time, and then take what came meanwhile."""
        match command:
            case Command.CLOSE:
                await self._connection.finish()
            case Command.FINALIZE:
                await self._connection.flush()
        self._obeying = None
        while self._held and self._obeying is None:
            data, received_at = self._held.popleft()
            self._held_size -= len(data)
            self._take(data, received_at)

    def _watch_idle(self) -> None:
        """Look again when the connection may be idle for too long."""
        now = self._loop.time()
        self._connection.exchange.expire(now)
        if not self._connection.exchange.is_closed:
            # A little late rather than early: timers may fire before their time.
            when = self._connection.exchange.idle_deadline() + 0.005
            self._idle = self._loop.call_at(when, self._watch_idle)
