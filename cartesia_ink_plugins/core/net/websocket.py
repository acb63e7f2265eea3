"""One WebSocket connection on asyncio, driven without a task of its own.

The protocol is websockets' sans-IO layer; this file moves its bytes. What is sent goes to the
socket with `flush`, in one piece: a ping behind audio costs no write of its own. Neither ever
waits: the transport buffers what the socket does not take at once, and `on_writable` is called when
that becomes too much. The library's debug log is off, because it would print headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from cartesia_ink_plugins.core.errors import InkError
from cartesia_ink_plugins.core.net.proxy import HAPPY_EYEBALLS_DELAY, proxy_for, tunnel

_MAX_MESSAGE = 2**20  # bytes; a transcript of the longest turn is a hundredth of that
_WRITE_BUFFER = 2**16  # bytes; 2 s of 16 kHz 16-bit audio, after which the session keeps it
_USER_TIMEOUT_MS = 5000  # unacknowledged data after which the kernel gives a connection up
_MAX_PIECE = 2**12  # bytes that are parsed at once: 2000 empty frames, about 20 ms
_TINY = 8  # bytes of content; every message of the API has more, a pong has none
_MAX_TINY_FRAMES = 100  # in a second; a server has no use for more than a few
_ABNORMAL_CLOSE = 1006  # the code for a connection without a close frame: RFC 6455, 7.1.5


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a connection reports. Nothing follows `on_lost` or `on_reject`.

    Attributes:
        on_open: The upgrade succeeded; called with the request id, if there is one.
        on_reject: The upgrade was answered with another HTTP status; called with the status, the
            headers (names in lower case) and the body.
        on_message: A whole message arrived.
        on_pong: A ping was answered; called with its number, or -1 if the answer has none.
        on_read: Everything that one read brought has been reported.
        on_writable: The socket takes no more for now (False), or takes data again (True).
        on_lost: The connection is gone; called with the reason and the close code, if there is one.
    """

    on_open: Callable[[str | None], None]
    on_reject: Callable[[int, Mapping[str, str], bytes], None]
    on_message: Callable[[str | bytes], None]
    on_pong: Callable[[int], None]
    on_read: Callable[[], None]
    on_writable: Callable[[bool], None]
    on_lost: Callable[[str, int | None], None]


class Connection(asyncio.Protocol):
    """A WebSocket client connection."""

    def __init__(self, url: str, headers: Mapping[str, str], callbacks: Callbacks) -> None:
        """Prepare; `open` connects.

        Args:
            url: `ws://` or `wss://` address.
            headers: Sent with the upgrade request.
            callbacks: Called with what happens.
        """
        self._uri = parse_uri(url)
        self._headers = headers
        self._callbacks: Callbacks | None = callbacks
        quiet = logging.Logger("websockets.client", logging.WARNING)
        self._protocol = ClientProtocol(self._uri, max_size=_MAX_MESSAGE, logger=quiet)
        self._transport: asyncio.Transport | None = None
        self._fragments = bytearray()
        self._tiny_frames = 0
        self._tiny_since = 0.0
        self._is_text = False
        self._answered = False
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, ssl_context: ssl.SSLContext | None) -> None:
        """Connect and send the upgrade request; a callback reports the answer.

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
            options["happy_eyeballs_delay"] = HAPPY_EYEBALLS_DELAY
        await loop.create_connection(lambda: self, **options)

    def send(self, data: bytes | str) -> None:
        """Send one message with the next `flush`; binary for bytes, text for str."""
        if self._protocol.state is not State.OPEN:
            return
        if isinstance(data, bytes):
            self._protocol.send_binary(data)
        else:
            self._protocol.send_text(data.encode())

    def ping(self, number: int) -> None:
        """Send a ping with the next `flush`; its content is a number."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"%d" % number)

    def flush(self) -> None:
        """Write what is to be sent to the socket, in one piece."""
        transport, parts = self._transport, self._protocol.data_to_send()
        if not parts or transport is None or transport.is_closing():
            return
        transport.write(b"".join(parts))
        # An empty part: nothing follows.
        if not parts[-1] and transport.can_write_eof():
            transport.write_eof()

    def abort(self) -> None:
        """Cut the connection; nothing more is reported."""
        self._callbacks = None
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
        if self._callbacks is None:
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
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Hand on what a read brought."""
        for at in range(0, len(data), _MAX_PIECE):
            self._protocol.receive_data(data[at : at + _MAX_PIECE])
            self._handle()
            if self._is_flooded():
                self._tell_lost("a flood of empty frames", None)
                self.abort()
                return

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
        self._tell_lost(reason, _ABNORMAL_CLOSE)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        if self._callbacks is not None:
            self._callbacks.on_writable(False)

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        if self._callbacks is not None:
            self._callbacks.on_writable(True)

    # --- inside -------------------------------------------------------------------------------

    def _handle(self) -> None:
        """Act on what the protocol read, then send what it wants sent."""
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._handle_response(event)
            elif isinstance(event, Frame):
                self._handle_frame(event)
        self.flush()
        protocol = self._protocol
        if not self._answered and protocol.handshake_exc is not None:
            self._tell_lost(
                f"not a WebSocket server: {type(protocol.handshake_exc).__name__}", None
            )
        elif self._answered and protocol.state is not State.OPEN:
            received, sent = protocol.close_rcvd, protocol.close_sent
            close = received or sent
            code = received.code if received else (sent.code if sent else _ABNORMAL_CLOSE)
            self._tell_lost(f"closed with {code} {close.reason if close else ''}".rstrip(), code)
        else:
            if self._callbacks is not None:
                self._callbacks.on_read()
            return
        if protocol.close_expected() and self._transport is not None:
            self._transport.close()

    def _handle_response(self, response: Response) -> None:
        self._answered = True
        callbacks = self._callbacks
        error = self._protocol.handshake_exc
        if callbacks is None:
            return
        # A proxy on the way may have said something twice.
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        if isinstance(error, InvalidStatus):
            self._callbacks = None
            body = bytes(response.body or b"")
            callbacks.on_reject(response.status_code, headers, body)
        elif error is not None:
            self._tell_lost(f"not a WebSocket server: {type(error).__name__}", None)
        else:
            callbacks.on_open(headers.get("x-request-id"))

    def _handle_frame(self, frame: Frame) -> None:
        """Put messages together from frames; control frames may come between."""
        if len(frame.data) < _TINY:
            self._tiny_frames += 1
        if frame.opcode is Opcode.PONG:
            if self._callbacks is not None:
                content = bytes(frame.data)
                self._callbacks.on_pong(int(content) if content.isdigit() else -1)
            return
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments += frame.data
        if frame.fin:
            data = bytes(self._fragments)
            self._fragments.clear()
            if self._callbacks is not None:
                text = data.decode(errors="replace") if self._is_text else data
                self._callbacks.on_message(text)

    def _is_flooded(self) -> bool:
        """Whether the server sends more frames with hardly any content than it can need."""
        if self._tiny_frames <= _MAX_TINY_FRAMES:
            return False
        now = asyncio.get_running_loop().time()
        is_flood = now - self._tiny_since < 1.0
        self._tiny_frames, self._tiny_since = 0, now
        return is_flood

    def _tell_lost(self, reason: str, code: int | None) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks.on_lost(reason, code)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def connect_error(error: Exception) -> str:
    """Say why a connection could not be opened, without text of others, which may hold a secret."""
    match error:
        case InkError():
            return str(error)
        case socket.gaierror():
            return "the host name cannot be resolved"
        case OSError(errno=int() as number) if not isinstance(error, ssl.SSLError):
            return os.strerror(number)
        case _:
            return type(error).__name__
