"""What cannot work is told once, with its cause and what to check; the session goes on trying."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cartesia_ink_plugins import (
    ConnectFailed,
    Credentials,
    InkManualClient,
    InkTurnsClient,
    ManualOptions,
    TurnEnd,
    TurnsOptions,
    Unreachable,
)
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import Connected, Event, ManualEvent
from cartesia_ink_plugins.core.net import obstacles
from cartesia_ink_plugins.core.net.obstacles import (
    Obstacle,
    ObstacleWatch,
    ProxyError,
    obstacle_of_answer,
    obstacle_of_error,
)
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.script import Script
from tests.core.sockets import Peer, raw_server

SECRET = "sk_car_0123456789abcdef"
KEY = Credentials(api_key=SECRET)
OBSTACLE = Obstacle("the host name cannot be resolved", "base_url")
# Signed by itself, of 127.0.0.1, and used for nothing else.
UNTRUSTED = Path(__file__).with_name("untrusted.pem")


def untrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = code, "of the library"
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "of the library")
    error.reason = reason
    return error


class TestCauses:
    @pytest.mark.parametrize(
        ("error", "check"),
        [
            (UsageError("HTTPS_PROXY: is not like 'http://proxy:3128'"), "HTTPS_PROXY"),
            (UsageError("token_provider: returned no token"), "token_provider"),
            (ProxyError("the proxy answered 407", 407), "password in HTTPS_PROXY"),
            (ProxyError("the proxy answered 400", 400), "lets this host through"),
            (ProxyError("the proxy answered 499", 499), "lets this host through"),
            (untrusted(18), "ssl_context"),
            (untrusted(10), "the clock"),
            (untrusted(9), "the clock"),
            (tls("WRONG_VERSION_NUMBER"), "scheme and port"),
            (socket.gaierror(-2, "Name or service not known"), "DNS"),
        ],
    )
    def test_that_waiting_does_not_mend(self, error: Exception, check: str) -> None:
        obstacle = obstacle_of_error(error)
        assert obstacle is not None
        assert check in obstacle.check
        assert obstacle.reason

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionRefusedError(),
            ConnectionResetError(),
            TimeoutError(),
            tls("UNEXPECTED_EOF_WHILE_READING"),
            ProxyError("the proxy hung up"),
            ProxyError("the proxy answered 500", 500),
            ProxyError("the proxy answered 399", 399),
            RuntimeError(SECRET),
        ],
    )
    def test_that_may_pass(self, error: Exception) -> None:
        assert obstacle_of_error(error) is None

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (200, "no WebSocket server"),
            (299, "no WebSocket server"),
            (300, "redirects to login.hotel.example, "),
            (302, "redirects to login.hotel.example, "),
            (399, "redirects to login.hotel.example, "),
            (407, "proxy wants a password"),
        ],
    )
    def test_answers_that_stay_the_same(self, status: int, words: str) -> None:
        headers = {"location": f"https://u:p@login.hotel.example/?access_token={SECRET}"}
        obstacle = obstacle_of_answer(status, headers)
        assert obstacle is not None
        assert words in obstacle.reason
        assert SECRET not in obstacle.reason

    @pytest.mark.parametrize("location", ["", "http://[", "/relative", "\x1b[2J", "x" * 10_000])
    def test_wherever_it_redirects_to_it_is_one_line(self, location: str) -> None:
        obstacle = obstacle_of_answer(301, {"location": location})
        assert obstacle is not None
        assert obstacle.reason.isprintable()
        assert len(obstacle.reason) < 400

    @pytest.mark.parametrize("status", [400, 401, 404, 408, 429, 500, 503])
    def test_answers_that_end_the_session_or_may_pass(self, status: int) -> None:
        assert obstacle_of_answer(status, {}) is None


class TestWatch:
    def test_tells_after_ten_seconds_of_nothing_else_and_once(self) -> None:
        watch = ObstacleWatch()
        told = [watch.failed(OBSTACLE, now / 2) for now in range(60)]
        assert [event for event in told if event] == [
            Unreachable("the host name cannot be resolved", "base_url", 10.0)
        ]

    def test_begins_anew_after_anything_else(self) -> None:
        watch = ObstacleWatch()
        assert watch.failed(OBSTACLE, 0.0) is None
        assert watch.failed(None, 9.0) is None
        assert watch.failed(OBSTACLE, 11.0) is None
        assert watch.failed(OBSTACLE, 20.9) is None
        assert watch.failed(OBSTACLE, 21.0) is not None

    def test_tells_again_after_a_connection(self) -> None:
        watch = ObstacleWatch()
        for start in (0.0, 100.0):
            assert watch.failed(OBSTACLE, start) is None
            assert watch.failed(OBSTACLE, start + 10.0) is not None
            assert watch.failed(None, start + 11.0) is None
            assert watch.failed(OBSTACLE, start + 12.0) is None
            assert watch.failed(OBSTACLE, start + 25.0) is None
            watch.opened()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell with the second attempt, and go through no proxy of this machine."""
    monkeypatch.setattr(obstacles, "TELL_AFTER", 0.01)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


Made = InkTurnsClient | InkManualClient


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[list[tuple[Made, list[Event | ManualEvent]]]]:
    """One of each, with its events."""
    events: list[Event] = []
    manual_events: list[ManualEvent] = []
    turns = InkTurnsClient(TurnsOptions(base_url=url), KEY, on_event=events.append)
    manual = InkManualClient(ManualOptions(base_url=url), KEY, on_event=manual_events.append)
    async with turns, manual:
        yield [(turns, events), (manual, manual_events)]  # type: ignore[list-item]


async def told(url: str, failures: int = 3) -> Unreachable:
    """What a client of each endpoint tells of a server, after a few failures: once each."""
    async with clients(url) as made, asyncio.timeout(60):
        for _, events in made:
            while sum(isinstance(event, ConnectFailed) for event in events) < failures:
                await asyncio.sleep(0.02)
        found = [
            [event for event in events if isinstance(event, Unreachable)] for _, events in made
        ]
        assert not any(client.rejection for client, _ in made)
    assert [len(one) for one in found] == [1, 1]
    assert SECRET not in repr(found)
    return found[0][0]


def answering(answer: bytes) -> Callable[[Peer], Awaitable[None]]:
    async def talk(peer: Peer) -> None:
        await peer.read_request()
        peer.writer.write(answer)

    return talk


@pytest.mark.usefixtures("soon")
class TestOverSockets:
    async def test_a_redirect(self, caplog: pytest.LogCaptureFixture) -> None:
        page = (
            b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/?k\r\nContent-Length: 0\r\n\r\n"
        )
        async with raw_server(answering(page)) as server:
            event = await told(server.url)
        assert "HTTP 302 redirects to portal.example" in event.reason
        assert "base_url" in event.check
        assert f"{event.reason}; check {event.check}" in caplog.text

    async def test_a_name_that_does_not_exist(self) -> None:
        event = await told("https://ink.invalid")
        assert event.reason == "the host name cannot be resolved"

    async def test_a_proxy_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://me:{SECRET}@127.0.0.1:1080")
        event = await told("https://ink.example")
        assert event.check == "HTTPS_PROXY"

    async def test_a_proxy_that_wants_a_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with raw_server(answering(b"HTTP/1.1 407 No\r\n\r\n")) as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
            event = await told("https://ink.example")
        assert event.reason == "the proxy answered 407"

    async def test_a_certificate_that_is_not_trusted(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(UNTRUSTED)
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
        async with server:
            event = await told(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert event.reason.startswith("the certificate of the server is not trusted: self")

    async def test_a_server_that_does_not_speak_tls(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.reader.read(100)
            peer.answer("400 Bad Request")

        async with raw_server(talk) as server:
            event = await told(server.url.replace("ws:", "https:"))
        assert event.reason == "the server does not speak TLS"

    async def test_the_session_connects_as_soon_as_it_can(self) -> None:
        attempts = 0

        async def talk(peer: Peer) -> None:
            nonlocal attempts
            attempts += 1
            if attempts <= 6:
                await peer.read_request()
                peer.answer("302 Found")
            else:
                await peer.upgrade()
                peer.writer.write(b"\x81\x14" + b'{"type":"connected"}')

        async with raw_server(talk) as server, clients(server.url) as made, asyncio.timeout(60):
            events = made[0][1]
            while not isinstance(events[-1] if events else None, Connected):
                await asyncio.sleep(0.02)
        assert Unreachable in map(type, events)


class TestTheClock:
    @pytest.mark.parametrize("jump", [3600.0, -3600.0])
    async def test_a_jump_reaches_the_times_of_the_next_event(
        self, jump: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The clock is set while the connection is open: nothing else tells the session."""
        offset = 0.0
        clock = time.time
        monkeypatch.setattr(time, "time", lambda: clock() + offset)
        script = Script("One.", "Two.")
        pcm = script.audio()
        half = len(pcm) // 4 * 2
        async with InkServer(script) as server, clients(server.url) as made, asyncio.timeout(60):
            ink, events = made[0]
            for count, part in ((1, pcm[:half]), (2, pcm[half:])):
                ink.send_audio(part)
                while len(ends := [e for e in events if isinstance(e, TurnEnd)]) < count:
                    await asyncio.sleep(0.02)
                timing = ends[-1].timing
                assert timing is not None and timing.speech_end is not None
                assert abs(time.time() - timing.speech_end) < 60.0
                offset = jump
