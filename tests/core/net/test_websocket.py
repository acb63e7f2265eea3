"""One WebSocket connection on real sockets, with servers that behave and others."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import pytest
from websockets.asyncio.server import ServerConnection, serve

from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.core.net.websocket import Callbacks, Connection, connect_error
from tests.core.sockets import Opcode, Peer, RawServer, frame, raw_server

SECRET = "sk_car_0123456789abcdef"


class Recorder:
    """Writes down what a connection reports, in order."""

    def __init__(self) -> None:
        self.reports: list[tuple[object, ...]] = []
        self._changed = asyncio.Event()
        self.callbacks = Callbacks(
            on_open=partial(self._report, "open"),
            on_reject=self._rejected,
            on_message=partial(self._report, "message"),
            on_pong=partial(self._report, "pong"),
            on_read=partial(self._report, "read"),
            on_writable=partial(self._report, "writable"),
            on_lost=partial(self._report, "lost"),
        )

    async def until(self, kind: str, count: int = 1) -> tuple[object, ...]:
        """Wait for a number of reports of a kind; return the first."""
        async with asyncio.timeout(30):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[0]

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [report for report in self.reports if report[0] == kind]

    def _rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._report("reject", status, headers.get("retry-after"), body)

    def _report(self, *report: object) -> None:
        self.reports.append(report)
        self._changed.set()


async def connect(server: RawServer) -> tuple[Connection, Recorder]:
    recorder = Recorder()
    url = f"{server.url}/stt?model=ink-2"
    connection = Connection(url, {"X-API-Key": SECRET}, recorder.callbacks)
    await connection.open(None)
    return connection, recorder


async def abort(connection: Connection) -> None:
    connection.abort()
    async with asyncio.timeout(30):
        await connection.wait_closed()


async def served(talk: Callable[[Peer], Awaitable[None]], *, until: str = "lost") -> Recorder:
    """Connect to a server that talks like this; return what the connection reports."""
    async with raw_server(talk) as server:
        connection, recorder = await connect(server)
        await recorder.until(until)
        await abort(connection)
        return recorder


class TestUpgrade:
    async def test_the_request_has_the_key_in_a_header(self) -> None:
        async with raw_server(Peer.upgrade) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            request = server.peers[0].request
            assert request.startswith("GET /stt?model=ink-2 HTTP/1.1\r\n")
            assert f"X-API-Key: {SECRET}\r\n" in request
            await abort(connection)

    async def test_the_request_id_comes_from_the_answer(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade("X-Request-Id: r-17\r\nx-request-id: r-17\r\n")

        assert (await served(talk, until="open")).reports[0] == ("open", "r-17")

    @pytest.mark.skipif(
        not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs TCP_USER_TIMEOUT (Linux)"
    )
    async def test_the_kernel_gives_up_data_without_an_acknowledgement_for_five_seconds(
        self,
    ) -> None:
        async with raw_server(Peer.upgrade) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            await abort(connection)

    async def test_messages_right_behind_the_answer_are_not_lost(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade(behind=frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))

        recorder = await served(talk, until="read")
        assert recorder.reports == [
            ("open", None),
            ("message", "one"),
            ("message", "two"),
            ("read",),
        ]

    @pytest.mark.parametrize(
        ("status", "number"), [("401 Unauthorized", 401), ("503 Service Unavailable", 503)]
    )
    async def test_another_status_is_a_rejection_with_its_body(
        self, status: str, number: int
    ) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer(status, b'{"message":"no"}', "Retry-After: 7\r\n")

        recorder = await served(talk, until="reject")
        assert recorder.reports == [("reject", number, "7", b'{"message":"no"}')]

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
        ],
    )
    async def test_what_is_no_websocket_server_is_a_loss(self, answer: bytes) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(answer)

        recorder = await served(talk)
        assert len(recorder.reports) == 1
        assert str(recorder.reports[0][1]).startswith("not a WebSocket server: ")

    async def test_a_server_that_hangs_up_instead_is_a_loss(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.close()

        recorder = await served(talk)
        assert [report[0] for report in recorder.reports] == ["lost"]

    async def test_no_server_at_the_address(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            connection = Connection(f"ws://127.0.0.1:{port}/", {}, Recorder().callbacks)
            with pytest.raises(OSError):
                await connection.open(None)
            await abort(connection)


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
            peer.send(Opcode.CONT, b"\xbc", fin=False)
            peer.send(Opcode.CONT, "ße".encode())
            peer.send(Opcode.BINARY, b"a", fin=False)
            peer.send(Opcode.CONT, b"b")
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
                peer.send(Opcode.CONT, b" " * 2**15, fin=False)

        recorder = await served(talk)
        assert recorder.of("lost")[0][2] == 1009

    async def test_messages_are_sent_in_order_and_with_their_type(self) -> None:
        received: list[tuple[Opcode, bytes]] = []

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            received.extend([await peer.receive() for _ in range(3)])
            peer.send(Opcode.PONG, b"")

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            connection.send(b"too early: nobody is there yet")
            await recorder.until("open")
            connection.send(b"\x01\x02")
            connection.send('{"type":"close"}')
            connection.ping()
            await recorder.until("pong")
            assert received == [
                (Opcode.BINARY, b"\x01\x02"),
                (Opcode.TEXT, b'{"type":"close"}'),
                (Opcode.PING, b""),
            ]
            await abort(connection)

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


class TestTheEnd:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013])
    async def test_a_close_frame_has_a_code_and_a_reason(self, code: int) -> None:
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

    async def test_it_is_reported_once_and_nothing_after_it(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.close(1011)
            peer.send(Opcode.TEXT, "too late")
            await peer.writer.drain()
            peer.writer.transport.abort()

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            await recorder.until("lost")
            async with asyncio.timeout(30):
                await connection.wait_closed()
            assert recorder.reports[-1][0] == "lost"
            assert recorder.of("message") == []
            assert len(recorder.of("lost")) == 1

    async def test_after_abort_nothing_is_reported(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            await peer.receive()
            peer.send(Opcode.TEXT, "answer")

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            connection.send("question")
            recorder.reports.clear()
            await abort(connection)
            connection.send("more")
            connection.ping()
            connection.abort()
            assert recorder.reports == []

    async def test_no_socket_is_left(self) -> None:
        """An unclosed one would be a ResourceWarning, which is an error here."""

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.close(1000)

        for _ in range(3):
            await served(talk)
        gc.collect()


class TestBackpressure:
    async def test_a_server_that_does_not_read_blocks_until_it_reads_again(self) -> None:
        go_on = asyncio.Event()

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await go_on.wait()
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            while await peer.reader.read(2**20):
                pass

        async with raw_server(talk) as server:
            connection, recorder = await connect(server)
            await recorder.until("open")
            for _ in range(2000):
                if recorder.of("writable"):
                    break
                connection.send(bytes(2**14))
            assert recorder.of("writable") == [("writable", False)]
            go_on.set()
            await recorder.until("writable", 2)
            assert recorder.of("writable")[1] == ("writable", True)
            await abort(connection)


async def test_the_debug_log_never_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        peer.close(1000)

    await served(talk)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InkError("the proxy answered 407"), "the proxy answered 407"),
        (socket.gaierror(-2, f"no such host {SECRET}"), "the host name cannot be resolved"),
        (ConnectionRefusedError(111, f"Connect call failed {SECRET}"), os.strerror(111)),
        (OSError(f"Multiple exceptions: {SECRET}"), "OSError"),
        (ssl.SSLCertVerificationError(1, f"verify failed {SECRET}"), "SSLCertVerificationError"),
        (TimeoutError(SECRET), "TimeoutError"),
        (RuntimeError(SECRET), "RuntimeError"),
    ],
)
def test_the_reason_why_a_connection_could_not_be_opened_has_no_foreign_text(
    error: Exception, reason: str
) -> None:
    assert connect_error(error) == reason
