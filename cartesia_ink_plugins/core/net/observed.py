"""What can be asked of a client at any time, and what its taps are told from outside."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.net.observers import Observers
from cartesia_ink_plugins.core.stats import Snapshot, Unrecognized
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.session import StreamSession
from cartesia_ink_plugins.core.tap import MomentKind, Tap
from cartesia_ink_plugins.observe.call import Call, CallMember
from cartesia_ink_plugins.observe.options import Record
from cartesia_ink_plugins.observe.stats import Stats

S = TypeVar("S", bound=StreamSession[Any])


class ObservedClient(ABC, Generic[S]):
    """A client with its taps; `S` is its session.

    Attributes:
        observers: Its taps.
    """

    _made: tuple[S, asyncio.AbstractEventLoop] | None

    def __init__(self, taps: Iterable[Tap], record: Record | None, call: Call | None) -> None:
        """Put the taps together; see `InkTurnsClient` for the arguments."""
        self.observers = Observers(taps, CallMember(record, call))
        self._made = None

    @abstractmethod
    def _get_or_make(self) -> tuple[S, asyncio.AbstractEventLoop]:
        """Return the session and its loop; the first use makes them, and connects nothing."""

    @property
    def is_connected(self) -> bool:
        """Whether audio that is sent now goes straight to the server."""
        made = self._made
        return made is not None and made[0].connection.state is ConnectionState.OPEN

    @property
    def request_id(self) -> str | None:
        """The id of the present connection, to quote to Cartesia's support."""
        return self._made[0].connection.request_id if self._made else None

    @property
    def rejection(self) -> RejectedError | None:
        """Why the server rejects this session permanently, once it does."""
        return self._made[0].rejection if self._made else None

    def unrecognized(self) -> Unrecognized:
        """Return what has no final text yet; to be called while there is no connection."""
        return self._get_or_make()[0].unrecognized()

    def snapshot(self) -> Snapshot:
        """Return the numbers of the session so far."""
        return self._get_or_make()[0].snapshot()

    def stats(self) -> Stats:
        """Return the numbers so far, with latencies and what became of speculations."""
        return self.observers.stats.stats()

    def report(self, kind: MomentKind, payload: object = None, at: float | None = None) -> None:
        """Tell the taps what the framework around this session did; see `MomentKind`.

        Args:
            kind: What happened.
            payload: See `MomentKind`.
            at: When, on the clock of the event loop; now by default.
        """
        session, loop = self._get_or_make()
        session.taps.on(loop.time() if at is None else at, kind, payload)
