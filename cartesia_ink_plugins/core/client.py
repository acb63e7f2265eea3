"""The client: a session on asyncio.

    async with InkTurnsClient(TurnsOptions(), Credentials.from_environment()) as client:
        client.send_audio(pcm)
        async for event in client:
            ...

It carries out what the session decides and tells it what happened; it decides nothing itself.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from cartesia_ink_plugins.core.connection import Connection
from cartesia_ink_plugins.core.events import Event, TurnEagerEnd, TurnEnd, TurnResume, TurnUpdate
from cartesia_ink_plugins.core.link import Action, Dial, Drop, Ping
from cartesia_ink_plugins.core.observe import Snapshot, snapshot
from cartesia_ink_plugins.core.options import Credentials, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.session import TurnsSession

_NEVER = float("inf")


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
        self._options = options or TurnsOptions()
        self._credentials = credentials or Credentials.from_environment()
        self._resilience = resilience or Resilience()
        self._ssl_context = ssl_context
        self._session: TurnsSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attempt: Connection | None = None
        self._connection: Connection | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._leftovers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = _NEVER
        self._queue: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._refusal_told = False

    # --- what applications use ----------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, beside whatever the caller does next; needs a running event loop."""
        self._started()

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
        return self._session.options if self._session else self._options

    @property
    def is_connected(self) -> bool:
        """Whether audio that is sent now goes straight to the server."""
        return self._connection is not None

    @property
    def request_id(self) -> str | None:
        """The id of the present connection, to quote to Cartesia's support."""
        return self._session.request_id if self._session else None

    def send_audio(self, pcm: bytes) -> None:
        """Hand in audio; returns at once, whatever the state of the network.

        Args:
            pcm: Whole samples, mono, in the encoding and rate of the options, about as fast as they
                are spoken. Pieces of 10 to 100 ms are best; any size is accepted.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has refused the session.
            UsageError: The bytes are not whole samples.
        """
        session, loop = self._started()
        session.send_audio(pcm, loop.time())
        self._drive(session)

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds of turn detection in mid-session, without a new connection.

        If the server refuses them, a `SettingsRejected` event comes and the former ones hold.

        Raises:
            UsageError: Together with the present settings they are out of order.
        """
        session, loop = self._started()
        session.configure(changes, loop.time())
        self._drive(session)

    def update_keyterms(self, keyterms: Sequence[str]) -> None:
        """Expect other words from the next turn on, over a new connection; nothing is lost.

        Raises:
            UsageError: There are more than 100, or they have more than 1200 characters.
        """
        session, loop = self._started()
        session.update_keyterms(keyterms, loop.time())
        self._drive(session)

    async def finish(self, timeout: float | None = None) -> None:
        """Say that there is no more audio, and wait until the last words have come.

        The events are still there to be iterated over afterwards.

        Args:
            timeout: Seconds to wait for them once the audio is sent; the `drain_timeout` of the
                resilience by default. After that the turn ends with the words known so far.
        """
        session, loop = self._started()
        session.finish(loop.time(), timeout)
        self._drive(session)
        while not session.is_closed:
            await self._change()
        await self._leave_nothing()

    async def aclose(self) -> None:
        """End at once: no task and no socket is left. May be called again."""
        session, _ = self._created()
        session.abort()
        self._drive(session)
        await self._leave_nothing()

    def snapshot(self) -> Snapshot:
        """What happened so far, as numbers."""
        session, _ = self._started()
        return snapshot(session)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event."""
        session, _ = self._started()
        while not self._queue:
            if session.is_closed:
                if session.refusal is not None and not self._refusal_told:
                    self._refusal_told = True
                    raise session.refusal
                raise StopAsyncIteration
            await self._change()
        return self._queue.popleft()

    # --- what the connection tells ------------------------------------------------------------

    def on_open(self, connection: Connection, request_id: str | None) -> None:
        """The upgrade succeeded."""
        session, loop = self._started()
        self._attempt, self._connection = None, connection
        session.opened(loop.time(), request_id)
        self._drive(session)

    def on_refused(
        self, connection: Connection, status: int, retry_after: str | None, body: bytes
    ) -> None:
        """The upgrade was answered with an HTTP status."""
        session, loop = self._started()
        self._attempt = None
        self._discard(connection)
        message = self._credentials.redact(_explanation(body))
        session.refused(status, loop.time(), retry_after=_seconds(retry_after), message=message)
        self._drive(session)

    def on_message(self, data: str | bytes) -> None:
        """A message came; `on_read` follows."""
        session, loop = self._started()
        session.receive(data, loop.time())

    def on_pong(self) -> None:
        """A ping was answered."""
        session, loop = self._started()
        session.pong(loop.time())

    def on_read(self) -> None:
        """All messages of one read were told."""
        session, _ = self._started()
        self._drive(session)

    def on_blocked(self, blocked: bool) -> None:
        """The socket takes no more, or again."""
        session, loop = self._started()
        if blocked:
            session.link.block(loop.time())
        else:
            session.link.unblock(loop.time())
            self._drive(session)

    def on_lost(self, connection: Connection, reason: str, code: int | None) -> None:
        """The connection is gone."""
        session, loop = self._started()
        self._attempt = self._connection = None
        self._keep_until_done(asyncio.create_task(connection.wait_closed()))
        session.lost(reason, loop.time(), code)
        self._drive(session)

    # --- inside -------------------------------------------------------------------------------

    def _started(self) -> tuple[TurnsSession, asyncio.AbstractEventLoop]:
        """The session and its loop; the first use dials."""
        if self._session is None or self._loop is None:
            session, loop = self._created()
            session.start(loop.time())
            self._drive(session)
            return session, loop
        return self._session, self._loop

    def _created(self) -> tuple[TurnsSession, asyncio.AbstractEventLoop]:
        if self._session is None or self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._session = TurnsSession(
                self._options,
                self._resilience,
                jitter=random.random,
                epoch=time.time() - self._loop.time(),
            )
        return self._session, self._loop

    def _drive(self, session: TurnsSession) -> None:
        """Do what the session wants done."""
        for action in session.take_actions():
            self._do(action)
        events = session.take_events()
        for event in events:
            self._enqueue(event)
        if events or session.is_closed:
            self._changed.set()
        deadline = session.deadline
        if deadline != self._armed:
            self._arm(deadline)

    def _do(self, action: Action) -> None:
        if isinstance(action, bytes | str):
            if self._connection is not None:
                self._connection.send(action)
            return
        match action:
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
        session, loop = self._started()
        try:
            token = await self._credentials.token()
            url = session.options.url(token)
            headers = {
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
            session.lost(f"cannot connect: {type(error).__name__}", loop.time())
            self._drive(session)

    def _arm(self, deadline: float) -> None:
        """Call `tick` at the deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = deadline
        if deadline < _NEVER and self._loop is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        session, loop = self._started()
        self._timer = None
        self._armed = _NEVER
        session.tick(loop.time())
        self._drive(session)

    def _enqueue(self, event: Event) -> None:
        """Queue an event; an eager end that is void before anybody saw it becomes an update."""
        queue = self._queue
        if isinstance(event, TurnResume | TurnEnd) and queue:
            last = queue[-1]
            if isinstance(last, TurnEagerEnd):
                queue[-1] = TurnUpdate(last.transcript, last.request_id, last.timing)
                if isinstance(event, TurnResume):
                    return
        queue.append(event)

    async def _change(self) -> None:
        """Wait until there are events, or the end."""
        self._changed.clear()
        await self._changed.wait()

    async def _leave_nothing(self) -> None:
        """Wait for the last socket and task."""
        while self._leftovers:
            await asyncio.wait(self._leftovers)


def _explanation(body: bytes) -> str:
    """What an HTTP error says of itself, in one short line."""
    try:
        fields = json.loads(body)
        text = fields.get("message") or fields.get("title") or ""
    except (ValueError, AttributeError):
        text = ""
    return str(text)[:200].replace("\n", " ")


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - time.time())
