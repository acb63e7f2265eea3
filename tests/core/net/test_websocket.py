"""One WebSocket connection on real sockets, with polite servers and others."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping

import pytest
from websockets.asyncio.server import ServerConnection, serve

from cartesia_ink_plugins.core.net.websocket import Connection
from tests.core.sockets import Opcode, Peer, RawServer, frame, raw_server

SECRET = "sk_car_0123456789abcdef"


class Ear:
    """Writes down what a connection tells."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self._changed = asyncio.Event()

    async def until(self, what: str) -> tuple[object, ...]:
        """Wait until something of a kind was told."""
        async with asyncio.timeout(30):
            while not any(told[0] == what for told in self.told):
                self._changed.clear()
                await self._changed.wait()
        return next(told for told in self.told if told[0] == what)

    def of(self, what: str) -> list[tuple[object, ...]]:
        return [told for told in self.told if told[0] == what]

    def _tell(self, *what: object) -> None:
        self.told.append(what)
        self._changed.set()

    def on_open(self, connection: Connection, request_id: str | None) -> None:
        self._tell("open", request_id)

    def on_refused(
        self, connection: Connection, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        self._tell("refused", status, headers.get("retry-after"), body)

    def on_message(self, data: str | bytes) -> None:
        self._tell("message", data)

    def on_pong(self) -> None:
        self._tell("pong")

    def on_blocked(self, blocked: bool) -> None:
        self._tell("blocked", blocked)

    def on_read(self) -> None:
        self._tell("read")

    def on_lost(self, connection: Connection, reason: str, code: int | None) -> None:
        self._tell("lost", reason, code)


async def dial(server: RawServer) -> tuple[Connection, Ear]:
    ear = Ear()
    connection = Connection(f"{server.url}/stt?model=ink-2", {"X-API-Key": SECRET}, ear)
    await connection.open(None)
    return connection, ear


async def bury(connection: Connection) -> None:
    connection.abort()
    async with asyncio.timeout(30):
        await connection.wait_closed()


async def served(talk: Callable[[Peer], Awaitable[None]], *, until: str = "lost") -> Ear:
    """What a connection tells of a server that talks like this."""
    async with raw_server(talk) as server:
        connection, ear = await dial(server)
        await ear.until(until)
        await bury(connection)
        return ear


class TestUpgrade:
    async def test_the_request_has_the_key_in_a_header(self) -> None:
        async with raw_server(Peer.upgrade) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            request = server.peers[0].request
            assert request.startswith("GET /stt?model=ink-2 HTTP/1.1\r\n")
            assert f"X-API-Key: {SECRET}\r\n" in request
            await bury(connection)

    async def test_the_request_id_comes_from_the_answer(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade("X-Request-Id: r-17\r\nx-request-id: r-17\r\n")

        assert (await served(talk, until="open")).told[0] == ("open", "r-17")

    @pytest.mark.skipif(
        not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT (Linux)"
    )
    async def test_the_kernel_gives_up_what_nobody_confirms_for_five_seconds(self) -> None:
        async with raw_server(Peer.upgrade) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            await bury(connection)

    async def test_messages_right_behind_the_answer_are_not_lost(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade(behind=frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))

        ear = await served(talk, until="read")
        assert ear.told == [("open", None), ("message", "one"), ("message", "two"), ("read",)]

    @pytest.mark.parametrize(
        ("status", "number"), [("401 Unauthorized", 401), ("503 Service Unavailable", 503)]
    )
    async def test_another_status_is_told_with_its_body(self, status: str, number: int) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer(status, b'{"message":"no"}', "Retry-After: 7\r\n")

        ear = await served(talk, until="refused")
        assert ear.told == [("refused", number, "7", b'{"message":"no"}')]

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
        ],
    )
    async def test_what_is_no_websocket_is_a_loss(self, answer: bytes) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(answer)

        ear = await served(talk)
        assert len(ear.told) == 1
        assert str(ear.told[0][1]).startswith("no WebSocket there: ")

    async def test_a_server_that_hangs_up_instead_is_a_loss(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.close()

        ear = await served(talk)
        assert [told[0] for told in ear.told] == ["lost"]

    async def test_nobody_there(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            connection = Connection(f"ws://127.0.0.1:{port}/", {}, Ear())
            with pytest.raises(OSError):
                await connection.open(None)
            await bury(connection)


class TestMessages:
    async def test_text_is_str_and_binary_is_bytes(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, "Grüße 👋")
            peer.send(Opcode.BINARY, b"\xff\x00")
            peer.close(1000)

        ear = await served(talk)
        assert ear.of("message") == [("message", "Grüße 👋"), ("message", b"\xff\x00")]

    async def test_fragments_become_one_message_and_control_frames_may_come_between(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b"Gr\xc3", fin=False)
            peer.send(Opcode.PING, b"x")
            peer.send(Opcode.CONT, b"\xbc", fin=False)
            peer.send(Opcode.CONT, "ße".encode())
            peer.send(Opcode.BINARY, b"a", fin=False)
            peer.send(Opcode.CONT, b"b")
            peer.send(Opcode.TEXT, "whole")
            peer.close(1000)

        ear = await served(talk)
        assert ear.of("message") == [("message", "Grüße"), ("message", b"ab"), ("message", "whole")]

    async def test_bytes_that_are_no_text_do_no_harm(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b"\xff\xfe{")
            peer.close(1000)

        ear = await served(talk)
        assert [type(told[1]) for told in ear.of("message")] in ([str], [])

    async def test_messages_of_one_read_are_told_before_it_is_over(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await peer.receive()
            peer.send(Opcode.TEXT, "one")
            peer.send(Opcode.TEXT, "two")

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            ear.told.clear()
            connection.send("go")
            await ear.until("read")
            assert ear.told == [("message", "one"), ("message", "two"), ("read",)]
            await bury(connection)

    async def test_byte_by_byte_is_as_good(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            whole = b"\x81\x05Hello" + b"\x88\x02\x03\xe8"
            for number in range(len(whole)):
                peer.writer.write(whole[number : number + 1])
                await peer.writer.drain()
                await asyncio.sleep(0)

        ear = await served(talk)
        assert ear.of("message") == [("message", "Hello")]
        assert ear.of("lost") == [("lost", "closed with 1000", 1000)]

    async def test_a_huge_message_ends_the_connection_and_not_the_memory(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b" " * (2**20 + 1))

        ear = await served(talk)
        assert ear.of("message") == []
        assert ear.of("lost")[0][2] == 1009

    async def test_so_does_one_of_endless_fragments(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, b" ", fin=False)
            for _ in range(40):
                peer.send(Opcode.CONT, b" " * 2**15, fin=False)

        ear = await served(talk)
        assert ear.of("lost")[0][2] == 1009

    async def test_what_is_sent_arrives_in_order_and_kind(self) -> None:
        received: list[tuple[Opcode, bytes]] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            received.extend([await peer.receive() for _ in range(3)])
            peer.send(Opcode.PONG, b"")

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            connection.send(b"too early: nobody is there yet")
            await ear.until("open")
            connection.send(b"\x01\x02")
            connection.send('{"type":"close"}')
            connection.ping()
            await ear.until("pong")
            assert received == [
                (Opcode.BINARY, b"\x01\x02"),
                (Opcode.TEXT, b'{"type":"close"}'),
                (Opcode.PING, b""),
            ]
            await bury(connection)

    async def test_messages_of_any_length_are_read_by_another_websocket_library(self) -> None:
        sizes = (1, 125, 126, 640, 65_535, 65_536, 200_000)
        messages: list[str | bytes] = [random.Random(size).randbytes(size) for size in sizes]
        messages += ["ü" * 63, "e" * 70_000]
        received: list[str | bytes] = []

        async def read(connection: ServerConnection) -> None:
            received.extend([await connection.recv() for _ in messages])

        async with serve(read, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            ear = Ear()
            connection = Connection(f"ws://127.0.0.1:{port}", {}, ear)
            await connection.open(None)
            await ear.until("open")
            for message in messages:
                connection.send(message)
            assert (await ear.until("lost"))[2] == 1000
            assert received == messages
            await bury(connection)

    async def test_no_two_messages_are_masked_alike(self) -> None:
        masked: list[bytes] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            masked.extend([await peer.reader.readexactly(2 + 4 + 8) for _ in range(10)])
            peer.close(1000)

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            for _ in range(10):
                connection.send(bytes(8))
            await ear.until("lost")
            await bury(connection)
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


class TestTheEnd:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013])
    async def test_a_close_frame_tells_code_and_reason(self, code: int) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.close(code, "because")

        assert (await served(talk)).of("lost") == [("lost", f"closed with {code} because", code)]

    async def test_a_close_frame_without_a_code(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.CLOSE, b"")

        assert (await served(talk)).of("lost")[0][2] == 1005

    @pytest.mark.parametrize("rst", [False, True])
    async def test_an_end_without_a_close_frame(self, rst: bool) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await peer.writer.drain()
            if rst:
                peer.writer.transport.abort()
            else:
                peer.writer.write_eof()

        assert (await served(talk)).of("lost")[0][2] == 1006

    async def test_a_frame_that_breaks_the_protocol_is_an_end(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.write(b"\xf3\x00")

        assert (await served(talk)).of("lost")[0][2] == 1002

    async def test_it_is_told_once_and_nothing_after_it(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.close(1011)
            peer.send(Opcode.TEXT, "too late")
            await peer.writer.drain()
            peer.writer.transport.abort()

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            await ear.until("lost")
            async with asyncio.timeout(30):
                await connection.wait_closed()
            assert ear.told[-1][0] == "lost"
            assert ear.of("message") == []
            assert len(ear.of("lost")) == 1

    async def test_after_abort_nothing_is_told(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await peer.receive()
            peer.send(Opcode.TEXT, "answer")

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            connection.send("question")
            ear.told.clear()
            await bury(connection)
            connection.send("more")
            connection.ping()
            connection.abort()
            assert ear.told == []

    async def test_no_socket_is_left(self) -> None:
        """An unclosed one would be a ResourceWarning, which is an error here."""

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.close(1000)

        for _ in range(3):
            await served(talk)
        gc.collect()


class TestBackpressure:
    async def test_a_server_that_does_not_read_blocks_and_reading_frees(self) -> None:
        go_on = asyncio.Event()

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await go_on.wait()
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            while await peer.reader.read(2**20):
                pass

        async with raw_server(talk) as server:
            connection, ear = await dial(server)
            await ear.until("open")
            for _ in range(2000):
                if ear.of("blocked"):
                    break
                connection.send(bytes(2**14))
            assert ear.of("blocked") == [("blocked", True)]
            go_on.set()
            async with asyncio.timeout(30):
                while len(ear.of("blocked")) < 2:
                    await asyncio.sleep(0.01)
            assert ear.of("blocked")[1] == ("blocked", False)
            await bury(connection)


async def test_the_debug_log_never_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        peer.close(1000)

    await served(talk)
    assert SECRET not in caplog.text
