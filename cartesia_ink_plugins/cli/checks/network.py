"""The way to the endpoint, a step at a time: proxy, DNS, connection, TLS, and the server's clock.

Each step is what the client itself does, so that the first that fails is the one that is wrong.
"""

from __future__ import annotations

import asyncio
import email.utils
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from cartesia_ink_plugins.cli.checks.finding import Finding, Status
from cartesia_ink_plugins.core.errors import InkError, UsageError
from cartesia_ink_plugins.core.net.proxy import Proxy, proxy_for, tunnel
from cartesia_ink_plugins.core.net.websocket import connect_error

# Seconds of skew of the clock: a Date header has whole seconds and a network delay.
_SKEW = 5.0
# Seconds of skew at which a certificate or an access token may be judged wrongly.
_WRONG_CLOCK = 300.0
# Days before the end of a certificate at which it is worth a word; renewals come earlier.
_EXPIRES_SOON = 14
_LONGEST_HEAD = 2**16  # bytes of an HTTP answer

# Codes of OpenSSL's X509_V_ERR_... and what to do.
_CERTIFICATES: Mapping[int, tuple[str, str]] = {
    9: ("is not valid yet", "set this machine's clock; it says {now}"),
    10: ("has expired", "renew it on the server, or set this machine's clock; it says {now}"),
    62: ("is for another host", "use the host name that the certificate is for"),
    64: ("is for another host", "use the host name that the certificate is for"),
}
_ABOUT_TIME = (9, 10)  # of these codes: the certificate is wrong, or the clock is
_UNTRUSTED = (
    "is not trusted: {reason}",
    "install ca-certificates, or set SSL_CERT_FILE to the CA of your company's proxy",
)


STEPS = ("proxy", "dns", "connect", "tls", "clock")
"""The names of the checks, in their order."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the API is.

    Attributes:
        host: Its name or address.
        port: Its port.
        is_secure: Whether it is spoken to over TLS.
    """

    host: str
    port: int
    is_secure: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The target of a WebSocket address."""
        parts = urlsplit(url)
        is_secure = parts.scheme == "wss"
        return cls(parts.hostname or "", parts.port or (443 if is_secure else 80), is_secure)

    def __str__(self) -> str:
        """Host and port as one writes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def unchecked(reason: str, *checks: str) -> list[Finding]:
    """What could not be checked, and why."""
    return [Finding(check, Status.UNCHECKED, reason) for check in checks]


async def check_network(
    target: Target, timeout: float, ssl_context: ssl.SSLContext | None = None
) -> list[Finding]:
    """Go the way to the endpoint, without a credential.

    Args:
        target: Where it is.
        timeout: Seconds that each step may take.
        ssl_context: Another one than the client's default.

    Returns:
        The findings, in the order of `STEPS`; after the first problem, nothing is checked.
    """
    findings: list[Finding] = []
    try:
        await _walk(target, timeout, ssl_context, findings)
    except _Failed as failed:
        findings.append(failed.finding)
        if failed.is_about_time:
            return [*findings, await _clock_without_trust(target, timeout)]
        behind = STEPS[STEPS.index(failed.finding.check) + 1 :]
        findings += unchecked(f"{failed.finding.check} failed", *behind)
    return findings


class _Failed(Exception):
    """A step failed, so that the next ones cannot be taken."""

    def __init__(
        self, check: str, message: str, advice: str, *, is_about_time: bool = False
    ) -> None:
        self.finding = Finding(check, Status.PROBLEM, message, advice)
        self.is_about_time = is_about_time


async def _walk(
    target: Target, timeout: float, ssl_context: ssl.SSLContext | None, findings: list[Finding]
) -> None:
    proxy = _proxy(target)
    findings.append(_proxy_finding(target, proxy))
    findings.append(await _resolve(proxy.host if proxy else target.host, timeout))
    began = time.monotonic()
    reader, writer = await _connect(target, proxy, timeout)
    try:
        findings.append(Finding("connect", Status.OK, f"{target}{_took(began)}"))
        findings.append(await _secure(target, writer, timeout, ssl_context))
        findings.append(await _clock(target, reader, writer, timeout))
    finally:
        writer.transport.abort()


def _took(began: float) -> str:
    return f" ({1000 * (time.monotonic() - began):.0f} ms)"


def _proxy(target: Target) -> Proxy | None:
    try:
        return proxy_for(target.host, target.port) if target.is_secure else None
    except UsageError as error:
        raise _Failed(
            "proxy", str(error), "name an HTTP proxy, or put the host into NO_PROXY"
        ) from None


def _proxy_finding(target: Target, proxy: Proxy | None) -> Finding:
    if proxy is not None:
        signed = ", with a user name" if proxy.authorization else ""
        return Finding(
            "proxy", Status.OK, f"{proxy.host}:{proxy.port}, as HTTPS_PROXY says{signed}"
        )
    named = getproxies()
    if target.is_secure and "all" in named and "https" not in named:
        return Finding(
            "proxy",
            Status.WARNING,
            "ALL_PROXY is set, and only HTTPS_PROXY is used",
            "set HTTPS_PROXY, if there is no other way out",
        )
    return Finding("proxy", Status.OK, "none: the endpoint is connected to directly")


async def _resolve(host: str, timeout: float) -> Finding:
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else "the name is not known"
        raise _Failed(
            "dns",
            f"{host}: {reason}",
            "check the spelling, /etc/resolv.conf, and whether this machine has a network",
        ) from None
    addresses = sorted({str(address[4][0]) for address in found})
    more = f" and {len(addresses) - 2} more" if len(addresses) > 2 else ""
    return Finding("dns", Status.OK, f"{host} is {', '.join(addresses[:2])}{more}{_took(began)}")


async def _connect(
    target: Target, proxy: Proxy | None, timeout: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where: dict[str, Any] = {"host": target.host, "port": target.port}
    try:
        async with asyncio.timeout(timeout):
            if proxy is not None:
                where = {"sock": await tunnel(proxy, target.host, target.port)}
            return await asyncio.open_connection(**where, limit=_LONGEST_HEAD)
    except TimeoutError:
        reason = f"no answer within {timeout:g} s"
    except (OSError, InkError) as error:
        reason = connect_error(error)
    if proxy is None:
        raise _Failed(
            "connect",
            f"{target}: {reason}",
            f"let a firewall allow TCP to port {target.port}, or check the base URL",
        )
    advice = "check HTTPS_PROXY"
    if "407" in reason:
        advice = "put user and password into HTTPS_PROXY: http://user:password@host:port"
    raise _Failed("connect", f"{target} through {proxy.host}:{proxy.port}: {reason}", advice)


async def _secure(
    target: Target,
    writer: asyncio.StreamWriter,
    timeout: float,
    ssl_context: ssl.SSLContext | None,
) -> Finding:
    if not target.is_secure:
        return Finding("tls", Status.OK, "none: the base URL asks for a plain connection")
    began = time.monotonic()
    context = ssl_context or ssl.create_default_context()
    try:
        async with asyncio.timeout(timeout):
            await writer.start_tls(context, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        message, advice = _CERTIFICATES.get(error.verify_code, _UNTRUSTED)
        details = {"reason": error.verify_message, "now": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
        raise _Failed(
            "tls",
            f"the certificate {message.format(**details)}",
            advice.format(**details),
            is_about_time=error.verify_code in _ABOUT_TIME,
        ) from None
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or connect_error(error)
        raise _Failed(
            "tls",
            f"no encrypted connection: {reason}",
            "check that the port speaks TLS, and that nothing on the way intercepts it",
        ) from None
    took = _took(began)
    version = writer.get_extra_info("ssl_object").version()
    days = _days_left(writer.get_extra_info("peercert") or {})
    if days is not None and days < _EXPIRES_SOON:
        return Finding(
            "tls",
            Status.WARNING,
            f"{version}{took}; the certificate expires in {days:.0f} days",
            "see that it is renewed on the server",
        )
    return Finding("tls", Status.OK, f"{version}{took}; the certificate is valid")


def _days_left(certificate: Mapping[str, Any]) -> float | None:
    end = certificate.get("notAfter")
    return (ssl.cert_time_to_seconds(end) - time.time()) / 86400 if end else None


async def _clock(
    target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
) -> Finding:
    """Compare this machine's clock with the Date of any answer."""
    writer.write(f"GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode())
    began = time.time()
    try:
        async with asyncio.timeout(timeout):
            head = await reader.readuntil(b"\r\n\r\n")
        # The header has whole seconds, cut off.
        date = email.utils.parsedate_to_datetime(_date(head)).timestamp() + 0.5
    except (OSError, ValueError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        return Finding("clock", Status.UNCHECKED, f"{target.host} does not say what time it is")
    skew = (began + time.time()) / 2 - date
    if abs(skew) <= _SKEW:
        return Finding("clock", Status.OK, f"within {_SKEW:.0f} s of the server's")
    return Finding(
        "clock",
        Status.PROBLEM if abs(skew) > _WRONG_CLOCK else Status.WARNING,
        f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's",
        "set this machine's clock (NTP): certificates, tokens and times of turns depend on it",
    )


async def _clock_without_trust(target: Target, timeout: float) -> Finding:
    """Ask a server that is not trusted for its Date, to know whether it or the clock is wrong.

    It is told nothing but the name of the host.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        reader, writer = await _connect(target, _proxy(target), timeout)
        try:
            async with asyncio.timeout(timeout):
                await writer.start_tls(context, server_hostname=target.host)
            return await _clock(target, reader, writer, timeout)
        finally:
            writer.transport.abort()
    except (_Failed, OSError, TimeoutError):
        return Finding("clock", Status.UNCHECKED, "tls failed")


def _date(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "date":
            return value.strip()
    raise ValueError("no Date")
