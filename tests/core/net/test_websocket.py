"""One WebSocket connection on real sockets: its opening, its end, and a socket that is full."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl

import pytest

from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.core.net.websocket import Connection, connect_error
from cartesia_ink_plugins.server.frames import Opcode
from tests.core.net.recorder import SECRET, Recorder, abort, connect, served
from tests.core.sockets import Peer, frame, raw_server


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

    async def test_an_answer_may_come_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def talk(peer: Peer) -> None:
            answer = bytearray()
            with monkeypatch.context() as patch:
                patch.setattr(peer.writer, "write", answer.extend)
                await peer.upgrade()
            for piece in (answer[:20], answer[20:]):
                peer.writer.write(bytes(piece))
                for _ in range(5):
                    await asyncio.sleep(0)  # the client reads it

        reports = (await served(talk, until="open")).reports
        assert [report for report in reports if report != ("read",)] == [("open", None)]

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


class TestManyAddresses:
    @pytest.mark.parametrize(
        ("host", "has_many"),
        [("api.cartesia.invalid", True), ("127.0.0.1", False), ("[::1]", False)],
    )
    async def test_only_a_name_may_have_several_which_are_tried_in_turn(
        self, host: str, has_many: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[str, object] = {}

        async def create_connection(*_: object, **arguments: object) -> None:
            asked.update(arguments)

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        connection = Connection(f"ws://{host}:3128/", {}, Recorder().callbacks)
        await connection.open(None)
        assert asked.get("happy_eyeballs_delay") == (0.25 if has_many else None)
        assert asked["port"] == 3128
        connection.abort()


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
            connection.flush()
            recorder.reports.clear()
            await abort(connection)
            connection.send("more")
            connection.ping(7)
            connection.flush()
            connection.abort()
            assert recorder.reports == []

    async def test_an_attempt_that_was_aborted_sends_no_request(self) -> None:
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def talk(peer: Peer) -> None:
            try:
                received.set_result(await peer.reader.read(1))
            except ConnectionResetError:
                received.set_result(b"")

        async with raw_server(talk) as server:
            connection = Connection(server.url, {"X-API-Key": SECRET}, Recorder().callbacks)
            connection.abort()
            await connection.open(None)  # its socket connects all the same
            async with asyncio.timeout(30):
                assert await received == b""
            connection.abort()

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
                connection.flush()
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
