"""A server that says what it is told to, message by message and segment by segment.

The local Ink server of the package plays turns on the clock of the audio. Here the subject is the
order in which messages reach a client, so this one plays a list of segments as soon as there is
audio, to whichever client: ours or the framework's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

START = "turn.start"
RESUME = "turn.resume"


def update(text: str) -> tuple[str, str]:
    """Words of the turn so far."""
    return "turn.update", text


def eager(text: str) -> tuple[str, str]:
    """A predicted end."""
    return "turn.eager_end", text


def end(text: str) -> tuple[str, str]:
    """The end of a turn."""
    return "turn.end", text


Message: TypeAlias = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds between two segments."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cue:
    """Wait for the test, which calls `WireServer.go_on`."""


CUE = Cue()
Play: TypeAlias = Sequence[Message | list[Message] | Pause | Cue]


@dataclass(slots=True)
class WireServer:
    """What a client connects to.

    Attributes:
        url: Where it listens, without a path.
        play: What is said to the first connection, once it has sent audio. A list inside the list
            is one segment.
        played: Everything was said.
        queries: The query of each connection.
        audio: The audio of each connection.
        texts: Every text message received.
    """

    play: Play
    url: str = ""
    played: asyncio.Event = field(default_factory=asyncio.Event)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    audio: list[bytearray] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _begun: bool = False
    _cues: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    def go_on(self) -> None:
        """Give the next cue."""
        self._cues.release()

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        assert connection.request is not None
        self.queries.append(parse_qs(urlsplit(connection.request.path).query))
        heard = bytearray()
        self.audio.append(heard)
        await connection.send(_encode("connected"))
        player: asyncio.Task[None] | None = None
        try:
            async for message in connection:
                if isinstance(message, str):
                    self.texts.append(message)
                    if json.loads(message).get("type") == "close":
                        break
                    continue
                heard += message
                if not self._begun:
                    self._begun = True
                    player = asyncio.create_task(self._play(connection))
        except ConnectionClosed:
            pass
        finally:
            if player:
                player.cancel()

    async def _play(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for item in self.play:
                if isinstance(item, Pause):
                    await asyncio.sleep(item.seconds)
                elif isinstance(item, Cue):
                    await self._cues.acquire()
                elif isinstance(item, list):
                    # Written without a turn of the event loop in between, so read at once.
                    for message in item:
                        connection.protocol.send_text(_encode(message).encode())
                    connection.send_data()
                else:
                    await connection.send(_encode(item))
                    await asyncio.sleep(0.002)
        self.played.set()


def _encode(message: Message) -> str:
    kind, text = (message, None) if isinstance(message, str) else message
    fields = {"type": kind, "request_id": "00000000-0000-4000-8000-000000000000"}
    if text is not None:
        fields["transcript"] = text
    return json.dumps(fields)


@asynccontextmanager
async def wire_server(play: Play) -> AsyncIterator[WireServer]:
    """Run a server on a free port."""
    state = WireServer(play)
    async with serve(state.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        state.url = f"ws://127.0.0.1:{port}"
        yield state
