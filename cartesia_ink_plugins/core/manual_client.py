"""The client of the manual endpoint: the caller says when speech is over.

    async with InkManualClient(ManualOptions(), Credentials.from_environment()) as client:
        client.send_audio(pcm)
        final = await client.finalize()
        print(final.text)

What it does is decided by `ManualSession` and carried out by `Driver`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self

from cartesia_ink_plugins.core.driver import Driver
from cartesia_ink_plugins.core.errors import ClosedError, RefusedError
from cartesia_ink_plugins.core.events import Final, Interim, ManualEvent
from cartesia_ink_plugins.core.lifecycle import Unrecognized
from cartesia_ink_plugins.core.manual import ManualSession
from cartesia_ink_plugins.core.manual_options import ManualOptions
from cartesia_ink_plugins.core.observe import Snapshot, manual_snapshot
from cartesia_ink_plugins.core.options import Credentials, Resilience
from cartesia_ink_plugins.core.pacing import ReconnectPolicy

_UNREAD = 1000


class InkManualClient:
    """Streaming speech-to-text in which the application says when speech is over.

    Audio goes in with `send_audio`, which never waits. `finalize` gives the words up to there.
    Whoever wants the words while they are said iterates over the events: an `Interim` never has a
    broken word, and every `finalize` gives one `Final`. Lost connections stay invisible.
    """

    def __init__(
        self,
        options: ManualOptions | None = None,
        credentials: Credentials | None = None,
        *,
        resilience: Resilience | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare a client; nothing is dialled before `start`.

        Args:
            options: What to ask for; 16 kHz 16-bit audio to `ink-2` by default.
            credentials: Who asks; the API key in `CARTESIA_API_KEY` by default.
            resilience: How hard to fight for the caller's words.
            ssl_context: For a server whose certificate is not publicly trusted.

        Raises:
            UsageError: No credentials were given and the environment has none.
        """
        self._options = options or ManualOptions()
        self._resilience = resilience or Resilience()
        self._waiting: dict[int, asyncio.Future[Final]] = {}
        self._driver: Driver[ManualSession, Interim | Final] = Driver(
            self._make,
            credentials or Credentials.from_environment(),
            ssl_context,
            self._enqueue,
            self._leave_nobody_waiting,
        )

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
        """Close at once; `finalize` or `finish` first to hear the last words."""
        await self.aclose()

    @property
    def options(self) -> ManualOptions:
        """What the next connection asks for."""
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

    def request_final(self, timeout: float | None = None) -> asyncio.Future[Final]:
        """Say that speech is over, and return at once.

        Args:
            timeout: As of `finalize`.

        Returns:
            What `finalize` waits for; may be thrown away by who reads the events.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has refused the session.
            UsageError: The timeout is not positive.
        """
        session, loop = self._driver.started()
        number = session.finalize(loop.time(), timeout)
        future = self._waiting.get(number)
        if future is None or future.done():
            future = self._waiting[number] = loop.create_future()
        self._driver.drive(session)
        return future

    async def finalize(self, timeout: float | None = None) -> Final:
        """Say that speech is over, and wait for the words up to there.

        Without audio since the last time the result is empty and comes at once. Who calls it while
        another call waits, with no audio between them, gets the same result.

        Args:
            timeout: Seconds to wait once the audio is sent; the `drain_timeout` of the resilience
                by default. After that the result has the words known so far and is not complete;
                what comes later stands at the beginning of the next final.

        Returns:
            The words since the last time.

        Raises:
            ClosedError: After `finish` or `aclose`, or when one of them is called meanwhile.
            RefusedError: The server refuses the session.
            UsageError: The timeout is not positive.
        """
        return await asyncio.shield(self.request_final(timeout))

    def update_keyterms(self, keyterms: Sequence[str]) -> None:
        """Expect other words from the next pause on, over a new connection; nothing is lost.

        Raises:
            UsageError: There are too many, or the model takes none.
        """
        session, loop = self._driver.made()
        session.update_keyterms(keyterms, loop.time())
        self._driver.drive(session)

    async def finish(self, timeout: float | None = None) -> None:
        """Say that there is no more audio, and wait until the last words have come.

        The events are still there to be iterated over afterwards; words that were not finalized are
        in a last `Final`.

        Args:
            timeout: Seconds to wait for them once the audio is sent; the `drain_timeout` of the
                resilience by default.
        """
        await self._driver.finish(timeout)

    async def aclose(self) -> None:
        """End at once: no task and no socket is left. May be called again."""
        await self._driver.aclose()

    def snapshot(self) -> Snapshot:
        """What happened so far, as numbers."""
        session, _ = self._driver.made()
        return manual_snapshot(session)

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

    def hand_to(self, reader: Callable[[ManualEvent], None] | None) -> None:
        """Hand events over when they come, in the place of iteration, which then just ends.

        Args:
            reader: Takes each event; must not raise. With None events are iterated over again.
        """
        self._driver.hand_to(reader)

    def __aiter__(self) -> AsyncIterator[ManualEvent]:
        """Iterate over the events."""
        return self

    async def __anext__(self) -> ManualEvent:
        """Wait for the next event."""
        return await self._driver.next_event()

    # --- inside -------------------------------------------------------------------------------

    def _make(self, epoch: float) -> ManualSession:
        return ManualSession(self._options, self._resilience, jitter=random.random, epoch=epoch)

    def _enqueue(self, queue: deque[ManualEvent], event: ManualEvent) -> None:
        """Queue an event; an interim that nobody has seen gives way to the next one."""
        if queue and isinstance(queue[-1], Interim) and isinstance(event, Interim | Final):
            queue.pop()
        queue.append(event)
        if len(queue) > _UNREAD:
            # Nobody reads them: `finalize` alone is enough to use this client.
            queue.popleft()
        if isinstance(event, Final) and event.timing is not None:
            future = self._waiting.pop(event.timing.turn, None)
            if future is not None and not future.done():
                future.set_result(event)

    def _leave_nobody_waiting(self) -> None:
        """Nobody answers any more."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self.refusal or ClosedError("finalize: the client was closed"))
                future.exception()  # whoever waits gets it; if nobody does, that is fine
