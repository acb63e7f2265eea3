"""The way to the endpoint: planted proxies, certificates and clocks, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.cli.checks.network import STEPS, Target, check_network

HERE = "127.0.0.1"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def certificate(
    folder: Path, begins: timedelta, ends: timedelta, host: str = HERE
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server needs that has a certificate of its own, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "planted")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


@contextlib.asynccontextmanager
async def http_server(
    answer: str = "HTTP/1.1 404 Not Found\r\nDate: {date}\r\n\r\n",
    *,
    ahead: float = 0.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """A server that gives every request one answer; its clock may be ahead. Gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            date = email.utils.formatdate(time.time() + ahead, usegmt=True)
            writer.write(answer.replace("{date}", date).encode())
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    serving: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(
        lambda *streams: serving.add(asyncio.create_task(serve(*streams))), HERE, 0, ssl=tls
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*serving)


async def found(
    port: int, *, is_secure: bool = False, trusts: ssl.SSLContext | None = None
) -> dict[str, Finding]:
    findings = await check_network(Target(HERE, port, is_secure), 5.0, trusts)
    assert [finding.check for finding in findings] == list(STEPS)
    return {finding.check: finding for finding in findings}


# --- TLS ------------------------------------------------------------------------------------------


async def test_a_valid_certificate_is_right(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, -DAY, 90 * DAY)
    async with http_server(tls=server) as port:
        way = await found(port, is_secure=True, trusts=client)
    assert {finding.status for finding in way.values()} == {Status.OK}
    assert "TLSv1.3" in way["tls"].message


async def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, -DAY, 5 * DAY)
    async with http_server(tls=server) as port:
        way = await found(port, is_secure=True, trusts=client)
    assert way["tls"].status is Status.WARNING
    assert "expires in 5 days" in way["tls"].message
    assert way["clock"].status is Status.OK


@pytest.mark.parametrize(
    ("begins", "ends", "host", "told", "advice"),
    [
        (-90 * DAY, -DAY, HERE, "has expired", "renew it"),
        (DAY, 90 * DAY, HERE, "is not valid yet", "clock"),
        (-DAY, 90 * DAY, "127.0.0.2", "is for another host", "host name"),
    ],
)
async def test_a_wrong_certificate_is_found(
    tmp_path: Path, begins: timedelta, ends: timedelta, host: str, told: str, advice: str
) -> None:
    server, client = certificate(tmp_path, begins, ends, host)
    async with http_server(tls=server) as port:
        way = await found(port, is_secure=True, trusts=client)
    assert way["tls"].status is Status.PROBLEM
    assert told in way["tls"].message
    assert advice in way["tls"].advice


@pytest.mark.parametrize(
    ("begins", "ends", "ahead", "status"),
    [
        (-90 * DAY, -DAY, 0.0, Status.OK),  # the certificate is old
        (DAY, 90 * DAY, 2 * 86400.0, Status.PROBLEM),  # the clock is slow
        (-90 * DAY, -DAY, -2 * 86400.0, Status.PROBLEM),  # the clock is fast
    ],
)
async def test_whether_the_certificate_or_the_clock_is_wrong_is_told(
    tmp_path: Path, begins: timedelta, ends: timedelta, ahead: float, status: Status
) -> None:
    server, client = certificate(tmp_path, begins, ends)
    async with http_server(tls=server, ahead=ahead) as port:
        way = await found(port, is_secure=True, trusts=client)
    assert way["tls"].status is Status.PROBLEM
    assert way["clock"].status is status
    if ahead:
        assert f"{'behind' if ahead > 0 else 'ahead of'} the server's" in way["clock"].message


async def test_a_certificate_of_nobody_is_found(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, -DAY, 90 * DAY)
    async with http_server(tls=server) as port:
        way = await found(port, is_secure=True)
    assert way["tls"].status is Status.PROBLEM
    assert "is not trusted: self-signed certificate" in way["tls"].message.replace(
        "self signed", "self-signed"
    )
    assert "SSL_CERT_FILE" in way["tls"].advice


async def test_a_port_without_tls_is_found() -> None:
    async with http_server() as port:
        way = await found(port, is_secure=True)
    assert way["connect"].status is Status.OK
    assert way["tls"].status is Status.PROBLEM
    assert "no encrypted connection" in way["tls"].message


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "status", "told"),
    [
        (0.0, Status.OK, "within 5 s"),
        (3600.0, Status.PROBLEM, "behind the server's"),
        (-30.0, Status.WARNING, "ahead of the server's"),
    ],
)
async def test_a_wrong_clock_is_found(ahead: float, status: Status, told: str) -> None:
    async with http_server(ahead=ahead) as port:
        way = await found(port)
    assert way["clock"].status is status
    assert told in way["clock"].message


@pytest.mark.parametrize(
    "answer", ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: today\r\n\r\n", "no", ""]
)
async def test_a_server_that_does_not_tell_the_time_is_no_problem(answer: str) -> None:
    async with http_server(answer) as port:
        way = await found(port)
    assert way["clock"].status is Status.UNCHECKED


# --- the proxy ------------------------------------------------------------------------------------


async def test_a_dead_proxy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        port = sock.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-password@{HERE}:{port}")
    way = await found(443, is_secure=True)
    assert f"{HERE}:{port}" in way["proxy"].message
    assert way["connect"].status is Status.PROBLEM
    assert "refused" in way["connect"].message
    assert way["connect"].advice == "check HTTPS_PROXY"
    assert "secret-password" not in str(way)


@pytest.mark.parametrize(
    ("status", "advice"),
    [("407 Proxy Authentication Required", "user:password@"), ("403 Forbidden", "HTTPS_PROXY")],
)
async def test_a_proxy_that_refuses_is_found(
    monkeypatch: pytest.MonkeyPatch, status: str, advice: str
) -> None:
    async with http_server(f"HTTP/1.1 {status}\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{HERE}:{port}")
        way = await found(443, is_secure=True)
    assert way["connect"].status is Status.PROBLEM
    assert status[:3] in way["connect"].message
    assert advice in way["connect"].advice


async def test_a_proxy_of_another_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret-password@127.0.0.1:1080")
    way = await found(443, is_secure=True)
    assert way["proxy"].status is Status.PROBLEM
    assert "secret-password" not in str(way)
    assert {way[name].status for name in STEPS[1:]} == {Status.UNCHECKED}


async def test_a_proxy_that_is_not_used_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:3128")
    async with http_server() as port:
        way = await found(port, is_secure=True)
    assert way["proxy"].status is Status.WARNING
    assert "HTTPS_PROXY" in way["proxy"].advice
