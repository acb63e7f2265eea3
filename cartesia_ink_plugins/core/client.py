"""The client: a session on asyncio.

    async with InkTurnsClient(TurnsOptions(), Credentials.from_environment()) as client:
        client.send_audio(pcm)
        async for event in client:
            ...

What it does is decided by `TurnsSession` and carried out by `Driver`.
"""

from __future__ import annotations

import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from cartesia_ink_plugins.core.driver import Driver
from cartesia_ink_plugins.core.errors import RefusedError
from cartesia_ink_plugins.core.events import (
    Event,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.lifecycle import Unrecognized
from cartesia_ink_plugins.core.observe import Snapshot, snapshot
from cartesia_ink_plugins.core.options import Credentials, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.pacing import ReconnectPolicy
from cartesia_ink_plugins.core.session import Said, TurnsSession

_UNREAD = 100


class InkTurnsClient:
    """Streaming speech-to-text with turn detection on the server.

    Audio goes in with `send_audio`, which never waits; events come out by iteration, in order. The
    iteration ends after `finish` or `aclose`, and raises `RefusedError` once if the server refuses
    the session permanently. Whatever else happens to connections stays invisible in the turns.
    """

    def __init__(
        self,
        options: TurnsOptions | None = None,
        credentials: Credentials | None = None,
        *,
        resilience: Resilience | None = None,
        ssl_context: ssl.SSLContext | None = None,
        on_turn: Callable[[TurnEvent], None] | None = None,
    ) -> None:
        """Prepare a client; nothing is dialled before `start`.

        Args:
            options: What to ask for; 16 kHz 16-bit audio to `ink-2` by default.
            credentials: Who asks; the API key in `CARTESIA_API_KEY` by default.
            resilience: How hard to fight for the caller's words.
            ssl_context: For a server whose certificate is not publicly trusted.
            on_turn: Takes each turn event the moment it comes, in the place of iteration; the
                other events are still iterated over.

        Raises:
            UsageError: No credentials were given and the environment has none.
        """
        self._options = options or TurnsOptions()
        self._resilience = resilience or Resilience()
        self._driver: Driver[TurnsSession, Said] = Driver(
            self._make,
            credentials or Credentials.from_environment(),
            ssl_context,
            _enqueue if on_turn is None else partial(_hand_over, on_turn),
        )

    # --- what applications use ----------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, beside whatever the caller does next; needs a running event loop."""
        self._driver.started()

    async def __aenter__(self) -> Self:
        """Start."""
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close at once; `finish` first to hear the last words."""
        await self.aclose()

    @property
    def options(self) -> TurnsOptions:
        """What the next connection asks for, with all changes made so far."""
        session = self._driver.session
        return session.options if session else self._options

    @property
    def is_connected(self) -> bool:
        """Whether audio that is sent now goes straight to the server."""
        return self._driver.is_connected

    @property
    def request_id(self) -> str | None:
        """The id of the present connection, to quote to Cartesia's support."""
        return self._driver.request_id

    @property
    def refusal(self) -> RefusedError | None:
        """Why the server refuses this session for good, once it does."""
        return self._driver.refusal

    def send_audio(self, pcm: bytes | bytearray | memoryview) -> None:
        """Hand in audio; returns at once, whatever the state of the network.

        To be called in the event loop; other threads use
        `loop.call_soon_threadsafe(client.send_audio, pcm)`.

        Args:
            pcm: Whole samples, mono, in the encoding and rate of the options, about as fast as they
                are spoken. Pieces of 10 to 100 ms are best; any size is accepted.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has refused the session.
            UsageError: The bytes are not whole samples, or this is not the client's event loop.
        """
        self._driver.send_audio(pcm)

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds of turn detection in mid-session, without a new connection.

        If the server refuses them, a `SettingsRejected` event comes and the former ones hold.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        session, loop = self._driver.made()
        session.configure(changes, loop.time())
        self._driver.drive(session)

    def update_keyterms(self, keyterms: Sequence[str]) -> None:
        """Expect other words from the next turn on, over a new connection; nothing is lost.

        Raises:
            UsageError: There are more than 100, or they have more than 1200 characters.
        """
        session, loop = self._driver.made()
        session.update_keyterms(keyterms, loop.time())
        self._driver.drive(session)

    async def finish(self, timeout: float | None = None) -> None:
        """Say that there is no more audio, and wait until the last words have come.

        The events are still there to be iterated over afterwards.

        Args:
            timeout: Seconds to wait for them once the audio is sent; the `drain_timeout` of the
                resilience by default. After that the turn ends with the words known so far.
        """
        await self._driver.finish(timeout)

    async def aclose(self) -> None:
        """End at once: no task and no socket is left. May be called again."""
        await self._driver.aclose()

    def snapshot(self) -> Snapshot:
        """What happened so far, as numbers."""
        session, _ = self._driver.made()
        return snapshot(session)

    def set_reconnect_policy(
        self, policy: ReconnectPolicy | None, connect_timeout: float | None = None
    ) -> None:
        """Decide how long to wait between attempts to connect, from now on.

        Args:
            policy: Asked after each failure; None for the policy by default.
            connect_timeout: Seconds until a hung attempt is given up; None for that of the
                resilience.
        """
        self._driver.set_reconnect_policy(policy, connect_timeout)

    def unrecognized(self) -> Unrecognized:
        """What was handed in and has no final text yet; to be asked while there is no connection.

        Who gives this client up can go on with another one from there.
        """
        return self._driver.unrecognized()

    def hand_to(self, reader: Callable[[Event], None] | None) -> None:
        """Hand events over when they come, in the place of iteration, which then just ends.

        Args:
            reader: Takes each event; must not raise. With None events are iterated over again.
        """
        self._driver.hand_to(reader)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event."""
        return await self._driver.next_event()

    def _make(self, epoch: float) -> TurnsSession:
        return TurnsSession(self._options, self._resilience, jitter=random.random, epoch=epoch)


def _hand_over(on_turn: Callable[[TurnEvent], None], queue: deque[Event], event: Event) -> None:
    """Let turn events jump the queue."""
    match event:
        case TurnStart() | TurnUpdate() | TurnEagerEnd() | TurnResume() | TurnEnd():
            on_turn(event)
        case _:
            queue.append(event)


def _enqueue(queue: deque[Event], event: Event) -> None:
    """Queue an event; an eager end that is void before anybody saw it becomes an update."""
    last = queue[-1] if queue else None
    if isinstance(last, TurnEagerEnd) and isinstance(event, TurnResume | TurnEnd):
        last = queue[-1] = TurnUpdate(last.transcript, last.request_id, last.timing)
        if isinstance(event, TurnResume):
            return
    says_more = isinstance(last, TurnUpdate) and isinstance(event, TurnUpdate | TurnEnd)
    if says_more and len(queue) >= _UNREAD:
        queue.pop()  # nobody reads; of each turn only what says most is kept
    queue.append(event)
