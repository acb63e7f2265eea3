"""The clients of one STT: one for each stream, and one that is dialled before it is needed.

LiveKit closes a stream and opens another in mid-call (`clear_user_turn()`, a reconnect of its own),
and tells an STT to warm up before the first stream. Neither should cost the caller a handshake, and
no call should cost the account a second connection: so a client that was dialled early waits for
the first stream, and the client of a stream that closes between two turns goes to the stream that
takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.net.manual_client import InkManualClient
from cartesia_ink_plugins.core.net.turns_client import InkTurnsClient
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions

Client: TypeAlias = InkTurnsClient | InkManualClient
Options: TypeAlias = TurnsOptions | ManualOptions

ROOM_SAMPLE_RATE = 24_000
_PREDECESSOR_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A client that no stream has yet, and what it is good for."""

    client: Client
    loop: asyncio.AbstractEventLoop
    sample_rate: int


class Connections:
    """Dials, lends and takes back clients."""

    def __init__(self, options: Options, credentials: Credentials, resilience: Resilience) -> None:
        """Dial nothing yet.

        Args:
            options: What a connection asks for, and by their type of which endpoint; the sample
                rate is the one to expect.
            credentials: Used for every dial.
            resilience: How hard each client fights.
        """
        self.options = options
        self.credentials = credentials
        self._resilience = resilience
        self._spare: _Waiting | None = None
        self._lent: set[Client] = set()
        self._expected = 0
        self._returned = asyncio.Event()

    def prewarm(self) -> None:
        """Dial a client for the next stream, unless one waits; needs a running loop."""
        loop = asyncio.get_running_loop()
        if self._spare is None or self._spare.loop is not loop:
            self._spare = _Waiting(self._dial(), loop, self.options.sample_rate)

    def expect(self) -> None:
        """A stream was opened; it will `lend` or `forgo`."""
        self._expected += 1

    async def lend(self, sample_rate: int) -> Client:
        """Give a stream its client: the waiting one if it fits, else one that dials now."""
        if self._spare is None and self._lent:
            await self._await_predecessor()
        spare, self._spare = self._spare, None
        # One that waits in another loop, which is a job that is over, went down with its loop.
        if spare and spare.loop is not asyncio.get_running_loop():
            spare = None
        if spare and spare.sample_rate != sample_rate:
            await spare.client.aclose()
            spare = None
        self._expected -= 1
        if self.options.sample_rate != sample_rate:
            self.options = replace(self.options, sample_rate=sample_rate)
        client = spare.client if spare else self._dial()
        self._lent.add(client)
        return client

    async def forgo(self) -> None:
        """A stream closed before it had any audio."""
        self._expected -= 1
        await self._close_idle()

    async def take_back(self, client: Client, *, reusable: bool) -> None:
        """Take a stream's client back.

        Args:
            client: What was lent.
            reusable: Whether no turn is open and the stream was not finished, so that a stream that
                waits for its first audio can go on with the connection.
        """
        self._lent.discard(client)
        self._returned.set()
        if reusable and self._expected and self._spare is None and client.is_connected:
            self._spare = _Waiting(client, asyncio.get_running_loop(), self.options.sample_rate)
            return
        await client.aclose()
        await self._close_idle()

    def configure(self, changes: TurnSettings) -> None:
        """Change thresholds, on open connections in mid-session.

        Raises:
            UsageError: The thresholds would be out of order, or the endpoint has none; nothing is
                changed.
        """
        if isinstance(self.options, ManualOptions):
            raise UsageError("turn_*: the manual endpoint detects no turns and has no thresholds")
        self.options = replace(self.options, turn=self.options.turn.updated(changes))
        for client in self._all():
            if isinstance(client, InkTurnsClient):
                client.configure(changes)

    def restore(self, turn: TurnSettings) -> None:
        """Take back what the server has refused: the next stream would be refused with it."""
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
            for client in self._all():
                client.update_keyterms(self.options.keyterms)

    async def aclose(self) -> None:
        """Close the client that waits; those that are lent belong to their streams."""
        spare, self._spare = self._spare, None
        if spare and spare.loop is asyncio.get_running_loop():
            await spare.client.aclose()

    async def _close_idle(self) -> None:
        """With the last stream, the client that waits for the next one goes too."""
        if not self._expected and not self._lent:
            await self.aclose()

    async def _await_predecessor(self) -> None:
        """Give the stream that this one replaces a moment to close; audio waits in the stream."""
        self._returned.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._returned.wait(), _PREDECESSOR_SECONDS)

    def _dial(self) -> Client:
        client: Client
        match self.options:
            case TurnsOptions():
                client = InkTurnsClient(self.options, self.credentials, resilience=self._resilience)
            case ManualOptions():
                client = InkManualClient(
                    self.options, self.credentials, resilience=self._resilience
                )
        client.start()
        return client

    def _all(self) -> list[Client]:
        return [*self._lent, *([self._spare.client] if self._spare else [])]
