"""Frames that cost us more than the server: bounded in time and memory."""

from __future__ import annotations

import asyncio

import pytest

from cartesia_ink_plugins.server.frames import Opcode
from tests.core.net.recorder import abort, connect, served
from tests.core.sockets import Peer, frame, raw_server

FLOODS = {
    "continuations": frame(Opcode.TEXT, b"", fin=False)
    + frame(Opcode.CONTINUATION, b"", fin=False) * 2**17,
    "pings": frame(Opcode.PING, b"") * 2**17,
    "pongs": frame(Opcode.PONG, b"") * 2**17,
    "empty messages": frame(Opcode.TEXT, b"") * 2**17,
    "tiny messages": frame(Opcode.TEXT, b"{}") * 2**16,
    "tiny continuations": frame(Opcode.TEXT, b"{", fin=False)
    + frame(Opcode.CONTINUATION, b" ", fin=False) * 2**16,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_frames_without_content_ends_the_connection(flood: str) -> None:
    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(FLOODS[flood])
        await peer.writer.drain()

    recorder = await served(talk)
    assert recorder.of("lost") == [("lost", "a flood of empty frames", None)]
    # Two pieces of 4 KiB at most.
    assert len(recorder.of("message")) + len(recorder.of("pong")) <= 4200


async def test_what_a_server_needs_is_no_flood() -> None:
    """Pongs for hours, and a message in many fragments."""

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        for _ in range(40):
            for _ in range(20):
                peer.send(Opcode.PONG, b"")
            await peer.writer.drain()
            await asyncio.sleep(0.3)
        peer.send(Opcode.TEXT, "content", fin=False)
        for _ in range(50):
            peer.send(Opcode.CONTINUATION, b"", fin=False)
        peer.send(Opcode.CONTINUATION, " and more")
        peer.close(1000)

    recorder = await served(talk)
    assert recorder.of("message") == [("message", "content and more")]
    assert recorder.of("lost") == [("lost", "closed with 1000", 1000)]
    assert len(recorder.of("pong")) == 800


async def test_other_things_happen_between_the_pieces_of_a_read() -> None:
    """Nothing that is sent after the flood is read any more."""

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        peer.writer.write(FLOODS["pongs"] + frame(Opcode.TEXT, b'{"type":"turn.start"}'))
        await peer.writer.drain()

    async with raw_server(talk) as server:
        connection, recorder = await connect(server)
        await recorder.until("lost")
        await abort(connection)
    assert recorder.of("message") == []
