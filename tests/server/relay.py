"""What stands between a client and a server: something that ends TLS, and an HTTP proxy.

Both carry bytes and pass on how a connection ends, so that a fault behind them is one before them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Streams]]

HOST = "127.0.0.1"
CERTIFICATE = Path(__file__).parents[1] / "core" / "net" / "untrusted.pem"


def server_context() -> ssl.SSLContext:
    """TLS of a server with a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    """TLS of a client that trusts that certificate, which names no host."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    context.check_hostname = False
    return context


@asynccontextmanager
async def tls_in_front_of(port: int) -> AsyncIterator[int]:
    """Accept TLS and connect to a port without it; yield the port that accepts."""
    async with _listening(lambda _r, _w: _connected(port), server_context()) as listening:
        yield listening


@asynccontextmanager
async def http_proxy() -> AsyncIterator[int]:
    """Accept `CONNECT` and connect to the port that is asked for; yield the port that accepts."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode().split(" ", 2)
        assert method == "CONNECT"
        try:
            streams = await _connected(int(target.rpartition(":")[2]))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            await writer.drain()
            raise
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return streams

    async with _listening(connect, None) as listening:
        yield listening


async def _connected(port: int) -> Streams:
    return await asyncio.open_connection(HOST, port)


@asynccontextmanager
async def _listening(connect: Connect, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _carry(reader, writer, connect)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(carry, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Connect
) -> None:
    """Carry both directions until one of them ends; then both do, as that one did."""
    try:
        far_reader, far_writer = await connect(reader, writer)
    except (OSError, asyncio.IncompleteReadError):
        writer.transport.abort()
        return
    directions = [
        asyncio.create_task(_copy(reader, far_writer)),
        asyncio.create_task(_copy(far_reader, writer)),
    ]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        far_writer.transport.abort()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        await writer.drain()
        writer.close()
    except OSError:
        writer.transport.abort()
