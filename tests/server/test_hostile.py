"""What strangers send to the local server and to the fault proxy: survived, bounded, and told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import struct
import wave
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from cartesia_ink_plugins.server import batch_endpoint, driver, proxied_connection, record
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.faults import At, Fault, Reset
from cartesia_ink_plugins.server.frames import Opcode
from cartesia_ink_plugins.server.manual_endpoint import ManualConnection
from cartesia_ink_plugins.server.proxy import FaultProxy
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from cartesia_ink_plugins.server.validate import RequestRejectedError
from tests.core.sockets import Peer, raw_server
from tests.server.calling import KEY, address, call, hear_all, kinds, say

SCRIPT = Script("Hello there.")
EVIL = "https://evil.example"
KEY_IN_URL = "sk_car_0123456789abcdef"


async def ask(server: InkServer, path: str, origin: str | None) -> int:
    """The status of a POST with a key."""
    headers = KEY | ({"Origin": origin} if origin else {})
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}{path}", headers=headers, data=b"{}") as answer,
    ):
        return answer.status


class TestOrigin:
    @pytest.mark.parametrize(
        "origin",
        [
            EVIL,
            "http://evil.example:8765",
            "null",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://[",
            "",
        ],
    )
    async def test_a_page_from_elsewhere_is_rejected(self, origin: str) -> None:
        async with InkServer(SCRIPT) as server:
            with pytest.raises(InvalidStatus) as rejected:
                await call(server.url, origin=origin)
            assert rejected.value.response.status_code == 403
            for path in ("/access-token", "/stt"):
                assert await ask(server, path, origin or "null") == 403
            assert {record.status for record in server.connections} == {403}

    @pytest.mark.parametrize(
        "origin", ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:1", None]
    )
    async def test_a_page_of_this_machine_and_a_program_are_not(self, origin: str | None) -> None:
        async with InkServer(SCRIPT) as server, call(server.url, origin=origin) as websocket:
            assert json.loads(await websocket.recv())["type"] == "connected"

    @pytest.mark.parametrize("allowed", [EVIL, "*"])
    async def test_nor_is_one_that_is_allowed(self, allowed: str) -> None:
        async with (
            InkServer(SCRIPT, allow_origins=[allowed]) as server,
            call(server.url, origin=EVIL) as websocket,
        ):
            assert json.loads(await websocket.recv())["type"] == "connected"

    async def test_through_the_proxy_it_is_the_same(self) -> None:
        async with InkServer(SCRIPT, faults=[Fault(Reset(), At("turn.end"))]) as server:
            with pytest.raises(InvalidStatus):
                await call(server.url, origin=EVIL)


class TestSecrets:
    @pytest.mark.parametrize(
        "name", ["api_key", "API-Key", "apikey", "token", "client_secret", "key", "whatever"]
    )
    async def test_a_key_in_the_url_is_not_kept(self, name: str) -> None:
        async with InkServer(SCRIPT) as server:
            async with call(server.url, **{name: KEY_IN_URL}) as websocket:
                await websocket.recv()
            kept = server.connections[0]
        assert KEY_IN_URL not in repr(kept)
        assert ("keyterm", "Hello") in record.masked([("keyterm", "Hello")])

    @pytest.mark.parametrize("name", ["api_key", "token", "password", "access-key"])
    def test_nor_is_one_that_does_not_look_like_one(self, name: str) -> None:
        assert record.masked([(name, "open sesame")]) == [(name, record.MASK)]

    async def test_nor_is_one_in_the_path(self) -> None:
        async with InkServer(SCRIPT) as server:
            assert await ask(server, f"/v1/{KEY_IN_URL}/stt", None) == 404
            assert KEY_IN_URL not in repr(server.connections)


class TestBounds:
    async def test_a_text_that_is_too_long_closes_the_connection_and_is_not_kept(self) -> None:
        async with InkServer(SCRIPT) as server, call(server.url) as websocket:
            for _ in range(6):
                await say_text(websocket, "x" * 1_000_000)
            await hear_all(websocket)
            assert websocket.protocol.close_code == 1009
            await server.wait_until_idle()
            assert server.connections[0].received == []

    async def test_a_message_that_is_too_long_closes_it_too(self) -> None:
        async with InkServer(SCRIPT) as server, call(server.url) as websocket:
            await say(websocket, bytes(9 * 2**20), chunk=9 * 2**20)
            await hear_all(websocket)
            assert websocket.protocol.close_code in (1006, 1009)
            await server.wait_until_idle()

    def test_of_many_messages_the_newest_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(record, "MAX_KEPT", 3)
        kept = record.ConnectionRecord(number=0, request_id="r", path="/", query=[], headers={})
        for number in range(5):
            kept.add_received(f"in {number}")
            kept.add_sent([f"out {number}"])
        assert kept.received == ["in 2", "in 3", "in 4"]
        assert kept.sent == ["out 2", "out 3", "out 4"]

    async def test_behind_a_command_the_socket_is_not_read_for_ever(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the server holds while it obeys is bounded; all of it is heard in the end."""
        held: list[int] = []
        obeying, go_on = asyncio.Event(), asyncio.Event()
        flush = ManualConnection.flush

        async def slow(connection: ManualConnection) -> None:
            obeying.set()
            await go_on.wait()
            await flush(connection)

        async def step(one: driver.ConnectionDriver) -> bool:
            held.append(one._queued_bytes)
            return await proceed(one)

        proceed = driver.ConnectionDriver._step
        monkeypatch.setattr(driver, "_MAX_QUEUED", 32_000)
        monkeypatch.setattr(ManualConnection, "flush", slow)
        monkeypatch.setattr(driver.ConnectionDriver, "_step", step)
        url = address("").replace("/turns", "")
        rules = Rules(overload_seconds=None)
        async with InkServer(SCRIPT, rules=rules) as server:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{server.url}{url}", headers=KEY) as websocket,
                asyncio.timeout(30),
            ):
                await websocket.send_str("finalize")
                await obeying.wait()
                for _ in range(100):
                    await websocket.send_bytes(bytes(3_200))
                await websocket.send_str("close")
                while len(held) < 11:
                    await asyncio.sleep(0.01)
                go_on.set()
                while (await websocket.receive()).type != aiohttp.WSMsgType.CLOSE:
                    pass
            await server.wait_until_idle()
            assert server.connections[0].audio_bytes == 320_000
        assert max(held) <= 32_000 + 3_200


async def say_text(websocket: Any, text: str) -> None:
    with contextlib.suppress(ConnectionClosed):
        await websocket.send(text)


class TestFiles:
    @pytest.mark.needs("soundfile>=0.13")
    def test_a_file_that_decodes_to_more_than_it_should_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, np.zeros(1_000_000, np.float32), 16_000, format="FLAC")
        assert len(file.getvalue()) < 20_000
        format, pcm = batch_endpoint.read_audio(file.getvalue(), {})
        assert (format.sample_rate, len(pcm)) == (16_000, 2_000_000)
        monkeypatch.setattr(batch_endpoint, "_MAX_PCM", 1_999_999)
        with pytest.raises(RequestRejectedError) as refused:
            batch_endpoint.read_audio(file.getvalue(), {})
        assert refused.value.answer.status == 413

    @pytest.mark.parametrize("rate", [1, 999, 384_001, 2_000_000_000])
    def test_so_is_one_with_an_absurd_rate(self, rate: int) -> None:
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, rate, 0, "NONE", "not compressed"))
            out.writeframes(bytes(100))
        with pytest.raises(RequestRejectedError):
            batch_endpoint.read_audio(file.getvalue(), {})

    def test_of_half_a_sample_nothing_is_heard(self) -> None:
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            out.writeframes(bytes(100))
        assert len(batch_endpoint.read_audio(file.getvalue()[:-1], {})[1]) == 98


class TestHalfOpenRequests:
    @pytest.mark.parametrize("begun", [b"", b"GET /stt/turns/websocket HT", b"\x16\x03\x01"])
    async def test_the_head_has_a_time(self, begun: bytes) -> None:
        async with InkServer(SCRIPT, rules=Rules(request_timeout=0.2)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(begun)
            async with asyncio.timeout(30):
                with pytest.raises((ConnectionError, EOFError)):
                    await reader.readexactly(1_000_000)
            writer.close()

    @pytest.mark.parametrize("path", ["/access-token", "/stt"])
    async def test_so_has_the_body(self, path: str) -> None:
        kind = "multipart/form-data; boundary=x" if path == "/stt" else "application/json"
        async with InkServer(SCRIPT, rules=Rules(request_timeout=1.0)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nContent-Type: {kind}\r\n"
            writer.write(f"{head}Content-Length: 100\r\n\r\n--x\r\n".encode())
            async with asyncio.timeout(30):
                assert b" 408 " in await reader.readline()
            writer.close()

    async def test_nothing_is_kept_of_a_file_that_was_too_slow(self) -> None:
        class Slow:
            content_length = None
            content_type = "multipart/form-data"

            async def multipart(self) -> None:
                await asyncio.Event().wait()

        async def attempt() -> weakref.ref[Slow]:
            request, none = Slow(), cast("Any", None)
            with pytest.raises(RequestRejectedError, match="in time"):
                await batch_endpoint.transcribe(
                    cast("web.Request", request), none, none, Rules(request_timeout=0.01)
                )
            return weakref.ref(request)

        kept = [await asyncio.create_task(attempt()) for _ in range(3)]
        gc.collect()
        assert [request() for request in kept] == [None, None, None]

    async def test_a_connection_that_is_used_lives_on(self) -> None:
        rules = Rules(request_timeout=1.0)
        async with InkServer(SCRIPT, rules=rules) as server, call(server.url) as websocket:
            await websocket.recv()
            await asyncio.sleep(1.1)
            await websocket.send('{"type":"close"}')
            await hear_all(websocket)
            assert websocket.protocol.close_code == 1000

    async def test_in_the_proxy_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proxied_connection, "_REQUEST_TIMEOUT", 0.2)
        async with InkServer(SCRIPT) as server, FaultProxy(server.url) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"GET / HT")
            async with asyncio.timeout(30):
                with pytest.raises((ConnectionError, EOFError)):
                    await reader.readexactly(1)
            writer.close()

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
    def test_the_time_is_a_time(self, seconds: float) -> None:
        with pytest.raises(ValueError, match="request_timeout"):
            Rules(request_timeout=seconds)


Talk = Callable[[Peer], Awaitable[None]]


class TestProxy:
    async def test_nested_json_does_not_silence_it(self) -> None:
        deep = "[" * 100_000

        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.send(Opcode.TEXT, deep)
            peer.send(Opcode.TEXT, '{"type":"turn.start"}')
            opcode, data = await peer.receive()
            peer.send(opcode, data[::-1])

        async with (
            raw_server(talk) as server,
            FaultProxy(server.url) as proxy,
            call(proxy.url) as websocket,
        ):
            assert await websocket.recv() == deep
            assert kinds([json.loads(await websocket.recv())]) == ["turn.start"]
            await websocket.send(deep)
            assert await websocket.recv() == deep
        assert proxy.peer_errors == []

    async def test_a_frame_that_claims_a_terabyte_closes_and_is_told(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.upgrade()
            peer.writer.write(b"\x82\x7f" + struct.pack("!Q", 2**40))

        async with raw_server(talk) as server, FaultProxy(server.url) as proxy:
            async with call(proxy.url) as websocket:
                await hear_all(websocket)
            assert proxy.peer_errors == [
                "connection 0: the server sent a frame of 1099511627776 bytes"
            ]

    async def test_so_does_one_of_the_client(self) -> None:
        async with InkServer(SCRIPT) as server, FaultProxy(server.url) as proxy:
            async with call(proxy.url) as websocket:
                await websocket.recv()
                websocket.transport.write(b"\x82\xff" + struct.pack("!Q", 2**40))
                await hear_all(websocket)
            await server.wait_until_idle()
            assert proxy.peer_errors == [
                "connection 0: the client sent a frame of 1099511627776 bytes"
            ]

    @pytest.mark.parametrize("answer", [b"\r\n\r\n", b"HTTP\r\n\r\n", b"x" * 100_000])
    async def test_an_answer_that_is_none_ends_the_connection(self, answer: bytes) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(answer)
            peer.writer.close()

        async with raw_server(talk) as server, FaultProxy(server.url) as proxy:
            # ValueError: websockets 13.
            with pytest.raises((OSError, EOFError, ValueError, InvalidMessage)):
                async with asyncio.timeout(30):
                    await call(proxy.url)
