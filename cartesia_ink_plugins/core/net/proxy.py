"""The way out through an HTTP proxy, where the environment names one.

    HTTPS_PROXY=http://user:password@proxy.example:3128
    NO_PROXY=localhost,.internal.example

As everywhere else, it is asked to `CONNECT`, and what goes through it is encrypted for the server.
It is used for `wss` only, and spoken to in plain HTTP; SOCKS is not spoken.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.net.obstacles import ProxyError

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried as well: RFC 8305."""

_LONGEST_ANSWER = 2**16  # bytes; the head of an HTTP answer is a few hundred

_Address: TypeAlias = tuple[int, int, int, str, Any]  # as `getaddrinfo` gives them


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is, and what it is told of us."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_for(host: str, port: int) -> Proxy | None:
    """The proxy that the environment names for a host; None if it is to be dialled directly.

    Raises:
        UsageError: It is not like `http://proxy.example:3128`.
    """
    address = getproxies().get("https")
    if not address or proxy_bypass(f"{host}:{port}"):
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        usable = parts.scheme == "http" and parts.hostname
        proxy_port = parts.port or 80
    except ValueError:
        usable = None
    if not usable:
        raise UsageError(
            "HTTPS_PROXY: is not like 'http://proxy.example:3128'; no other scheme is spoken"
        )
    if parts.username is None:
        return Proxy(usable, proxy_port)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    token = base64.b64encode(user.encode()).decode()
    return Proxy(usable, proxy_port, f"Basic {token}")


async def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Connect to a host through a proxy.

    Raises:
        OSError: The proxy cannot be reached.
        ProxyError: It does not connect us.
    """
    sock = await _connect(proxy.host, proxy.port)
    try:
        await _ask(sock, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address that answers: each is given a moment before the next."""
    loop = asyncio.get_running_loop()
    addresses = _interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    attempts: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("no address")
    winner: socket.socket | None = None
    try:
        while winner is None and (addresses or attempts):
            if addresses:
                attempts.add(asyncio.create_task(_connect_to(addresses.pop(0))))
            done, _ = await asyncio.wait(
                attempts,
                timeout=HAPPY_EYEBALLS_DELAY if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if error := task.exception():
                    attempts.discard(task)
                    failure = error
                elif winner is None:
                    attempts.discard(task)
                    winner = task.result()
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(_close_socket)
    if winner is None:
        raise failure
    return winner


async def _connect_to(address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_socket(task: asyncio.Task[socket.socket]) -> None:
    """Close the connection of an attempt that another one has won."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """Put the families in turn: RFC 8305, section 4."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = zip_longest(*families.values())
    return [address for one in rounds for address in one if address is not None]


async def _ask(sock: socket.socket, proxy: Proxy, target: str) -> None:
    loop = asyncio.get_running_loop()
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    answer = b""
    # Behind the answer comes nothing: it is for us to speak first.
    while b"\r\n\r\n" not in answer:
        data = await loop.sock_recv(sock, 4096)
        if not data or len(answer) > _LONGEST_ANSWER:
            raise ProxyError("the proxy hung up")
        answer += data
    status = answer.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if status != [b"200"]:
        told = b"".join(status)[:3]
        number = int(told) if told.isdigit() else None
        raise ProxyError(f"the proxy answered {number or 'nonsense'}", number)
