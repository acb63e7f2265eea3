"""Messages of one WebSocket connection, in both directions."""

from __future__ import annotations

import asyncio
import random

from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from cartesia_ink_plugins.core.net.websocket import Connection
from cartesia_ink_plugins.server.frames import Opcode
from tests.core.net.recorder import Recorder, abort, connect, served
from tests.core.sockets import Peer, raw_server


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class TestMessages:
    async def test_text_is_str_and_binary_is_bytes(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, "Grüße 👋")
            peer.send(Opcode.BINARY, b"\xff\x00")
            peer.close(1000)

        recorder = await served(talk)
        assert recorder.of("message") == [("message", "Grüße 👋"), ("message", b"\xff\x00")]

    async def test_fragments_become_one_message_and_control_frames_may_come_between(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b"Gr\xc3", fin=False)
            peer.send(Opcode.PING, b"x")
            peer.send(Opcode.CONTINUATION, b"\xbc", fin=False)
            peer.send(Opcode.CONTINUATION, "ße".encode())
            peer.send(Opcode.BINARY, b"a", fin=False)
            peer.send(Opcode.CONTINUATION, b"b")
            peer.send(Opcode.TEXT, "whole")
            peer.close(1000)

        recorder = await served(talk)
        assert recorder.of("message") == [
            ("message", "Grüße"),
            ("message", b"ab"),
            ("message", "whole"),
        ]

    async def test_a_text_message_that_is_no_utf_8_does_no_harm(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b"\xff\xfe{")
            peer.close(1000)

        recorder = await served(talk)
        assert [type(report[1]) for report in recorder.of("message")] in ([str], [])

    async def test_all_messages_of_one_read_are_reported_before_its_end(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await peer.receive()
            peer.send(Opcode.TEXT, "one")
            peer.send(Opcode.TEXT, "two")

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            recorder.reports.clear()
            connection.send("go")
            connection.flush()
            await recorder.until("read")
            assert recorder.reports == [("message", "one"), ("message", "two"), ("read",)]
            await abort(connection)

    async def test_a_message_may_arrive_byte_by_byte(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            whole = b"\x81\x05Hello" + b"\x88\x02\x03\xe8"
            for number in range(len(whole)):
                peer.writer.write(whole[number : number + 1])
                await peer.writer.drain()
                await asyncio.sleep(0)

        recorder = await served(talk)
        assert recorder.of("message") == [("message", "Hello")]
        assert recorder.of("lost") == [("lost", "closed with 1000", 1000)]

    async def test_a_huge_message_ends_the_connection_and_not_the_memory(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b" " * (2**20 + 1))

        recorder = await served(talk)
        assert recorder.of("message") == []
        assert recorder.of("lost")[0][2] == 1009

    async def test_so_does_a_message_of_endless_fragments(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b" ", fin=False)
            for _ in range(40):
                peer.send(Opcode.CONTINUATION, b" " * 2**15, fin=False)

        recorder = await served(talk)
        assert recorder.of("lost")[0][2] == 1009

    async def test_messages_are_sent_in_order_and_with_their_type(self) -> None:
        received: list[tuple[Opcode, bytes]] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            received.extend([await peer.receive() for _ in range(3)])
            for content in (b"7", b"", b"seven", b"-7"):
                peer.send(Opcode.PONG, content)

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            connection.send(b"too early: nobody is there yet")
            await recorder.until("open")
            connection.send(b"\x01\x02")
            connection.send('{"type":"close"}')
            connection.ping(7)
            connection.flush()
            await recorder.until("pong", 4)
            assert recorder.of("pong") == [("pong", number) for number in (7, -1, -1, -1)]
            assert received == [
                (Opcode.BINARY, b"\x01\x02"),
                (Opcode.TEXT, b'{"type":"close"}'),
                (Opcode.PING, b"7"),
            ]
            await abort(connection)

    async def test_what_is_sent_before_a_flush_is_written_in_one_piece(self) -> None:
        recorder = Recorder()
        connection = Connection("ws://127.0.0.1:1", {}, recorder.callbacks)
        wire, server = Wire(), ServerProtocol()
        connection.connection_made(wire)
        server.receive_data(wire.written.pop())
        request = server.events_received()[0]
        assert isinstance(request, Request)
        server.send_response(server.accept(request))
        connection.data_received(b"".join(server.data_to_send()))
        connection.send(b"audio")
        connection.send(b"more")
        connection.ping(7)
        assert wire.written == []
        connection.flush()
        connection.flush()
        assert len(wire.written) == 1
        server.receive_data(wire.written[0])
        frames = [frame for frame in server.events_received() if isinstance(frame, Frame)]
        assert [bytes(frame.data) for frame in frames] == [b"audio", b"more", b"7"]
        connection.connection_lost(None)

    async def test_messages_of_any_length_are_read_by_another_websocket_library(self) -> None:
        sizes = (1, 125, 126, 640, 65_535, 65_536, 200_000)
        messages: list[str | bytes] = [random.Random(size).randbytes(size) for size in sizes]
        messages += ["ü" * 63, "e" * 70_000]
        received: list[str | bytes] = []

        async def read(connection: ServerConnection) -> None:
            received.extend([await connection.recv() for _ in messages])

        async with serve(read, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            recorder = Recorder()
            connection = Connection(f"ws://127.0.0.1:{port}", {}, recorder.callbacks)
            await connection.open(None)
            await recorder.until("open")
            for message in messages:
                connection.send(message)
                connection.flush()
            assert (await recorder.until("lost"))[2] == 1000
            assert received == messages
            await abort(connection)

    async def test_no_two_messages_are_masked_alike(self) -> None:
        masked: list[bytes] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            masked.extend([await peer.reader.readexactly(2 + 4 + 8) for _ in range(10)])
            peer.close(1000)

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            for _ in range(10):
                connection.send(bytes(8))
            connection.flush()
            await recorder.until("lost")
            await abort(connection)
        assert len(set(masked)) == 10

    async def test_pings_are_answered(self) -> None:
        answers: list[tuple[Opcode, bytes]] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.PING, b"are you there?")
            answers.append(await peer.receive())
            peer.close(1000)

        await served(talk)
        assert answers == [(Opcode.PONG, b"are you there?")]
