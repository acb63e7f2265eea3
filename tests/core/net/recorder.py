"""A connection to a raw server, and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from cartesia_ink_plugins.core.net.websocket import Callbacks, Connection
from tests.core.sockets import Peer, RawServer, raw_server

SECRET = "sk_car_0123456789abcdef"


class Recorder:
    """Writes down what a connection reports, in order."""

    def __init__(self) -> None:
        self.reports: list[tuple[object, ...]] = []
        self._changed = asyncio.Event()
        self.callbacks = Callbacks(
            on_open=partial(self._report, "open"),
            on_reject=self._rejected,
            on_message=partial(self._report, "message"),
            on_pong=partial(self._report, "pong"),
            on_read=partial(self._report, "read"),
            on_writable=partial(self._report, "writable"),
            on_lost=partial(self._report, "lost"),
        )

    async def until(self, kind: str, count: int = 1) -> tuple[object, ...]:
        """Wait for a number of reports of a kind; return the first."""
        async with asyncio.timeout(30):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[0]

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [report for report in self.reports if report[0] == kind]

    def _rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._report("reject", status, headers.get("retry-after"), body)

    def _report(self, *report: object) -> None:
        self.reports.append(report)
        self._changed.set()


async def connect(server: RawServer) -> tuple[Connection, Recorder]:
    recorder = Recorder()
    url = f"{server.url}/stt?model=ink-2"
    connection = Connection(url, {"X-API-Key": SECRET}, recorder.callbacks)
    await connection.open(None)
    return connection, recorder


async def abort(connection: Connection) -> None:
    connection.abort()
    async with asyncio.timeout(30):
        await connection.wait_closed()


async def served(talk: Callable[[Peer], Awaitable[None]], *, until: str = "lost") -> Recorder:
    """Connect to a server that talks like this; return what the connection reports."""
    async with raw_server(talk) as server:
        connection, recorder = await connect(server)
        await recorder.until(until)
        await abort(connection)
        return recorder
