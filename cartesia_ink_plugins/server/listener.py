"""Listens for HTTP and drops a connection whose first request does not arrive in time.

aiohttp has no timeout for the head of the first request.
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
        """Create a listener; nothing happens before `start`.

        Args:
            app: The application.
            request_timeout: Seconds within which the head of the first request must arrive.
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
            OSError: The port is in use or the address is not local.
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
        """Create the protocol of a new connection and start its timer."""
        assert self._runner.server is not None
        protocol = self._runner.server()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._request_timeout, self._time_out, protocol)
        self._timers[protocol] = timer
        return protocol

    @web.middleware
    async def _request_received(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._stop_timer(request.protocol)
        return await handler(request)

    def _time_out(self, protocol: web.RequestHandler) -> None:
        self._stop_timer(protocol)
        if protocol.transport is not None:
            protocol.transport.abort()

    def _stop_timer(self, protocol: asyncio.BaseProtocol) -> None:
        timer = self._timers.pop(protocol, None)
        if timer is not None:
            timer.cancel()
