"""A TCP proxy that injects faults in front of any Ink server.

    async with FaultProxy(server.url, [Fault(Reset(), At("turn.update", 2))]) as proxy:
        ...  # connect to proxy.url

`InkServer(..., faults=[...])` starts one in front of itself.
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
from cartesia_ink_plugins.server.delayed_writer import reset
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
from cartesia_ink_plugins.server.proxied_connection import ProxiedConnection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that was injected.

    Attributes:
        at: Seconds since the proxy was started.
        connection: Number of the connection, from 0; None for all of them.
        action: The fault.
    """

    at: float
    connection: int | None
    action: Action


class FaultProxy:
    """A proxy in front of a server.

    Attributes:
        plan: The faults.
        upstream: Host and port of the server, as in the Host header.
        injected: The faults injected so far.
        peer_errors: Why connections were dropped: what a peer sent that is not WebSocket.
        connected_at: When each connection was accepted, in seconds since the start.
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
            faults: The faults, as `Fault` or as one line of text.
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            seed: Seed of everything random.

        Raises:
            UsageError: The URL has no host, or a fault cannot be parsed.
        """
        parts = urlsplit(upstream)
        if not parts.hostname:
            raise UsageError(f"upstream: {upstream!r} is not like 'http://127.0.0.1:8765'")
        self.plan = FaultPlan(faults, seed)
        self.injected: list[InjectedFault] = []
        self.peer_errors: list[str] = []
        self.connected_at: list[float] = []
        self.upstream = parts.netloc.rpartition("@")[2]
        self._tls = ssl.create_default_context() if parts.scheme in ("https", "wss") else None
        self._upstream = (parts.hostname, parts.port or (443 if self._tls else 80))
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._started_at = 0.0
        self._connections: dict[asyncio.Task[None], ProxiedConnection] = {}
        self._outage: Outage | None = None
        self._recovery: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL of the proxy."""
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port; before `start` the configured one."""
        return self._port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is in use or the address is not local.
        """
        self._started_at = asyncio.get_running_loop().time()
        await self._listen()

    async def stop(self) -> None:
        """Drop every connection; leave no task or socket; idempotent."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        self._stop_listening()
        await accepted()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def add(self, *faults: Fault | str) -> None:
        """Add faults; open connections have them, too."""
        self.plan.add(*faults)

    def inject(self, action: Action) -> None:
        """Inject a fault now, on every open connection."""
        if isinstance(action, CloseAll | Outage):
            self.inject_all(action)
            return
        for connection in list(self._connections.values()):
            connection.inject(action)

    def inject_all(self, action: CloseAll | Outage) -> None:
        """Inject a fault that concerns the whole server."""
        if isinstance(action, CloseAll):
            self.inject(Close(action.code))
            return
        self.record(None, action)
        self.inject(Reset())
        self._outage = action
        if self._recovery is not None:
            self._recovery.cancel()
        if action.status == 0:
            self._stop_listening()
        self._recovery = asyncio.create_task(self._recover(action.seconds))

    def record(self, connection: int | None, action: Action) -> None:
        """Record that a fault was injected."""
        logger.info("fault on connection %s: %s", connection, type(action).__name__)
        self.injected.append(InjectedFault(self._now(), connection, action))

    def record_peer_error(self, connection: int, text: str) -> None:
        """Record why a connection could not be forwarded."""
        logger.warning("connection %d was dropped: %s", connection, text)
        self.peer_errors.append(f"connection {connection}: {text}")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
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
        # In two steps, so that a cancellation in between leaves no socket.
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, start_serving=False
        )
        self._port = self._server.sockets[0].getsockname()[1]
        await self._server.start_serving()

    def _stop_listening(self) -> None:
        if self._server is not None:
            stop_listening(self._server)
            self._server = None

    async def _recover(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._outage = None
        if self._server is None:
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; the task belongs to `_connections`."""
        task = asyncio.current_task()
        assert task is not None
        self.connected_at.append(self._now())
        first: Action | None = None
        match self._outage:
            case Outage(status=0):  # accepted just before the port was closed
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
