"""The clients of one STT: one for each stream, and a spare one that connects before it is needed.

LiveKit closes a stream and opens another in mid-call (`clear_user_turn()`, a reconnect of its own),
and tells an STT to warm up before the first stream. Neither should cost the caller a handshake, and
no call should cost the account a second connection: a spare client waits for the next stream, but
only where no stream has a client, and not for long; the client of a stream that closes between two
turns goes to the stream that takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from livekit.agents import AgentSession

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.speculation import Speculations
from cartesia_ink_plugins.observe.call import Call
from cartesia_ink_plugins.observe.options import Record, record_options
from cartesia_ink_plugins.observe.stats import StatsGroup

Client: TypeAlias = InkTurnsClient | InkManualClient
Options: TypeAlias = TurnsOptions | ManualOptions

ROOM_SAMPLE_RATE = 24_000  # Hz, of the audio that a LiveKit room gives
_PREDECESSOR_TIMEOUT = 0.05  # seconds; closing a stream takes some turns of the event loop
_SPARE_TIMEOUT = 5.0  # seconds; a session opens its stream within one after it said `prewarm`


@dataclass(frozen=True, slots=True)
class _Spare:
    """A client that no stream has yet, and the sample rate it was made for."""

    client: Client
    sample_rate: int
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _LoopState:
    """The clients in one event loop. A process may run one job after another, each in its own.

    Attributes:
        spare: Waits for the next stream.
        acquired: The clients of streams.
        expected: How many streams wait for their first audio.
        call: What the clients are a part of; None before the first.
        is_session: Whether a session tells when the call is over.
        released: Set when a stream gives its client back.
        closing: What is being closed.
    """

    spare: _Spare | None = None
    acquired: set[Client] = field(default_factory=set)
    expected: int = 0
    call: Call | None = None
    is_session: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    closing: set[asyncio.Task[None]] = field(default_factory=set)

    def end_call(self) -> Call | None:
        """End the call, if there is one; the next client begins another."""
        call, self.call, self.is_session = self.call, None, False
        if call is not None:
            call.end()
        return call

    def take_spare(self) -> Client | None:
        """The spare client, which then is none."""
        spare, self.spare = self.spare, None
        if spare is None:
            return None
        if spare.expiry is not None:
            spare.expiry.cancel()
        return spare.client


class ClientPool:
    """Connects, hands out and takes back clients.

    Attributes:
        options: What the next connection asks for.
        credentials: Used for every connection.
        stats: The numbers of all clients so far.
        speculations: Of the sessions that use the clients.
    """

    def __init__(
        self,
        options: Options,
        credentials: Credentials,
        resilience: Resilience,
        speculations: Speculations,
        record: Record | None = None,
    ) -> None:
        """Connect nothing yet.

        Args:
            options: What a connection asks for, and by their type of which endpoint; the sample
                rate is the one to expect.
            credentials: Used for every connection.
            resilience: How each client meets a lost connection.
            speculations: Of the sessions that use the clients.
            record: Where calls are recorded.

        Raises:
            UsageError: `record` is wrong.
        """
        record_options(record)
        self._record = record
        self.options = options
        self.credentials = credentials
        self.stats = StatsGroup()
        self.speculations = speculations
        self._resilience = resilience
        self._loops = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState]()

    def prewarm(self) -> None:
        """Connect a client for the next stream, unless a client is there; needs a running loop."""
        state = self._state()
        if state.spare is None and not state.acquired:
            loop = asyncio.get_running_loop()
            expiry = loop.call_later(_SPARE_TIMEOUT, self._expire, state)
            state.spare = self._spare(self._connect(), expiry)

    def expect(self) -> None:
        """A stream was opened; it will `acquire` or `cancel`."""
        self._state().expected += 1

    @property
    def records_audio(self) -> bool:
        """Whether the sound of the present call is recorded."""
        call = self._state().call
        return call is not None and call.records_audio

    def in_session(self, session: AgentSession[Any]) -> None:
        """The streams of this loop are those of a session: the call ends with it."""
        state = self._state()
        if not state.is_session:
            state.is_session = True
            session.once("close", lambda _: state.end_call())

    async def acquire(self, sample_rate: int) -> Client:
        """Give a stream its client: the spare one if it fits, else one that connects now."""
        state = self._state()
        if state.spare is None and state.acquired:
            await self._await_predecessor(state)
        fits = state.spare is not None and state.spare.sample_rate == sample_rate
        client = state.take_spare()
        if client is not None and not fits:
            await client.aclose()
            client = None
        state.expected -= 1
        if self.options.sample_rate != sample_rate:
            self.options = replace(self.options, sample_rate=sample_rate)
        client = client or self._connect()
        state.acquired.add(client)
        return client

    async def cancel(self) -> None:
        """A stream closed before it had any audio."""
        state = self._state()
        state.expected -= 1
        await self._close_idle(state)

    async def release(self, client: Client, *, reusable: bool) -> None:
        """Take a stream's client back.

        Args:
            client: What was acquired.
            reusable: Whether no turn is open and the stream was not finished, so that a stream that
                waits for its first audio can go on with the connection.
        """
        state = self._state()
        state.acquired.discard(client)
        state.released.set()
        if reusable and state.expected and state.spare is None and client.is_connected:
            state.spare = self._spare(client)
            return
        await client.aclose()
        await self._close_idle(state)

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds, on open connections in mid-session.

        Raises:
            UsageError: The thresholds would be out of order, or the endpoint has none; nothing is
                changed.
        """
        if isinstance(self.options, ManualOptions):
            raise UsageError("turn_*: the manual endpoint detects no turns and has no thresholds")
        self.options = replace(self.options, turn=self.options.turn.updated(changes))
        for client in self._clients():
            if isinstance(client, InkTurnsClient):
                client.configure(changes)

    def restore(self, turn: TurnSettings) -> None:
        """Undo what the server has rejected: the next stream would be rejected with it."""
        if isinstance(self.options, TurnsOptions):
            self.options = replace(self.options, turn=turn)

    def update_keyterms(self, terms: Sequence[str]) -> None:
        """Change the keyterms; open connections take them on between two turns.

        Raises:
            UsageError: There are too many, or one is empty; nothing is changed.
        """
        before = self.options.keyterms
        self.options = replace(self.options, keyterms=terms)
        if self.options.keyterms != before:
            for client in self._clients():
                client.update_keyterms(self.options.keyterms)

    async def aclose(self) -> None:
        """Close the spare client; those that are acquired belong to their streams."""
        state = self._state()
        await self._close_spare(state)
        await self._end_call(state)

    async def _close_spare(self, state: _LoopState) -> None:
        if client := state.take_spare():
            await client.aclose()
        if state.closing:
            await asyncio.wait(state.closing)

    async def _end_call(self, state: _LoopState) -> None:
        if call := state.end_call():
            await call.aclose()

    def _state(self) -> _LoopState:
        return self._loops.setdefault(asyncio.get_running_loop(), _LoopState())

    def _spare(self, client: Client, expiry: asyncio.TimerHandle | None = None) -> _Spare:
        # What happens to it before a stream takes it, such as a failed attempt, concerns no stream.
        client.on_event = _ignore
        return _Spare(client, self.options.sample_rate, expiry)

    def _expire(self, state: _LoopState) -> None:
        """Close the spare client, unless a stream waits for the audio with which it takes it."""
        if state.expected:
            return
        if client := state.take_spare():
            closing = asyncio.create_task(client.aclose(), name="ink_close_spare")
            state.closing.add(closing)
            closing.add_done_callback(state.closing.discard)

    async def _close_idle(self, state: _LoopState) -> None:
        """With the last stream, the client that waits for the next one goes too."""
        if not state.expected and not state.acquired:
            await self._close_spare(state)
            if not state.is_session:
                await self._end_call(state)

    async def _await_predecessor(self, state: _LoopState) -> None:
        """Give the stream that this one replaces a moment to close; audio waits in the stream."""
        state.released.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(state.released.wait(), _PREDECESSOR_TIMEOUT)

    def _connect(self) -> Client:
        client: Client
        state = self._state()
        call = state.call = state.call or Call(self._record)
        match self.options:
            case TurnsOptions() as options:
                client = InkTurnsClient(
                    options, self.credentials, resilience=self._resilience, call=call
                )
            case ManualOptions() as options:
                client = InkManualClient(
                    options, self.credentials, resilience=self._resilience, call=call
                )
        self.stats.add(client.observers.stats)
        client.start()
        return client

    def _clients(self) -> list[Client]:
        return [
            client
            for state in self._loops.values()
            for client in (*state.acquired, *([state.spare.client] if state.spare else []))
        ]


def _ignore(_: object) -> None:
    """Take an event that nobody waits for."""
