"""Listens for HTTP; a request that is not whole in time ends its connection.

aiohttp waits for the head of the first request for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def stop_listening(server: asyncio.Server) -> None:
    """Accept no more; what was accepted in this turn of the loop still becomes a connection.

    A server that is closed between the two raises in asyncio, which then leaves the socket open.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # Windows accepts in another way
            loop.remove_reader(listening)
    loop.call_soon(server.close)


async def accepted() -> None:
    """Wait until what was accepted is known to its protocol, and the port is closed."""
    for _ in range(3):  # turns of the loop: transport, protocol, the task that serves it
        await asyncio.sleep(0)


class Listener:
    """An application on one port."""

    def __init__(self, app: web.Application, request_timeout: float) -> None:
        """Prepare; nothing happens before `start`.

        Args:
            app: What answers.
            request_timeout: Seconds that the head of the first request may take.
        """
        app.middlewares.append(self._request_received)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=1.0
        )
        self._request_timeout = request_timeout
        self._timers: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: The port is taken or the address is not ours.
        """
        await self._runner.setup()
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._accept, host, port)
        except OSError:
            await self._runner.cleanup()
            raise
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            stop_listening(self._server)
            await accepted()
        for timer in self._timers.values():
            timer.cancel()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        """Make what reads from a new connection."""
        assert self._runner.server is not None
        protocol = self._runner.server()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._request_timeout, self._give_up, protocol)
        self._timers[protocol] = timer
        return protocol

    @web.middleware
    async def _request_received(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._forget(request.protocol)
        return await handler(request)

    def _give_up(self, protocol: web.RequestHandler) -> None:
        self._forget(protocol)
        if protocol.transport is not None:
            protocol.transport.abort()

    def _forget(self, protocol: asyncio.BaseProtocol) -> None:
        timer = self._timers.pop(protocol, None)
        if timer is not None:
            timer.cancel()
