"""Servers that cannot be used, each in its own way: the kinds of outage that tests go through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import Action, At, Fault, Outage, Refuse, Silence
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.proxy import Proxy

FOREVER = 3_600.0  # seconds; longer than any test


@dataclass(frozen=True, slots=True)
class Dead:
    """A server that gives nobody a connection that works.

    Attributes:
        url: Its address.
        attempts: How many attempts to connect have reached it; 0 where nobody can count.
    """

    url: str
    attempts: Callable[[], int]


async def unused_url() -> str:
    """An address at which nobody listens, for now."""
    async with InkServer(Script()) as server:
        return server.url


@asynccontextmanager
async def connection_refused() -> AsyncIterator[Dead]:
    """Nobody listens at the port."""
    yield Dead(await unused_url(), lambda: 0)


def _always(action: Action, at: At) -> AbstractAsyncContextManager[Dead]:
    @asynccontextmanager
    async def dead() -> AsyncIterator[Dead]:
        async with (
            InkServer(Script(), faults=[Fault(action, at, times=None)]) as server,
            Proxy(server.url) as proxy,
        ):
            yield Dead(proxy.url, lambda: proxy.attempts)

    return dead()


def service_unavailable() -> AbstractAsyncContextManager[Dead]:
    """Each upgrade is answered with 503."""
    return _always(Refuse(503), At("connect"))


def too_many_requests() -> AbstractAsyncContextManager[Dead]:
    """Each upgrade is answered with 429, and the advice to come back much later."""
    return _always(Refuse(429, retry_after=60), At("connect"))


def hung_upgrade() -> AbstractAsyncContextManager[Dead]:
    """TCP connects, and the upgrade is never answered."""
    return _always(Silence(), At("connect"))


def closed_at_once() -> AbstractAsyncContextManager[Dead]:
    """Each connection opens and is closed before it is good for anything."""
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


def dies_at(seconds: float, *, status: int = 0) -> Fault:
    """The service goes away for good when so much audio has come; see `Outage` for the status."""
    return Fault(Outage(FOREVER, status), At("audio", seconds))
