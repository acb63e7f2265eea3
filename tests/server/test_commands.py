"""A command that takes its time keeps nobody waiting but what comes after it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cartesia_ink_plugins.core.events import Transcript
from cartesia_ink_plugins.server.manual_engine import ManualEmit, ManualRequest
from cartesia_ink_plugins.server.script import Script, ScriptEngine
from cartesia_ink_plugins.testing import InkServer


class Slow(ScriptEngine):
    """Says how much it has heard when it is allowed to."""

    def __init__(self) -> None:
        super().__init__(Script())
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()

    def open_manual(self, request: ManualRequest, emit: ManualEmit) -> SlowEar:  # type: ignore[override]
        return SlowEar(self, emit)


class SlowEar:
    def __init__(self, engine: Slow, emit: ManualEmit) -> None:
        self.engine, self.emit, self.size = engine, emit, 0

    def receive_audio(self, pcm: bytes) -> None:
        self.size += len(pcm)

    async def finalize(self) -> None:
        self.engine.asked.set()
        await self.engine.may_answer.wait()
        self.emit([Transcript(str(self.size))])

    def abort(self) -> None:
        self.emit = _nobody


def _nobody(transcripts: object) -> None:
    """Nobody is there any more."""


def dial(server: InkServer) -> connect:
    return connect(
        f"{server.url.replace('http', 'ws')}/stt/websocket"
        "?model=ink-2&encoding=pcm_s16le&sample_rate=16000",
        additional_headers={"X-API-Key": "any"},
    )


async def said(socket: ClientConnection) -> list[str]:
    """What the server says until it closes."""
    messages: list[str] = []
    with suppress(ConnectionClosed):
        messages += [str(message) async for message in socket]
    return messages


async def test_pings_are_answered_and_audio_waits_its_turn() -> None:
    engine = Slow()
    async with InkServer(engine) as server, dial(server) as socket:
        await socket.send(bytes(640))
        await socket.send("finalize")
        await engine.asked.wait()
        await socket.send(bytes(320))
        await socket.send("finalize")
        await socket.send("close")
        pong = await socket.ping()
        await pong  # while nothing is answered yet
        engine.may_answer.set()
        texts = await said(socket)
    assert ['"text": "640"' in texts[0], '"text": "960"' in texts[2]] == [True, True]
    assert [text.split('"')[3] for text in texts] == [
        *("transcript", "flush_done", "transcript", "flush_done", "transcript", "done"),
    ]


async def test_a_client_that_leaves_meanwhile_leaves_nothing() -> None:
    engine = Slow()
    before = asyncio.all_tasks()
    async with InkServer(engine) as server:
        async with dial(server) as socket:
            await socket.send("finalize")
            await engine.asked.wait()
            socket.transport.abort()
        await server.wait_until_idle()
    assert asyncio.all_tasks() <= before
