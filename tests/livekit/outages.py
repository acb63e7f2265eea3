"""Servers that cannot be used: the kinds of outage that tests go through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    At,
    Fault,
    Outage,
    Refuse,
    Silence,
)
from cartesia_ink_plugins.testing import InkServer, Script


@dataclass(frozen=True, slots=True)
class Unusable:
    """A server to which no connection works.

    Attributes:
        url: Its base URL.
        attempts: Returns the number of attempts to connect; 0 if nobody listens.
    """

    url: str
    attempts: Callable[[], int]


async def unused_url() -> str:
    """A base URL at which nobody listens."""
    async with InkServer(Script()) as server:
        return server.url


@asynccontextmanager
async def connection_refused() -> AsyncIterator[Unusable]:
    """Nobody listens at the port."""
    yield Unusable(await unused_url(), lambda: 0)


def _always(action: Action, at: At) -> AbstractAsyncContextManager[Unusable]:
    @asynccontextmanager
    async def unusable() -> AsyncIterator[Unusable]:
        async with InkServer(Script(), faults=[Fault(action, at, times=None)]) as server:
            proxy = server.proxy
            assert proxy is not None
            yield Unusable(server.url, lambda: len(proxy.connected_at))

    return unusable()


def service_unavailable() -> AbstractAsyncContextManager[Unusable]:
    """Each upgrade is answered with 503."""
    return _always(Refuse(503), At("connect"))


def too_many_requests() -> AbstractAsyncContextManager[Unusable]:
    """Each upgrade is answered with 429 and Retry-After: 60."""
    return _always(Refuse(429, retry_after=60), At("connect"))


def hung_upgrade() -> AbstractAsyncContextManager[Unusable]:
    """TCP connects, and the upgrade is never answered."""
    return _always(Silence(), At("connect"))


def closed_at_once() -> AbstractAsyncContextManager[Unusable]:
    """Each connection is closed with 1011 right after the upgrade."""
    return _always(Close(1011), At("upgrade"))


KINDS = {
    kind.__name__: kind
    for kind in (
        connection_refused,
        service_unavailable,
        too_many_requests,
        hung_upgrade,
        closed_at_once,
    )
}


def outage_at(seconds: float, *, status: int = 0) -> Fault:
    """An outage without end after so many seconds of audio; see `Outage` for the status."""
    return Fault(Outage(FOREVER, status), At("audio", seconds))
