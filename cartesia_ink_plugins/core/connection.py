"""One WebSocket connection on asyncio, driven without a task of its own.

The protocol is websockets' sans-IO layer; this file moves its bytes. Sending is a plain call that
never waits: what the socket does not take at once, the transport buffers, and `blocked` is called
when that becomes too much. Secrets stay out of the library's debug log, which would print headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Mapping
from struct import pack
from typing import Any, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.core.tunnel import proxy_for, tunnel

try:
    from websockets.speedups import apply_mask
except ImportError:  # where no compiled wheel of websockets is to be had
    from websockets.utils import apply_mask

_MAX_MESSAGE = 2**20
_WRITE_BUFFER = 2**16
_USER_TIMEOUT_MS = 5000
_HAPPY_EYEBALLS_DELAY = 0.25
# The first byte of a message in one frame.
_TEXT, _BINARY = 0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY


class Listener(Protocol):
    """Who is told what happens on a connection. Nothing is told after `on_lost` or `on_refused`."""

    def on_open(self, connection: Connection, request_id: str | None) -> None:
        """The upgrade succeeded."""

    def on_refused(
        self, connection: Connection, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """The upgrade was answered with another HTTP status; names of headers are lower case."""

    def on_message(self, data: str | bytes) -> None:
        """A whole message came."""

    def on_pong(self) -> None:
        """A ping was answered."""

    def on_blocked(self, blocked: bool) -> None:
        """The socket takes no more for now, or again."""

    def on_read(self) -> None:
        """Everything that one read brought has been told."""

    def on_lost(self, connection: Connection, reason: str, code: int | None) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """A WebSocket client connection."""

    def __init__(self, url: str, headers: Mapping[str, str], listener: Listener) -> None:
        """Prepare; `open` connects.

        Args:
            url: `ws://` or `wss://` address.
            headers: Sent with the upgrade request.
            listener: Told what happens.
        """
        self._uri = parse_uri(url)
        self._headers = headers
        self._listener: Listener | None = listener
        quiet = logging.Logger("websockets.client", logging.WARNING)
        self._protocol = ClientProtocol(self._uri, max_size=_MAX_MESSAGE, logger=quiet)
        self._transport: asyncio.Transport | None = None
        self._fragments: list[bytes] = []
        self._fragmented_text = False
        self._answered = False
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, ssl_context: ssl.SSLContext | None) -> None:
        """Connect and send the upgrade request; the listener is told of the answer.

        Raises:
            OSError: No connection could be made.
            InkError: The proxy that the environment names does not connect us.
        """
        loop = asyncio.get_running_loop()
        host, port = self._uri.host, self._uri.port
        options: dict[str, Any] = {"host": host, "port": port}
        if self._uri.secure:
            options |= {"ssl": ssl_context, "server_hostname": host}
        if self._uri.secure and (proxy := proxy_for(host, port)):
            options |= {"host": None, "port": None, "sock": await tunnel(proxy, host, port)}
        elif isinstance(loop, asyncio.BaseEventLoop) and not _is_address(host):
            # uvloop, on which many servers run bots, does not know this argument. Where there is
            # only one address it would do nothing but drop a socket when it is cancelled.
            options["happy_eyeballs_delay"] = _HAPPY_EYEBALLS_DELAY
        await loop.create_connection(lambda: self, **options)

    def send(self, data: bytes | str) -> None:
        """Send one message; binary for bytes, text for str."""
        transport = self._transport
        if self._protocol.state is not State.OPEN or transport is None or transport.is_closing():
            return
        if isinstance(data, bytes):
            transport.write(_masked(_BINARY, data))
        else:
            transport.write(_masked(_TEXT, data.encode()))

    def ping(self) -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def abort(self) -> None:
        """Cut the connection; the listener is told nothing more."""
        self._listener = None
        if self._transport is not None:
            self._transport.abort()
        elif not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._closed)

    # --- asyncio's callbacks ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the upgrade request."""
        transport = cast(asyncio.Transport, transport)  # uvloop's only looks like one
        self._transport = transport
        if self._listener is None:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand on what a read brought."""
        self._protocol.receive_data(data)
        self._handle()

    def eof_received(self) -> None:
        """The peer sends no more."""
        self._protocol.receive_eof()
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)
        reason = f"{type(exc).__name__}" if exc else "connection closed without a close frame"
        self._tell_lost(reason, 1006)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._listener is not None:
            self._listener.on_blocked(True)

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        if self._listener is not None:
            self._listener.on_blocked(False)

    # --- inside -------------------------------------------------------------------------------

    def _handle(self) -> None:
        """Act on what the protocol read, then send what it wants sent."""
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._handle_response(event)
            elif isinstance(event, Frame):
                self._handle_frame(event)
        self._flush()
        protocol = self._protocol
        if not self._answered and protocol.handshake_exc is not None:
            self._tell_lost(f"no WebSocket there: {type(protocol.handshake_exc).__name__}", None)
        elif self._answered and protocol.state is not State.OPEN:
            received, sent = protocol.close_rcvd, protocol.close_sent
            close = received or sent
            code = received.code if received else (sent.code if sent else 1006)
            self._tell_lost(f"closed with {code} {close.reason if close else ''}".rstrip(), code)
        elif self._listener is not None:
            self._listener.on_read()
        if protocol.close_expected() and self._transport is not None:
            self._transport.close()

    def _handle_response(self, response: Response) -> None:
        self._answered = True
        listener = self._listener
        error = self._protocol.handshake_exc
        if listener is None:
            return
        # A proxy on the way may have said something twice.
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        if isinstance(error, InvalidStatus):
            self._listener = None
            body = response.body or b""
            listener.on_refused(self, response.status_code, headers, body)
        elif error is not None:
            self._tell_lost(f"no WebSocket there: {type(error).__name__}", None)
        else:
            listener.on_open(self, headers.get("x-request-id"))

    def _handle_frame(self, frame: Frame) -> None:
        """Put messages together from frames; control frames may come between."""
        if frame.opcode is Opcode.PONG:
            if self._listener is not None:
                self._listener.on_pong()
            return
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._fragmented_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._message(bytes(frame.data))
                return
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(self._fragments)
            self._fragments = []
            self._message(data)

    def _message(self, data: bytes) -> None:
        if self._listener is not None:
            is_text = self._fragmented_text
            self._listener.on_message(data.decode(errors="replace") if is_text else data)

    def _flush(self) -> None:
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is None or transport.is_closing():
                continue
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()

    def _tell_lost(self, reason: str, code: int | None) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_lost(self, reason, code)


def _masked(head: int, payload: bytes) -> bytes:
    """A message in one frame, as a client sends it (RFC 6455, 5.2 and 5.3).

    As `Frame.serialize` of websockets makes it, with half the work; it is done for every piece of
    audio. No extension was asked for, and no message is in pieces.
    """
    size = len(payload)
    if size < 126:
        start = pack("!BB", head, 128 | size)
    elif size < 65536:
        start = pack("!BBH", head, 128 | 126, size)
    else:
        start = pack("!BBQ", head, 128 | 127, size)
    key = os.urandom(4)
    return start + key + apply_mask(payload, key)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def why_not(error: Exception) -> str:
    """Why a connection could not be made; the words of others may hold a secret."""
    match error:
        case InkError():
            return str(error)
        case socket.gaierror():
            return "the name of the host is not known"
        case OSError(errno=int() as number) if not isinstance(error, ssl.SSLError):
            return os.strerror(number)
        case _:
            return type(error).__name__
