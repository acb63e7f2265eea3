"""A TCP proxy that plays faults in front of any Ink server.

    async with FaultProxy(server.url, [Fault(Reset(), At("turn.update", 2))]) as proxy:
        ...  # dial proxy.url

`InkServer(..., faults=[...])` puts one in front of itself.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.fault_plan import FaultPlan
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    CloseAll,
    Fault,
    Outage,
    Refuse,
    Reset,
    Silence,
)
from cartesia_ink_plugins.server.listener import accepted, stop_listening
from cartesia_ink_plugins.server.outlet import reset
from cartesia_ink_plugins.server.proxied import ProxiedConnection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck.

    Attributes:
        at: Seconds since the proxy was started.
        connection: Number of the connection, from 0; None when it was all of them.
        action: What happened.
    """

    at: float
    connection: int | None
    action: Action


class FaultProxy:
    """A proxy in front of a server.

    Attributes:
        plan: The faults.
        upstream: The server's name and port, as its own clients say them.
        strikes: What has happened so far.
        complaints: Why connections could not be carried: what a peer sent that is no WebSocket.
        dials: When connections came, in seconds since the start.
    """

    def __init__(
        self,
        upstream: str,
        faults: Sequence[Fault | str] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ) -> None:
        """Prepare a proxy; nothing happens before `start`.

        Args:
            upstream: URL of the server, `http`, `https`, `ws` or `wss`.
            faults: What goes wrong, as `Fault` or in one line of text.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            seed: Of all chance.

        Raises:
            UsageError: The URL has no host, or a fault cannot be read.
        """
        parts = urlsplit(upstream)
        if not parts.hostname:
            raise UsageError(f"upstream: {upstream!r} is not like 'http://127.0.0.1:8765'")
        self.plan = FaultPlan(faults, seed)
        self.strikes: list[Strike] = []
        self.complaints: list[str] = []
        self.dials: list[float] = []
        self.upstream = parts.netloc.rpartition("@")[2]
        self._tls = ssl.create_default_context() if parts.scheme in ("https", "wss") else None
        self._upstream = (parts.hostname, parts.port or (443 if self._tls else 80))
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._started_at = 0.0
        self._connections: dict[asyncio.Task[None], ProxiedConnection] = {}
        self._outage: Outage | None = None
        self._back: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the proxy is: a base URL for every client."""
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port; before `start` the one asked for."""
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken or the address is not ours.
        """
        self._started_at = asyncio.get_running_loop().time()
        await self._listen()

    async def stop(self) -> None:
        """Drop every connection and leave nothing behind; idempotent."""
        if self._back is not None:
            self._back.cancel()
            await asyncio.gather(self._back, return_exceptions=True)
        self._unlisten()
        await accepted()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def add(self, *faults: Fault | str) -> None:
        """Let more go wrong from now on."""
        self.plan.add(*faults)

    def strike(self, action: Action) -> None:
        """Let a fault strike now, on every connection that is open."""
        if isinstance(action, CloseAll | Outage):
            self.strike_all(action)
            return
        for connection in list(self._connections.values()):
            connection.strike(action)

    def strike_all(self, action: CloseAll | Outage) -> None:
        """Let a fault strike that is about the whole server."""
        if isinstance(action, CloseAll):
            self.strike(Close(action.code))
            return
        self.note(None, action)
        self.strike(Reset())
        self._outage = action
        if self._back is not None:
            self._back.cancel()
        if action.status == 0:
            self._unlisten()
        self._back = asyncio.create_task(self._come_back(action.seconds))

    def note(self, connection: int | None, action: Action) -> None:
        """Write down that a fault struck."""
        logger.info("fault on connection %s: %s", connection, type(action).__name__)
        self.strikes.append(Strike(self._now(), connection, action))

    def complain(self, connection: int, text: str) -> None:
        """Write down why a connection could not be carried."""
        logger.warning("connection %d was dropped: %s", connection, text)
        self.complaints.append(f"connection {connection}: {text}")

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server."""
        return await asyncio.open_connection(*self._upstream, ssl=self._tls)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started_at

    async def _listen(self) -> None:
        # In two steps, so that nobody who is cancelled in between leaves a socket behind.
        self._server = await asyncio.start_server(
            self._carry, self._host, self._port, start_serving=False
        )
        self._port = self._server.sockets[0].getsockname()[1]
        await self._server.start_serving()

    def _unlisten(self) -> None:
        if self._server is not None:
            stop_listening(self._server)
            self._server = None

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._outage = None
        if self._server is None:
            await self._listen()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; the task belongs to `_connections`."""
        task = asyncio.current_task()
        assert task is not None
        self.dials.append(self._now())
        first: Action | None = None
        match self._outage:
            case Outage(status=0):  # it came just before the port was closed
                reset(writer.transport)
                return
            case Outage(status=-1):
                first = Silence(FOREVER, pongs=False)
            case Outage(status=status):
                first = Refuse(status)
        connection = ProxiedConnection(self, self.plan.connection(), reader, writer, first)
        self._connections[task] = connection
        try:
            await connection.run()
        except asyncio.CancelledError:
            reset(writer.transport)
        finally:
            del self._connections[task]
