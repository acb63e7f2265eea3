"""The driver: a session on asyncio. The one file that knows event loop, clock, chance and network.

It carries out what a session decides and tells it what happened; it decides nothing itself. The
clients of both streaming endpoints are built on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from cartesia_ink_plugins.core.answers import explanation, seconds_to_wait
from cartesia_ink_plugins.core.audio import copied
from cartesia_ink_plugins.core.connection import Connection, why_not
from cartesia_ink_plugins.core.errors import RefusedError, UsageError
from cartesia_ink_plugins.core.events import LifeEvent
from cartesia_ink_plugins.core.lifecycle import Lifecycle, Unrecognized
from cartesia_ink_plugins.core.link import Action, Dial, Drop, Link, Ping
from cartesia_ink_plugins.core.options import Credentials
from cartesia_ink_plugins.core.pacing import ReconnectPolicy

_LINGER = 0.5
_NEVER = float("inf")


class Target(Protocol):
    """What is dialled."""

    @property
    def cartesia_version(self) -> str:
        """Version of the API."""

    @property
    def extra_headers(self) -> Mapping[str, str]:
        """More headers of the upgrade request."""

    def url(self, access_token: str | None = None) -> str:
        """The address."""


W = TypeVar("W")


class Session(Protocol[W]):
    """What is driven; `TurnsSession` describes the methods, and when they are called."""

    link: Link
    life: Lifecycle[W]

    @property
    def options(self) -> Target: ...  # noqa: D102

    @property
    def deadline(self) -> float: ...  # noqa: D102

    def send_audio(self, pcm: bytes, now: float) -> None: ...  # noqa: D102

    def set_epoch(self, epoch: float) -> None: ...  # noqa: D102

    def opened(self, now: float, request_id: str | None = None) -> None: ...  # noqa: D102

    def receive(self, data: str | bytes, now: float) -> None: ...  # noqa: D102

    def tick(self, now: float) -> None: ...  # noqa: D102


S = TypeVar("S", bound=Session[Any])


class Driver(Generic[S, W]):
    """Drives one session over all its connections, and queues its events."""

    def __init__(
        self,
        make: Callable[[float], S],
        credentials: Credentials,
        ssl_context: ssl.SSLContext | None,
        enqueue: Callable[[deque[LifeEvent | W], LifeEvent | W], None],
        ended: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; nothing is made before the first use.

        Args:
            make: Makes the session; gets the wall-clock time at `now` = 0.
            credentials: Who asks.
            ssl_context: For a server whose certificate is not publicly trusted.
            enqueue: Puts an event at the end of the queue that the application reads.
            ended: Called when the session is over, maybe more than once.
        """
        self._reader: Callable[[LifeEvent | W], None] | None = None
        self._make = make
        self._credentials = credentials
        self._ssl_context = ssl_context
        self._enqueue = enqueue
        self._ended = ended
        self._made: tuple[S, asyncio.AbstractEventLoop] | None = None
        self._started: tuple[S, asyncio.AbstractEventLoop] | None = None
        self._attempt: Connection | None = None
        self._connection: Connection | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._leftovers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = _NEVER
        self._queue: deque[LifeEvent | W] = deque()
        self._changed = asyncio.Event()
        self._refusal_told = False
        self._token: str | None = None

    # --- what a client uses -------------------------------------------------------------------

    @property
    def session(self) -> S | None:
        """The session, once it is made."""
        return self._made[0] if self._made else None

    @property
    def request_id(self) -> str | None:
        """The id of the present connection."""
        return self._made[0].life.request_id if self._made else None

    @property
    def refusal(self) -> RefusedError | None:
        """Why the server refuses this session for good, once it does."""
        return self._made[0].life.refusal if self._made else None

    @property
    def is_connected(self) -> bool:
        """Whether audio that is sent now goes straight to the server."""
        return self._connection is not None

    def made(self) -> tuple[S, asyncio.AbstractEventLoop]:
        """The session and its loop; the first use makes them, and dials nothing."""
        if self._made is None:
            loop = self._running_loop()
            self._made = self._make(time.time() - loop.time()), loop
        return self._made

    def started(self) -> tuple[S, asyncio.AbstractEventLoop]:
        """The session and its loop; the first use dials."""
        if self._started is None:
            self._started = session, loop = self.made()
            session.life.start(loop.time())
            self.drive(session)
        return self._started

    def send_audio(self, pcm: bytes | bytearray | memoryview) -> None:
        """Take audio in; the first use dials."""
        session, loop = self.started()
        if self._running_loop() is not loop:
            raise UsageError("send_audio: the client belongs to another event loop")
        if not isinstance(pcm, bytes):
            pcm = copied(pcm)
        now = loop.time()
        session.send_audio(pcm, now)
        if session.life.is_beat_near(now):
            session.tick(now)
        elif session.link.is_live:
            self._act(session.life)  # and nothing is to be told, or due sooner
            return
        self.drive(session)

    def drive(self, session: S) -> None:
        """Do what the session wants done."""
        life: Lifecycle[W] = session.life
        self._act(life)
        events = life.take_events()
        for event in events:
            self._enqueue(self._queue, event)
        deadline = session.deadline
        if deadline != self._armed:
            self._arm(deadline)
        if deadline == _NEVER and life.is_closed:
            self._changed.set()
            if self._ended is not None:
                self._ended()
        if events:
            self._tell()

    def set_reconnect_policy(
        self, policy: ReconnectPolicy | None, connect_timeout: float | None
    ) -> None:
        """Wait between attempts to connect as the policy says, or by default."""
        session, loop = self.made()
        session.link.set_reconnect_policy(policy, connect_timeout, loop.time())
        self.drive(session)

    def unrecognized(self) -> Unrecognized:
        """What was handed in and has no final text yet."""
        session, _ = self.made()
        return session.life.unrecognized()

    def hand_to(self, reader: Callable[[LifeEvent | W], None] | None) -> None:
        """Hand events over when they come, in the place of iteration; with None no longer."""
        self._reader = reader
        self._tell()

    def _tell(self) -> None:
        """Let the application have the events: the reader, or else who iterates."""
        if self._reader is None:
            self._changed.set()
        else:
            while self._queue:
                self._reader(self._queue.popleft())

    async def finish(self, timeout: float | None) -> None:
        """Say that there is no more audio, and wait for the end."""
        session, loop = self.made()
        session.life.finish(loop.time(), timeout)
        self.drive(session)
        while not session.life.is_closed:
            await self._change()
        await self._leave_nothing()

    async def aclose(self) -> None:
        """End at once and leave nothing."""
        session, _ = self.made()
        session.life.abort()
        self.drive(session)
        await self._leave_nothing()

    async def next_event(self) -> LifeEvent | W:
        """Wait for the next event.

        Raises:
            StopAsyncIteration: The session is over.
            RefusedError: The server refused it; raised once.
        """
        session, _ = self.started()
        while not self._queue:
            if session.life.is_closed:
                if session.life.refusal is not None and not self._refusal_told:
                    self._refusal_told = True
                    raise session.life.refusal
                raise StopAsyncIteration
            await self._change()
        return self._queue.popleft()

    # --- what the connection tells ------------------------------------------------------------

    def on_open(self, connection: Connection, request_id: str | None) -> None:
        """The upgrade succeeded."""
        session, loop = self.started()
        self._attempt, self._connection = None, connection
        # Since the last dial the machine may have slept, or its clock may have been set.
        session.set_epoch(time.time() - loop.time())
        session.opened(loop.time(), request_id)
        self.drive(session)

    def on_refused(
        self, connection: Connection, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """The upgrade was answered with an HTTP status."""
        session, loop = self.started()
        self._attempt = None
        self._discard(connection)
        session.life.refused(
            status,
            loop.time(),
            retry_after=seconds_to_wait(headers.get("retry-after")),
            message=self._redact(explanation(body)),
            request_id=headers.get("x-request-id"),
        )
        self.drive(session)

    def on_message(self, data: str | bytes) -> None:
        """A message came; `on_read` follows."""
        session, loop = self.started()
        if isinstance(data, str) and '"error"' in data:
            data = self._redact(data)
        session.receive(data, loop.time())

    def on_pong(self) -> None:
        """A ping was answered."""
        session, loop = self.started()
        session.link.pong(loop.time())

    def on_read(self) -> None:
        """All messages of one read were told."""
        session, _ = self.started()
        self.drive(session)

    def on_blocked(self, blocked: bool) -> None:
        """The socket takes no more, or again."""
        session, loop = self.started()
        if blocked:
            session.link.block(loop.time())
        else:
            session.link.unblock(loop.time())
            session.tick(loop.time())
            self.drive(session)

    def on_lost(self, connection: Connection, reason: str, code: int | None) -> None:
        """The connection is gone."""
        session, loop = self.started()
        self._attempt = self._connection = None
        self._keep_until_done(asyncio.create_task(_bury(connection)))
        session.life.lost(reason, loop.time(), code)
        self.drive(session)

    # --- inside -------------------------------------------------------------------------------

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                "the client was called outside of its event loop; in another thread use "
                "loop.call_soon_threadsafe(client.send_audio, pcm)"
            ) from None

    def _act(self, life: Lifecycle[W]) -> None:
        for action in life.take_actions():
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case bytes() | str():
                if self._connection is not None:
                    self._connection.send(action)
            case Dial():
                self._dialling = asyncio.create_task(self._dial(), name="ink dial")
            case Ping():
                if self._connection is not None:
                    self._connection.ping()
            case Drop():
                self._drop()

    def _drop(self) -> None:
        """Cut the connection, or the attempt at one."""
        if self._dialling is not None:
            self._dialling.cancel()
            self._keep_until_done(self._dialling)
            self._dialling = None
        for connection in (self._attempt, self._connection):
            if connection is not None:
                self._discard(connection)
        self._attempt = self._connection = None

    def _discard(self, connection: Connection) -> None:
        """Cut a connection, and remember it until its socket is closed."""
        connection.abort()
        self._keep_until_done(asyncio.create_task(connection.wait_closed()))

    def _keep_until_done(self, task: asyncio.Task[None]) -> None:
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    async def _dial(self) -> None:
        """Make one attempt to connect; the session bounds its time."""
        session, loop = self.started()
        try:
            self._token = await self._credentials.token()
            url = session.options.url(self._token)
            headers = {
                **session.options.extra_headers,
                "Cartesia-Version": session.options.cartesia_version,
                **self._credentials.headers(),
            }
            if url.startswith("wss:") and self._ssl_context is None:
                self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
            self._attempt = Connection(url, headers, self)
            await self._attempt.open(self._ssl_context)
        except Exception as error:  # a token provider may raise anything: this attempt failed
            if self._attempt is not None:
                self._discard(self._attempt)
                self._attempt = None
            session.life.lost(f"cannot connect: {why_not(error)}", loop.time())
            self.drive(session)

    def _arm(self, deadline: float) -> None:
        """Call `tick` at the deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline < _NEVER:
            _, loop = self.made()
            self._timer = loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        session, loop = self.started()
        self._timer = None
        self._armed = _NEVER
        session.tick(loop.time())
        self.drive(session)

    def _redact(self, text: str) -> str:
        """Take our secrets out of what a server says of them."""
        text = self._credentials.redact(text)
        return text.replace(self._token, "***") if self._token else text

    async def _change(self) -> None:
        """Wait until there are events, or the end."""
        self._changed.clear()
        await self._changed.wait()

    async def _leave_nothing(self) -> None:
        """Wait for the last socket and task."""
        while self._leftovers:
            await asyncio.wait(self._leftovers)


async def _bury(connection: Connection) -> None:
    """Let a server take our last bytes, such as the close frame; but it may never do so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            await connection.wait_closed()
    connection.abort()
    await connection.wait_closed()
