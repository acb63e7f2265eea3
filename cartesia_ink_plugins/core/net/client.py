"""The base of both streaming clients: a session on asyncio.

A client carries out the actions of its session, tells it what the network and the clock do, and
gives its events to the application, in order: by iteration, or by one callback. It decides nothing
itself. Event loop, clock, chance and network are known to this folder only.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from cartesia_ink_plugins.core.audio import as_bytes
from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Unreachable
from cartesia_ink_plugins.core.net.clocks import DeadlineTimer, WallClock
from cartesia_ink_plugins.core.net.connector import Connector, running_loop
from cartesia_ink_plugins.core.net.delivery import Delivery
from cartesia_ink_plugins.core.net.http_errors import read_answer
from cartesia_ink_plugins.core.net.observed import ObservedClient
from cartesia_ink_plugins.core.net.websocket import Callbacks
from cartesia_ink_plugins.core.options import ConnectionOptions, Resilience
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop, Ping
from cartesia_ink_plugins.core.stream.reconnect import ReconnectPolicy
from cartesia_ink_plugins.core.stream.session import StreamSession
from cartesia_ink_plugins.core.tap import MomentKind, Tap
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record

S = TypeVar("S", bound=StreamSession[Any])
E = TypeVar("E")


class StreamClient(ObservedClient[S], Generic[S, E]):
    """What `InkTurnsClient` and `InkManualClient` share; `S` is the session, `E` its events."""

    def __init__(
        self,
        credentials: Credentials | None,
        resilience: Resilience | None,
        ssl_context: ssl.SSLContext | None,
        on_event: Callable[[E], None] | None,
        taps: Iterable[Tap],
        record: Record | None,
        call: Call | None,
    ) -> None:
        """Prepare; nothing is connected before `start`. See the subclasses for the arguments."""
        super().__init__(taps, record, call)
        self._resilience = resilience or Resilience()
        self._delivery: Delivery[E] = Delivery(on_event)
        callbacks = Callbacks(
            on_open=self._opened,
            on_reject=self._rejected,
            on_message=self._message_received,
            on_pong=self._pong_received,
            on_read=self._drive,
            on_writable=self._writable,
            on_lost=self._lost,
        )
        credentials = credentials or Credentials.from_environment()
        self._connector = Connector(credentials, ssl_context, callbacks, self._unreachable)
        self._is_started = self._is_rejection_raised = False
        self._timer = DeadlineTimer(self._timed_out)
        self._clock = WallClock()

    @property
    @abstractmethod
    def options(self) -> ConnectionOptions:
        """What the next connection asks for, with all changes made so far."""

    @abstractmethod
    def _set_options(self, options: Any) -> None:
        """Ask for something else; there is no session yet."""

    @abstractmethod
    def _make_session(self, epoch: float, session_id: str, taps: Iterable[Tap]) -> S:
        """Make the session; `epoch` is the wall-clock time at `now` = 0."""

    # --- what applications use ----------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, in the background; needs a running event loop."""
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
        """Close at once; call `finish` first to receive the last transcripts."""
        await self.aclose()

    @property
    def on_event(self) -> Callable[[E], None] | None:
        """Receives each event when it arrives, in place of iteration; None to iterate.

        Iterating then yields nothing and ends with the session. A callback that raises is logged,
        and the next event follows.
        """
        return self._delivery.on_event

    @on_event.setter
    def on_event(self, callback: Callable[[E], None] | None) -> None:
        self._delivery.on_event = callback
        if self._made is not None:
            self._delivery.deliver(self._made[0].events, self._made[0].log)

    def send_audio(self, pcm: bytes | bytearray | memoryview) -> None:
        """Hand in audio; returns at once, whatever the state of the network.

        Call it in the event loop; from another thread use
        `loop.call_soon_threadsafe(client.send_audio, pcm)`.

        Args:
            pcm: Whole samples, mono, in the encoding and rate of the options, about as fast as they
                are spoken. Pieces of 10 to 100 ms are best; any size is accepted.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has rejected the session.
            UsageError: The bytes are not whole samples, or this is not the client's event loop.
        """
        session, loop = self._made if self._is_started and self._made else self._started()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = running_loop()  # raises an error that says what to do
        if running is not loop:
            raise UsageError("send_audio: the client belongs to another event loop")
        session.audio_received(pcm if isinstance(pcm, bytes) else as_bytes(pcm), loop.time())
        self._drive()

    def audio_stopped(self) -> None:
        """Say that no audio follows for now: silence is sent at once, until the next `send_audio`.

        Raises:
            ClosedError: After `finish` or `aclose`, or when the server has rejected the session.
        """
        session, loop = self._started()
        session.audio_stopped(loop.time())
        self._drive()

    async def finish(self, timeout: float | None = None) -> None:
        """Say that there is no more audio, and wait until the last transcripts have arrived.

        The events can still be iterated over afterwards.

        Args:
            timeout: Seconds from this call after which it returns in any case; the `drain_timeout`
                of the resilience by default. Text that is known by then is final, and audio that
                could not be sent is an `AudioGap`.
        """
        session, loop = self._get_or_make()
        session.finish(loop.time(), timeout)
        self._drive()
        await self.wait_closed()
        await self._connector.wait_closed()
        await self.observers.call.aclose()

    async def aclose(self) -> None:
        """End at once: no task and no socket is left. May be called again."""
        session, loop = self._get_or_make()
        session.abort(loop.time())
        self._drive()
        await self._connector.wait_closed()
        await self.observers.call.aclose()

    async def wait_closed(self) -> None:
        """Wait until the session is over, by `finish`, `aclose` or a rejection."""
        while not self._get_or_make()[0].is_closed:
            await self._delivery.change()

    def set_reconnect_policy(
        self, policy: ReconnectPolicy | None, connect_timeout: float | None = None
    ) -> None:
        """Decide how long to wait between attempts to connect, from now on.

        Args:
            policy: Asked after each failure; None for the default.
            connect_timeout: Seconds until an attempt without an answer is given up; None for that
                of the resilience.
        """
        session, loop = self._get_or_make()
        session.connection.set_reconnect_policy(policy, connect_timeout, loop.time())
        self._drive()

    def set_sample_rate(self, sample_rate: int) -> None:
        """Declare another sample rate, in Hz, before the first audio; nobody is told of it.

        Raises:
            UsageError: Audio was sent already, or the rate is no rate.
        """
        options = replace(self.options, sample_rate=sample_rate)
        is_started = self._is_started
        if options.sample_rate == self.options.sample_rate:
            return
        if self._made is not None:
            session, loop = self._made
            if session.sender.counts.received:
                raise UsageError("set_sample_rate: audio was sent already")
            self._is_started = False
            session.abort(loop.time())
            self._drive()
        self._made = None
        self._set_options(options)
        if is_started:
            self.start()

    def __aiter__(self) -> AsyncIterator[E]:
        """Iterate over the events."""
        return self

    async def __anext__(self) -> E:
        """Wait for the next event.

        Raises:
            StopAsyncIteration: The session is over.
            RejectedError: The server rejected it; raised once.
        """
        while not (session := self._started()[0]).events or self._delivery.on_event is not None:
            if session.is_closed:
                if session.rejection is not None and not self._is_rejection_raised:
                    self._is_rejection_raised = True
                    raise session.rejection
                raise StopAsyncIteration
            await self._delivery.change()
        return cast("E", session.events.popleft())

    # --- for the clients ----------------------------------------------------------------------

    def _get_or_make(self) -> tuple[S, asyncio.AbstractEventLoop]:
        """Return the session and its loop; the first use makes them, and connects nothing."""
        if self._made is None:
            loop = running_loop()
            session_id = f"ink-{secrets.token_hex(3)}"
            epoch = self._clock.epoch(loop.time())
            session = self._make_session(epoch, session_id, self.observers.taps(session_id))
            self._made = session, loop
            start = self.observers.start(session_id, self.options, epoch, session.snapshot)
            session.taps.on(loop.time(), MomentKind.STARTED, start)
        return self._made

    def _started(self) -> tuple[S, asyncio.AbstractEventLoop]:
        """Return the session and its loop; the first use connects."""
        session, loop = self._get_or_make()
        if not self._is_started:
            self._is_started = True
            session.start(loop.time())
            self._drive()
        return session, loop

    def _ended(self) -> None:
        """The session is over; may be called more than once."""

    # --- the session's outputs ----------------------------------------------------------------

    def _drive(self) -> None:
        """Carry out what the session wants; the one place where its outputs are read."""
        assert self._made is not None
        session = self._made[0]
        if session.actions:
            self._act(session)
        if session.events:
            self._delivery.deliver(session.events, session.log)
        at = session.next_timeout
        if at != self._timer.at:
            self._timer.set(at, self._made[1])
        if session.connection.state is ConnectionState.CLOSED:
            self._delivery.wake()
            self._ended()
            if self._is_started:
                self.observers.call.end()

    def _act(self, session: S) -> None:
        """Carry out the actions, in order; what they send is written at once, in one piece."""
        actions, connector = session.actions, self._connector
        while actions:
            match actions.popleft():
                case bytes() | str() as data if connector.connection is not None:
                    connector.connection.send(data)
                case Ping(number=number) if connector.connection is not None:
                    connector.connection.ping(number)
                case Connect():
                    connector.connect(session.options)
                case Drop():
                    connector.drop()
        if connector.connection is not None:
            connector.connection.flush()

    def _timed_out(self) -> None:
        session, now = self._awake()
        session.timeout(now)
        self._drive()

    def _awake(self) -> tuple[S, float]:
        """Return the session and the time; tell it if the machine has slept, or its clock was set.

        Whatever awakes the process may come after that.
        """
        session, loop = self._get_or_make()
        now = loop.time()
        if (epoch := self._clock.stepped(now)) is not None:
            session.set_epoch(epoch)
            session.taps.on(now, MomentKind.CLOCK, epoch)
        return session, now

    # --- what the connector reports -----------------------------------------------------------

    def _opened(self, request_id: str | None) -> None:
        """The upgrade succeeded; `_drive` follows, as it does behind messages."""
        session, now = self._awake()
        session.connection_opened(now, request_id)

    def _rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        session, loop = self._get_or_make()
        answer = read_answer(headers, body, self._connector.redact)
        session.connection_rejected(
            status,
            loop.time(),
            retry_after=answer.retry_after,
            message=answer.message,
            request_id=answer.request_id,
            is_api_error=answer.is_api_error,
        )
        self._drive()

    def _message_received(self, data: str | bytes) -> None:
        """A message arrived; `_drive` follows once all messages of a read were told."""
        session, now = self._awake()
        session.message_received(data, now)

    def _pong_received(self, number: int) -> None:
        session, loop = self._get_or_make()
        session.pong_received(number, loop.time())

    def _writable(self, is_writable: bool) -> None:
        session, loop = self._get_or_make()
        session.writable(loop.time(), is_writable=is_writable)
        self._drive()

    def _lost(self, reason: str, code: int | None) -> None:
        session, loop = self._get_or_make()
        session.connection_lost(reason, loop.time(), code)
        self._drive()

    def _unreachable(self, event: Unreachable) -> None:
        session, loop = self._get_or_make()
        session.emit(event, loop.time())
        self._drive()
