"""A server that sends a list of messages, segment by segment, as soon as there is audio.

The local Ink server sends turn events at positions of the audio. Here the subject is the order in
which messages reach a client, ours or the framework's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from cartesia_ink_plugins.core.events import (
    Connected,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.delayed_writer import reset
from cartesia_ink_plugins.server.faults import Outage, Reset

REQUEST_ID = "00000000-0000-4000-8000-000000000000"
START = TurnStart()
RESUME = TurnResume()


def update(text: str) -> TurnUpdate:
    """The text of the turn so far."""
    return TurnUpdate(text)


def eager(text: str) -> TurnEagerEnd:
    """A predicted end."""
    return TurnEagerEnd(text)


def end(text: str) -> TurnEnd:
    """The end of a turn."""
    return TurnEnd(text)


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds between two segments."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cue:
    """Wait for the test, which calls `WireServer.go_on`."""


CUE = Cue()
Play: TypeAlias = Sequence[TurnEvent | list[TurnEvent] | Pause | Cue | Reset | Outage]


@dataclass(slots=True)
class WireServer:
    """What a client connects to.

    Attributes:
        url: Where it listens, without a path.
        plays: What is sent to each connection, once it has sent audio; nothing to further ones. A
            list inside the list is one segment.
        played: Whether everything was sent.
        queries: The query of each connection.
        headers: The headers of each upgrade request.
        audio: The audio of each connection.
        pieces: The bytes of each message of audio, whichever the connection.
        texts: Every text message received.
    """

    plays: list[Play]
    url: str = ""
    played: asyncio.Event = field(default_factory=asyncio.Event)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    audio: list[bytearray] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _down_until: float = 0.0
    _cues: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def go_on(self) -> None:
        """Give the next cue."""
        self._cues.release()

    def reject_for(self, seconds: float) -> None:
        """Answer further upgrades with a 503 for so many seconds."""
        self._down_until = asyncio.get_running_loop().time() + seconds

    def answer(self, connection: ServerConnection, _: Request) -> Response | None:
        """Answer the upgrade."""
        if asyncio.get_running_loop().time() < self._down_until:
            return connection.respond(503, "down\n")
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        assert connection.request is not None
        self.queries.append(parse_qs(urlsplit(connection.request.path).query))
        self.headers.append(connection.request.headers)
        heard = bytearray()
        self.audio.append(heard)
        await connection.send(_encode(Connected()))
        player: asyncio.Task[None] | None = None
        try:
            async for message in connection:
                if isinstance(message, str):
                    self.texts.append(message)
                    if json.loads(message).get("type") == "close":
                        break
                    continue
                heard += message
                self.pieces.append(len(message))
                if player is None and self.plays:
                    player = asyncio.create_task(self._play(connection, self.plays.pop(0)))
        except ConnectionClosed:
            pass
        finally:
            if player:
                player.cancel()

    async def _play(self, connection: ServerConnection, play: Play) -> None:
        with suppress(ConnectionClosed):
            for item in play:
                if isinstance(item, Pause):
                    await asyncio.sleep(item.seconds)
                elif isinstance(item, Cue):
                    await self._cues.acquire()
                elif isinstance(item, Reset | Outage):
                    if isinstance(item, Outage):
                        assert item.status == 503
                        self.reject_for(item.seconds)
                    reset(connection.transport)
                    return
                elif isinstance(item, list):
                    # Written without a turn of the event loop in between, so read at once.
                    for message in item:
                        connection.protocol.send_text(_encode(message).encode())
                    connection.send_data()
                else:
                    await connection.send(_encode(item))
                    await asyncio.sleep(0.002)
        if not self.plays:
            self.played.set()


def _encode(message: Connected | TurnEvent) -> str:
    return encode(replace(message, request_id=REQUEST_ID))


@asynccontextmanager
async def wire_server(*plays: Play) -> AsyncIterator[WireServer]:
    """Run a server on a free port."""
    state = WireServer(list(plays))
    async with serve(state.serve, "127.0.0.1", 0, process_request=state.answer) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        state.url = f"ws://127.0.0.1:{port}"
        yield state
