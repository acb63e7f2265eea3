"""The connector: one connection at a time, each result reported once, and no socket left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cartesia_ink_plugins.core.credentials import Credentials
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Unreachable
from cartesia_ink_plugins.core.net import obstacles
from cartesia_ink_plugins.core.net.connector import Connector, running_loop
from cartesia_ink_plugins.core.options import TurnsOptions
from cartesia_ink_plugins.server.frames import Opcode
from tests.core.net.recorder import SECRET, Recorder
from tests.core.sockets import Peer, raw_server

KEY = Credentials(api_key=SECRET)


@pytest.fixture(autouse=True)
async def _leaves_nothing() -> AsyncIterator[None]:
    """No test leaves a task or a socket: that would be a ResourceWarning, which is an error."""
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()


def connector(credentials: Credentials = KEY) -> tuple[Connector, Recorder]:
    recorder = Recorder()
    return Connector(credentials, None, recorder.callbacks), recorder


def options(url: str, **values: object) -> TurnsOptions:
    return replace(TurnsOptions(base_url=url), **values)  # type: ignore[arg-type]


async def closed(made: Connector) -> None:
    made.drop()
    async with asyncio.timeout(30):
        await made.wait_closed()


async def test_a_connection_is_reported_and_is_the_present_one() -> None:
    async with raw_server(Peer.upgrade) as server:
        made, recorder = connector()
        assert made.connection is None
        made.connect(options(server.url, extra_headers={"X-Tenant": "a"}))
        await recorder.until("open")
        assert made.connection is not None
        request = server.peers[0].request
        assert request.startswith("GET /stt/turns/websocket?model=ink-2&")
        assert f"X-API-Key: {SECRET}\r\n" in request
        assert "Cartesia-Version: " in request
        assert "X-Tenant: a\r\n" in request
        await closed(made)
        assert made.connection is None
        assert recorder.of("lost") == []


async def test_messages_and_pings_go_over_the_present_connection() -> None:
    received: list[tuple[Opcode, bytes]] = []

    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        received.extend([await peer.receive() for _ in range(3)])
        peer.send(Opcode.PONG, received[-1][1])

    async with raw_server(talk) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        await recorder.until("open")
        assert made.connection is not None
        made.connection.send(b"audio")
        made.connection.send("text")
        made.connection.ping(1)
        made.connection.flush()
        await recorder.until("pong")
        await closed(made)
    assert received[:2] == [(Opcode.BINARY, b"audio"), (Opcode.TEXT, b"text")]
    assert received[2][0] is Opcode.PING


async def test_without_a_connection_there_is_nothing_to_drop() -> None:
    made, recorder = connector()
    made.drop()
    await made.wait_closed()
    assert recorder.reports == []


async def test_a_rejection_is_reported_with_its_headers_and_body() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.answer("429 Too Many Requests", b"slow down", "Retry-After: 3\r\n")

    async with raw_server(talk) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        assert await recorder.until("reject") == ("reject", 429, "3", b"slow down")
        assert made.connection is None
        await closed(made)
        assert [report[0] for report in recorder.reports] == ["reject"]


async def test_a_loss_is_reported_once_and_there_is_no_connection_any_more() -> None:
    async def talk(peer: Peer) -> None:
        await peer.upgrade()
        peer.close(1011)
        peer.writer.close()

    async with raw_server(talk) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        await recorder.until("lost")
        assert made.connection is None
        await closed(made)
        assert [report[2] for report in recorder.of("lost")] == [1011]


async def test_nobody_listens() -> None:
    async with raw_server(Peer.upgrade) as server:
        url = server.url
    made, recorder = connector()
    made.connect(options(url))
    assert await recorder.until("lost") == ("lost", "cannot connect: Connection refused", None)
    await closed(made)


async def test_a_provider_that_raises_fails_the_attempt_and_its_text_is_not_quoted() -> None:
    async def provider() -> str:
        raise RuntimeError(SECRET)

    made, recorder = connector(Credentials(token_provider=provider))
    made.connect(options("ws://127.0.0.1:9"))
    assert await recorder.until("lost") == ("lost", "cannot connect: RuntimeError", None)
    await closed(made)


async def test_each_attempt_asks_for_a_token_of_its_own() -> None:
    tokens = iter(["first", "second"])

    async def provider() -> str:
        return next(tokens)

    async with raw_server(Peer.upgrade) as server:
        made, recorder = connector(Credentials(token_provider=provider))
        for number in (1, 2):
            made.connect(options(server.url))
            await recorder.until("open", number)
            made.drop()
        await closed(made)
        for peer, token in zip(server.peers, ("first", "second"), strict=True):
            assert f"access_token={token} " in peer.request
            assert "X-API-Key" not in peer.request
        assert made.redact("the token second is bad") == "the token *** is bad"


@pytest.mark.parametrize("is_asked", [True, False])
async def test_what_waiting_does_not_mend_is_told_once_before_the_report_of_its_attempt(
    is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obstacles, "TELL_AFTER", 0.0)

    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.answer("302 Found", headers=f"Location: https://{SECRET}.example/\r\n")

    async with raw_server(talk) as server:
        recorder, told = Recorder(), list[str]()

        def tell(event: Unreachable) -> None:
            assert len(recorder.reports) == len(told)
            told.append(event.reason)

        made = Connector(KEY, None, recorder.callbacks, tell if is_asked else None)
        for number in (1, 2):
            made.connect(options(server.url))
            await recorder.until("reject", number)
        await closed(made)
    reason = "HTTP 302 redirects to ***.example, which is not followed: it would get the key"
    assert told == ([reason] if is_asked else [])


async def test_once_a_connection_was_opened_it_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(obstacles, "TELL_AFTER", 0.0)

    async def talk(peer: Peer) -> None:
        if len(server.peers) == 2:
            await peer.upgrade()
        else:
            await peer.read_request()
            peer.answer("302 Found")

    async with raw_server(talk) as server:
        recorder, told = Recorder(), list[str]()
        made = Connector(KEY, None, recorder.callbacks, lambda event: told.append(event.reason))
        for kind, number in (("reject", 1), ("open", 1), ("reject", 2)):
            made.connect(options(server.url))
            await recorder.until(kind, number)
            made.drop()
        await closed(made)
    assert len(told) == 2


async def test_a_drop_cuts_the_attempt_that_is_not_answered() -> None:
    ended = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.read_request()
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()
        ended.set()

    async with raw_server(talk) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        async with asyncio.timeout(30):
            await server.requested()
            made.drop()
            await ended.wait()
        await closed(made)
        assert recorder.reports == []


async def test_nothing_is_reported_of_an_attempt_that_was_dropped() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_request()  # and never answers

    async with raw_server(talk) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        async with asyncio.timeout(30):
            await server.requested()
        await closed(made)
        assert recorder.reports == []


async def test_a_drop_before_the_attempt_began_cancels_it() -> None:
    async with raw_server(Peer.upgrade) as server:
        made, recorder = connector()
        made.connect(options(server.url))
        await closed(made)
        await asyncio.sleep(0.05)  # a connection that was made all the same would be accepted
        assert recorder.reports == []
        assert server.peers == []


def test_the_keys_in_text_of_a_server_are_replaced() -> None:
    made, _ = connector()
    assert made.redact(f"the key {SECRET} is bad") == "the key *** is bad"


def test_without_an_event_loop_the_error_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="call_soon_threadsafe"):
        running_loop()
