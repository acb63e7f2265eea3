"""Opens and closes the sockets of a session, one connection at a time, and leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Unreachable
from cartesia_ink_plugins.core.log import one_line
from cartesia_ink_plugins.core.net.obstacles import (
    Obstacle,
    ObstacleWatch,
    obstacle_of_answer,
    obstacle_of_error,
)
from cartesia_ink_plugins.core.net.websocket import Callbacks, Connection, connect_error
from cartesia_ink_plugins.core.options import ConnectionOptions

# Seconds that a server may take to read our last bytes, such as the close frame.
_LINGER = 0.5


class Connector:
    """The connection of one session, and those that are still closing.

    Attributes:
        connection: The open connection, if there is one.
        redact: Takes our secrets out of text of a server. What the callbacks are told has passed
            through it, but for the headers and body of an answer to the upgrade.
    """

    def __init__(
        self,
        credentials: Credentials,
        ssl_context: ssl.SSLContext | None,
        callbacks: Callbacks,
        on_unreachable: Callable[[Unreachable], None] | None = None,
    ) -> None:
        """Begin without a connection.

        Args:
            credentials: How each connection authenticates.
            ssl_context: For a server whose certificate is not publicly trusted.
            callbacks: Called with what happens on the present connection or attempt.
            on_unreachable: Called before the report of an attempt, if waiting does not help.
        """
        self.connection: Connection | None = None
        self.redact = credentials.redactor()
        self._credentials = credentials
        self._ssl_context = ssl_context
        self._callbacks = callbacks
        self._on_unreachable = on_unreachable
        self._obstacles = ObstacleWatch()
        self._attempt: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def connect(self, options: ConnectionOptions) -> None:
        """Begin an attempt to connect; a callback reports its result."""
        self._connecting = asyncio.create_task(self._connect(options), name="ink connect")

    def drop(self) -> None:
        """Abort the connection, or the attempt at one; nothing is reported of it any more."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._keep_until_done(self._connecting)
            self._connecting = None
        if self._attempt is not None:
            self._failed(None)  # it did not answer in time
        for connection in (self._attempt, self.connection):
            if connection is not None:
                self._discard(connection)
        self._attempt = self.connection = None

    async def wait_closed(self) -> None:
        """Wait for the last socket and task."""
        while self._closing:
            await asyncio.wait(self._closing)

    # --- inside -------------------------------------------------------------------------------

    async def _connect(self, options: ConnectionOptions) -> None:
        """Make one attempt; the session bounds its time."""
        try:
            token = await self._credentials.token()
            self.redact.add(token)
            url = options.url(token)
            headers = {
                **options.extra_headers,
                "Cartesia-Version": options.cartesia_version,
                **self._credentials.headers(),
            }
            if url.startswith("wss:") and self._ssl_context is None:
                self._ssl_context = await asyncio.to_thread(ssl.create_default_context)
            callbacks = replace(
                self._callbacks,
                on_open=self._opened,
                on_reject=self._rejected,
                on_message=self._message_received,
                on_lost=self._lost,
            )
            self._attempt = Connection(url, headers, callbacks)
            await self._attempt.open(self._ssl_context)
        except Exception as error:  # a token provider may raise anything: this attempt failed
            if self._attempt is not None:
                self._discard(self._attempt)
                self._attempt = None
            self._failed(obstacle_of_error(error))
            reason = self.redact(f"cannot connect: {connect_error(error)}")
            self._callbacks.on_lost(reason, None)

    def _failed(self, obstacle: Obstacle | None) -> None:
        """An attempt failed: tell it, if there has been nothing but obstacles for a while."""
        told = self._obstacles.failed(obstacle, asyncio.get_running_loop().time())
        if told is not None and self._on_unreachable is not None:
            self._on_unreachable(replace(told, reason=self.redact(told.reason)))

    def _opened(self, request_id: str | None) -> None:
        self._obstacles.opened()
        self._attempt, self.connection = None, self._attempt
        self._callbacks.on_open(request_id and one_line(self.redact(request_id)))

    def _message_received(self, data: str | bytes) -> None:
        self._callbacks.on_message(self.redact.message(data))

    def _rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._discard(attempt)
        self._failed(obstacle_of_answer(status, headers))
        self._callbacks.on_reject(status, headers, body)

    def _lost(self, reason: str, code: int | None) -> None:
        connection = self.connection or self._attempt
        if self._attempt is not None:
            self._failed(None)
        self._attempt = self.connection = None
        if connection is not None:
            self._keep_until_done(asyncio.create_task(_close(connection)))
        self._callbacks.on_lost(self.redact(reason), code)

    def _discard(self, connection: Connection) -> None:
        """Abort a connection, and remember it until its socket is closed."""
        connection.abort()
        self._keep_until_done(asyncio.create_task(connection.wait_closed()))

    def _keep_until_done(self, task: asyncio.Task[None]) -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(connection: Connection) -> None:
    """Let a server read our last bytes, but not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            await connection.wait_closed()
    connection.abort()
    await connection.wait_closed()


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        UsageError: There is none in this thread.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "the client was called outside of its event loop; in another thread use "
            "loop.call_soon_threadsafe(client.send_audio, pcm)"
        ) from None
