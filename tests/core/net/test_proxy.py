"""Connections through an HTTP proxy that the environment names."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket

import pytest

from cartesia_ink_plugins import ConnectFailed, Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.core.net.proxy import Proxy, proxy_for, tunnel
from tests.core.sockets import Peer, raw_server

NAMES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


class TestTheEnvironment:
    def test_without_a_name_there_is_none(self) -> None:
        assert proxy_for("api.cartesia.ai", 443) is None

    @pytest.mark.parametrize(
        ("address", "proxy"),
        [
            ("http://proxy.example:3128", Proxy("proxy.example", 3128)),
            ("proxy.example:3128", Proxy("proxy.example", 3128)),
            ("http://proxy.example/", Proxy("proxy.example", 80)),
            ("http://[::1]:3128", Proxy("::1", 3128)),
            (
                "http://me:p%40ss@proxy.example:3128",
                Proxy("proxy.example", 3128, "Basic " + base64.b64encode(b"me:p@ss").decode()),
            ),
        ],
    )
    def test_names_host_port_and_user(
        self, address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", address)
        assert proxy_for("api.cartesia.ai", 443) == proxy
        assert "Basic" not in repr(proxy)

    @pytest.mark.parametrize("bypass", ["*", "cartesia.ai", ".cartesia.ai", "api.cartesia.ai:443"])
    def test_names_hosts_that_are_connected_directly(
        self, bypass: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", bypass)
        assert proxy_for("api.cartesia.ai", 443) is None

    @pytest.mark.parametrize(
        "address", ["socks5://me:secret@proxy:1080", "https://proxy:443", "http://", "http://p:x"]
    )
    def test_an_error_in_it_is_reported_without_its_password(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", address)
        with pytest.raises(UsageError, match=r"^HTTPS_PROXY: ") as error:
            proxy_for("api.cartesia.ai", 443)
        assert "secret" not in str(error.value)


class TestTunnel:
    async def test_the_proxy_is_asked_to_connect(self) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
            peer.writer.write(await peer.reader.readexactly(5))

        async with raw_server(talk) as server:
            proxy = Proxy("127.0.0.1", server.port, "Basic bWU6cGFzcw==")
            sock = await tunnel(proxy, "api.cartesia.ai", 443)
            with sock:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, b"hello")
                assert await loop.sock_recv(sock, 5) == b"hello"
            assert server.peers[0].request == (
                "CONNECT api.cartesia.ai:443 HTTP/1.1\r\nHost: api.cartesia.ai:443\r\n"
                "Proxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
            )

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
            (b"HTTP/1.1 40700000 No\r\n\r\n", "the proxy answered 407"),
            (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the proxy answered nonsense"),
            (b"x" * 100_000, "the proxy hung up"),
            (b"", "the proxy hung up"),
        ],
    )
    async def test_an_error_says_why_there_is_none(self, answer: bytes, why: str) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(answer)
            peer.writer.close()

        async with raw_server(talk) as server:
            with pytest.raises(InkError, match=f"^{why}$"):
                await tunnel(Proxy("127.0.0.1", server.port), "::1", 443)
            assert server.peers[0].request.startswith("CONNECT [::1]:443 ")

    async def test_no_proxy_at_the_address(self) -> None:
        async with raw_server(Peer.read_request) as server:
            pass
        with pytest.raises(OSError, match="Connect call failed"):
            await tunnel(Proxy("127.0.0.1", server.port), "api.cartesia.ai", 443)


class TestAClient:
    async def test_starts_tls_with_the_server_through_the_proxy(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hello_received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            if not hello_received.done():
                hello_received.set_result(await peer.reader.read(4096))

        async with raw_server(talk) as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
            options = TurnsOptions(base_url="https://api.cartesia.invalid")
            async with InkTurnsClient(options, Credentials(api_key="any")):
                async with asyncio.timeout(30):
                    hello = await hello_received
            assert server.peers[0].request.startswith("CONNECT api.cartesia.invalid:443 ")
        assert hello[:2] == b"\x16\x03"  # a handshake of TLS, which names the server
        assert b"api.cartesia.invalid" in hello

    async def test_reports_what_the_proxy_answers_but_not_the_password(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.answer("407 Proxy Authentication Required")

        caplog.set_level(logging.DEBUG)
        async with raw_server(talk) as server:
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{server.port}")
            options = TurnsOptions(base_url="https://api.cartesia.invalid")
            async with InkTurnsClient(options, Credentials(api_key="any")) as ink:
                failed = await anext(ink)
        assert isinstance(failed, ConnectFailed)
        assert failed.reason == "cannot connect: the proxy answered 407"
        assert "secret" not in caplog.text

    async def test_connects_to_a_server_without_tls_directly(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        async with raw_server(Peer.upgrade) as server:
            options = TurnsOptions(base_url=server.url)
            async with InkTurnsClient(options, Credentials(api_key="any")) as ink:
                while not ink.is_connected:
                    await asyncio.sleep(0.01)


class TestManyAddresses:
    """A name of a proxy may resolve to an address that never answers."""

    @pytest.mark.parametrize("dead", [1, 2])
    @pytest.mark.parametrize("how", ["silent", "refused"])
    async def test_a_dead_one_does_not_hide_the_others(
        self, dead: int, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.get_running_loop()
        connect, never = loop.sock_connect, asyncio.Event()
        socks: list[socket.socket] = []
        failures: list[object] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))

        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
            socks.append(sock)
            if sock.family is socket.AF_INET6:
                if how == "refused":
                    raise ConnectionRefusedError
                await never.wait()
            await connect(sock, address)

        async with raw_server(talk) as server:
            stream = (socket.SOCK_STREAM, 6, "")
            answers = [
                *[(socket.AF_INET6, *stream, (f"2001:db8::{n}", 3128, 0, 0)) for n in range(dead)],
                (socket.AF_INET, *stream, ("127.0.0.1", server.port)),
            ]

            async def getaddrinfo(*_: object, **__: object) -> list[object]:
                return list(answers)

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            async with asyncio.timeout(10.0):
                sock = await tunnel(Proxy("proxy.example", 3128), "api.cartesia.ai", 443)
            with sock:
                assert sock.getpeername() == ("127.0.0.1", server.port)
            while not all(s.fileno() == -1 for s in socks):
                await asyncio.sleep(0.01)
        assert [sock.family for sock in socks[:2]] == [socket.AF_INET6, socket.AF_INET]
        assert failures == []

    async def test_of_two_that_answer_in_one_moment_one_is_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.get_running_loop()
        connect, second_is_connected = loop.sock_connect, asyncio.Event()
        socks: list[socket.socket] = []

        async def talk(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
            socks.append(sock)
            await connect(sock, address)
            if len(socks) == 1:
                await second_is_connected.wait()
            second_is_connected.set()

        async with raw_server(talk) as server:
            address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))

            async def getaddrinfo(*_: object, **__: object) -> list[object]:
                return [address, address]

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            with await tunnel(Proxy("proxy.example", 3128), "api.cartesia.ai", 443) as kept:
                assert [sock for sock in socks if sock.fileno() != -1] == [kept]

    async def test_when_all_are_dead_the_last_error_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def sock_connect(sock: socket.socket, address: object) -> None:
            raise ConnectionRefusedError("nobody there")

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
        with pytest.raises(ConnectionRefusedError, match="nobody there"):
            await tunnel(Proxy("localhost", 3128), "api.cartesia.ai", 443)
