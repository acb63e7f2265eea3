"""The server on a real port."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cartesia_ink_plugins.core.events import TurnEnd, TurnStart
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.rules import Rules
from cartesia_ink_plugins.server.script import Script
from tests.server.listening import PCM16

KEY = {"X-API-Key": "key-123"}
NEEDED = {"model": "ink-2", "encoding": "pcm_s16le", "sample_rate": "16000"}
HELLO = Script("Hello there.")


def address(server: InkServer, **query: str) -> str:
    return f"{server.websocket_url}?{urlencode({**NEEDED, **query})}"


def dial(server: InkServer, headers: Mapping[str, str] = KEY, **query: str) -> connect:
    return connect(address(server, **query), additional_headers=dict(headers), ping_interval=None)


def upgrade(server: InkServer) -> bytes:
    """The request for an upgrade, as it is written."""
    path = address(server).partition(str(server.port))[2]
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


async def everything(websocket: ClientConnection) -> list[dict[str, Any]]:
    """All messages until the connection is closed."""
    messages = []
    try:
        async with asyncio.timeout(30):
            while True:
                messages.append(json.loads(await websocket.recv()))
    except ConnectionClosed:
        return messages


async def test_a_conversation() -> None:
    script = Script("Hello there.", "I'd like a table ... for two people.")
    async with InkServer(script) as server, dial(server) as websocket:
        pcm = script.audio()
        for start in range(0, len(pcm), 3200):
            await websocket.send(pcm[start : start + 3200])
        await websocket.send('{"type":"close"}')
        messages = await everything(websocket)
        assert websocket.protocol.close_code == 1000
        ends = [m["transcript"] for m in messages if m["type"] == "turn.end"]
        assert ends == script.transcripts
        assert messages[0]["type"] == "connected"
        assert {m["request_id"] for m in messages} == {messages[0]["request_id"]}
        assert websocket.response is not None
        assert websocket.response.headers["X-Request-Id"] == messages[0]["request_id"]
    (record,) = server.connections
    assert record.transcripts == script.transcripts
    assert record.audio_seconds == pytest.approx(script.seconds, abs=0.001)
    assert record.close_code == 1000
    assert record.received == ['{"type":"close"}']
    assert record.client_error is None


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"X-API-Key": "key-123"}, {}),
        ({"Authorization": "Bearer key-123"}, {}),
        ({"Authorization": "bearer key-123"}, {}),
        ({}, {"access_token": "key-123"}),
    ],
)
async def test_the_three_ways_to_say_who_calls(
    headers: dict[str, str], query: dict[str, str]
) -> None:
    async with (
        InkServer(HELLO, api_keys=["key-123"]) as server,
        dial(server, headers, **query) as websocket,
    ):
        assert json.loads(await websocket.recv())["type"] == "connected"
        assert "key-123" not in repr(server.connections)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({"X-API-Key": "other"}, {}),
        ({"Authorization": "Bearer other"}, {}),
        ({"Authorization": "Basic key-123"}, {}),
        ({}, {"access_token": "other"}),
    ],
)
async def test_401_without_credentials(headers: dict[str, str], query: dict[str, str]) -> None:
    async with InkServer(HELLO, api_keys=["key-123"]) as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server, headers, **query)
        response = refused.value.response
        body = json.loads(response.body)
        assert response.status_code == 401
        assert (body["type"], body["status_code"]) == ("error", 401)
        assert body["request_id"] == response.headers["X-Request-Id"]
        assert server.connections[0].status == 401


async def test_any_key_will_do_by_default_but_none_will_not() -> None:
    async with InkServer(HELLO) as server:
        async with dial(server, {"X-API-Key": "whatever"}) as websocket:
            await websocket.recv()
        with pytest.raises(InvalidStatus, match="401"):
            await dial(server, {})


async def test_429_when_there_are_too_many_streams() -> None:
    async with InkServer(HELLO, rules=Rules(max_streams=1)) as server:
        async with dial(server) as websocket:
            await websocket.recv()
            with pytest.raises(InvalidStatus, match="429") as refused:
                await dial(server)
            assert json.loads(refused.value.response.body)["error_code"] == "concurrency_limited"
        await server.wait_until_idle()
        async with dial(server) as websocket:
            await websocket.recv()


async def test_invalid_settings_after_the_upgrade_or_at_it() -> None:
    async with InkServer(HELLO) as server, dial(server, model="nova") as websocket:
        (error,) = await everything(websocket)
        assert (error["type"], error["status_code"]) == ("error", 400)
        assert websocket.protocol.close_code == 1008
    async with InkServer(HELLO, rules=Rules(reject_settings="http")) as server:
        with pytest.raises(InvalidStatus, match="400"):
            await dial(server, model="nova")


async def test_the_version_in_the_query_wins_over_the_header() -> None:
    headers = {**KEY, "Cartesia-Version": "2026-03-01"}
    async with (
        InkServer(HELLO) as server,
        dial(server, headers, model="nova", cartesia_version="2025-04-16") as websocket,
    ):
        (error,) = await everything(websocket)
        assert error["code"] == 400
        assert "status_code" not in error


@pytest.mark.parametrize("written", ["table+for+two", "table%20for%20two"])
async def test_both_ways_to_write_a_space_in_a_keyterm(written: str) -> None:
    async with InkServer(HELLO) as server:
        url = f"{address(server)}&keyterm={written}&keyterm=x"
        async with connect(url, additional_headers=KEY) as websocket:
            await websocket.recv()
        assert ("keyterm", "table for two") in server.connections[0].query
        assert ("keyterm", "x") in server.connections[0].query


async def test_audio_may_come_before_connected_is_read() -> None:
    async with InkServer(HELLO) as server, dial(server) as websocket:
        await websocket.send(HELLO.audio())
        await websocket.send('{"type":"close"}')
        kinds = [m["type"] for m in await everything(websocket)]
        assert kinds[0] == "connected"
        assert kinds[-1] == "turn.end"


async def test_idle_is_closed_with_1001_and_pings_do_not_help() -> None:
    async with InkServer(HELLO, idle_timeout=0.3) as server, dial(server) as websocket:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(30):
                while True:
                    await (await websocket.ping())
                    await asyncio.sleep(0.02)
        assert (websocket.protocol.close_code, websocket.protocol.close_reason) == (
            1001,
            "Idle timeout",
        )
    assert server.connections[0].pings > 0


async def test_audio_keeps_a_connection() -> None:
    async with InkServer(HELLO, idle_timeout=1.0) as server, dial(server) as websocket:
        await asyncio.sleep(0.1)
        sent_at = time.monotonic()
        await websocket.send(PCM16.silence(0.05))
        await everything(websocket)
        assert websocket.protocol.close_code == 1001
        assert time.monotonic() - sent_at >= 1.0


async def test_a_cue_is_one_segment() -> None:
    """Several messages can be made to arrive in one read, which is how frameworks reorder them."""
    cue = Cue(0.1, TurnStart(), TurnEnd("a"), TurnStart(), TurnEnd(" b"), Close(1011, "oops"))
    async with InkServer(Script(cues=[cue])) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade(server))
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        # One binary frame of 3200 zero bytes, masked with zeros.
        writer.write(struct.pack("!BBHI", 0x82, 0x80 | 126, 3200, 0) + bytes(3200))
        segment = await reader.read(1 << 16)
        assert segment.count(b'"turn.start"') == segment.count(b'"turn.end"') == 2
        assert segment.endswith(struct.pack("!H", 1011) + b"oops")
        writer.close()


async def test_all_streams_can_be_closed_at_once() -> None:
    async with InkServer(HELLO) as server:
        sockets = [await dial(server) for _ in range(5)]
        for websocket in sockets:
            await websocket.recv()
        server.close_all(1012)
        for websocket in sockets:
            await everything(websocket)
        assert [websocket.protocol.close_code for websocket in sockets] == [1012] * 5


async def test_a_client_that_closes_its_socket_is_answered() -> None:
    async with InkServer(HELLO) as server:
        async with dial(server) as websocket:
            await websocket.recv()
            await websocket.close(1001)
        await server.wait_until_idle()
        assert server.connections[0].close_code == 1001


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    async with InkServer(HELLO) as server:
        websocket = await dial(server)
        await websocket.recv()
        websocket.transport.abort()
        await server.wait_until_idle()
        assert server.connections[0].close_code == 1006


@pytest.mark.parametrize("linger", [None, 0], ids=["FIN", "RST"])
async def test_a_client_that_leaves_before_the_answer_is_no_error(
    linger: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with InkServer(HELLO) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            if linger is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
            client.sendall(upgrade(server))
        # Nothing has run in between: the server reads the request and the end at once.
        async with asyncio.timeout(30):
            record = await server.wait_for_connection()
        assert (record.status, record.close_code) == (101, 1006)
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == []


async def test_other_paths_and_plain_requests_are_told_so() -> None:
    async with InkServer(HELLO) as server, aiohttp.ClientSession(headers=KEY) as session:
        async with session.get(f"{server.url}/stt/turns/websockets") as response:
            assert response.status == 404
            assert (await response.json())["status_code"] == 404
        async with session.get(f"{server.url}/stt/turns/websocket", params=NEEDED) as response:
            assert response.status == 426


async def test_stopping_closes_connections_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    server = InkServer(HELLO)
    await server.start()
    websocket = await dial(server)
    await websocket.recv()
    await server.stop()
    await server.stop()
    await everything(websocket)
    assert websocket.protocol.close_code == 1001
    await websocket.wait_closed()
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", server.port)
    gc.collect()


@pytest.mark.parametrize("faults", [(), ("reset@turn.update:9",)], ids=["direct", "proxy"])
@pytest.mark.parametrize("turns", range(1, 4))
async def test_a_connection_that_comes_as_the_server_stops_is_closed(
    turns: int, faults: tuple[str, ...]
) -> None:
    server = InkServer(HELLO, faults=faults)
    await server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        for _ in range(turns):  # of the loop, in which asyncio accepts it step by step
            await asyncio.sleep(0)
        await server.stop()
    gc.collect()  # what was left open is a ResourceWarning now


async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    async with InkServer(HELLO) as server:
        other = InkServer(HELLO, port=server.port)
        with pytest.raises(OSError):
            await other.start()


async def test_a_server_can_be_started_again_on_its_port() -> None:
    server = InkServer(HELLO)
    for _ in range(2):
        async with server, dial(server) as websocket:
            assert json.loads(await websocket.recv())["type"] == "connected"


async def test_only_so_many_connections_are_remembered_and_those_that_are_open() -> None:
    async with InkServer(HELLO, keep=2) as server, dial(server) as first:
        await first.recv()
        for number in range(1, 5):
            async with dial(server):
                await server.wait_for_connection(number)
        await server.wait_for_connection(4)
        assert [record.number for record in server.connections] == [0, 4]


@pytest.mark.parametrize(
    "field",
    [
        b'name="model"\r\nContent-Type: text/plain; charset=klingon\r\n\r\nink-whisper',
        b'name="model"\r\n\r\n\xff\xfe',
        b'name="file"',
    ],
)
async def test_a_form_that_cannot_be_read_is_an_error_400(field: bytes) -> None:
    body = b"--x\r\nContent-Disposition: form-data; " + field + b"\r\n--x--\r\n"
    headers = KEY | {"Content-Type": "multipart/form-data; boundary=x"}
    async with (
        InkServer(HELLO) as server,
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/stt", data=body) as response,
    ):
        assert (response.status, (await response.json())["type"]) == (400, "error")
