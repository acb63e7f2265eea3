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
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from cartesia_ink_plugins.core.errors import InkError, UsageError

_LONGEST_ANSWER = 2**16  # bytes; the head of an HTTP answer is a few hundred


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
        raise UsageError("HTTPS_PROXY: is not like 'http://proxy.example:3128'")
    if parts.username is None:
        return Proxy(usable, proxy_port)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    token = base64.b64encode(user.encode()).decode()
    return Proxy(usable, proxy_port, f"Basic {token}")


async def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Connect to a host through a proxy.

    Raises:
        OSError: The proxy cannot be reached.
        InkError: It does not connect us.
    """
    sock = await _connect(proxy.host, proxy.port)
    try:
        await _ask(sock, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address that answers."""
    loop = asyncio.get_running_loop()
    failure = OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


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
            raise InkError("the proxy hung up")
        answer += data
    status = answer.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if status != [b"200"]:
        told = b"".join(status)[:3].decode("ascii", "replace")
        raise InkError(f"the proxy answered {told or 'nonsense'}")
