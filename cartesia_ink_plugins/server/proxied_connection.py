"""One connection through the fault proxy, which injects faults between two pumps.

client ──frames──▶ _pump_up ──▶ DelayedWriter ──▶ server
client ◀── DelayedWriter ◀── _pump_down ◀──frames── server
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.cues import Line
from cartesia_ink_plugins.server.delayed_writer import DelayedWriter, reset
from cartesia_ink_plugins.server.engine import Close, Raw
from cartesia_ink_plugins.server.fault_plan import ConnectionFaults, FaultPlan, OneWayLink
from cartesia_ink_plugins.server.faults import (
    FOREVER,
    Action,
    CloseAll,
    Deaf,
    Fin,
    HalfOpen,
    IgnoreClose,
    Join,
    Latency,
    NoPongs,
    Outage,
    Refuse,
    Reset,
    Say,
    Silence,
    Slice,
    Throttle,
)
from cartesia_ink_plugins.server.frames import Frame, FrameReader, Opcode, WireItem, encode_items
from cartesia_ink_plugins.server.proxy_http import (
    audio_format,
    message_request_id,
    message_type,
    rejection,
    upstream_head,
)

_CLOSE_TIMEOUT = 2.0  # seconds that a peer has to close
_REQUEST_TIMEOUT = 30.0  # seconds that the head of a request may take
_MAX_LAG = 0.25  # seconds that a throttled direction may lag before reading stops


class ProxyContext(Protocol):
    """What a connection uses of the proxy."""

    plan: FaultPlan
    upstream: str

    def record(self, connection: int, action: Action) -> None:
        """Record that a fault was injected."""

    def record_peer_error(self, connection: int, text: str) -> None:
        """Record why a connection could not be forwarded."""

    def inject_all(self, action: CloseAll | Outage) -> None:
        """Inject a fault that concerns the whole server."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server."""


class ProxiedConnection:
    """Forwards one client's connection to the server and injects faults."""

    def __init__(
        self,
        proxy: ProxyContext,
        faults: ConnectionFaults,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        first: Action | None = None,
    ) -> None:
        """Create the connection; `first` is injected when the request has been read."""
        self._first = first
        self._proxy = proxy
        self._faults = faults
        self._client, self._client_writer = reader, writer
        self._server_writer: asyncio.StreamWriter | None = None
        self._down = DelayedWriter(writer, OneWayLink(proxy.plan.random))
        self._up_link = OneWayLink(proxy.plan.random)
        self._up: DelayedWriter | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._audio = AudioFormat()
        self._audio_bytes = 0
        self._request_id: str | None = None
        self._read_after = 0.0
        self._pongs = True
        self._ignores_close = False
        self._is_websocket = False
        self._is_cut = False  # the server's side is ignored

    async def run(self) -> None:
        """Forward the connection until it has ended; leave no task, socket or timer."""
        pumps: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                head = await self._client.readuntil(b"\r\n\r\n")
            self._audio = audio_format(head)
            if self._first is not None:
                self.inject(self._first)
            self._pass("connect")
            if self._ended.is_set():
                return
            server, self._server_writer = await self._proxy.connect()
            self._up = DelayedWriter(self._server_writer, self._up_link)
            self._up.send(upstream_head(head, self._proxy.upstream))
            pumps = [
                asyncio.create_task(self._guard("client", self._pump_up())),
                asyncio.create_task(self._guard("server", self._pump_down(server))),
            ]
            await self._ended.wait()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reset(self._client_writer.transport)
        finally:
            await self._free(pumps)

    def inject(self, action: Action) -> None:
        """Inject a fault now."""
        self._proxy.record(self._faults.number, action)
        now = self._loop.time()
        match action:
            case Reset():
                self._cut(lambda: reset(self._client_writer.transport))
                self._ended.set()
            case Fin():
                self._down.drop()  # bytes in flight are lost
                self._cut(self._client_writer.write_eof)
            case Close():
                self._close(action)
            case Say(lines=lines):
                self._send_lines(lines)
            case Refuse():
                self._cut(lambda: self._down.send(rejection(action)))
                self._down.finish()
                self._ended.set()
            case CloseAll() | Outage():
                self._proxy.inject_all(action)
            case Silence(seconds=seconds, pongs=pongs):
                self._down.link.blocked_until = max(self._down.link.blocked_until, now + seconds)
                self._pongs = self._pongs and pongs
            case Deaf(seconds=seconds):
                self._read_after = max(self._read_after, now + seconds)
            case HalfOpen():
                self._down.link.blocked_until = self._read_after = FOREVER
                self._pongs = False
            case _:
                self._change_link(action)

    def _change_link(self, action: Action) -> None:
        """Apply a fault that changes the link from now on."""
        links = (self._down.link, self._up_link)
        match action:
            case NoPongs():
                self._pongs = False
            case IgnoreClose():
                self._ignores_close = True
            case Slice(size=size):
                self._down.segment_bytes = max(1, size)
            case Join(seconds=seconds):
                self._down.link.join = seconds
            case Latency(seconds=seconds, jitter=jitter):
                for link in links:
                    link.latency, link.jitter = seconds, jitter
            case Throttle(rate=rate):
                for link in links:
                    link.rate = rate
            case _:
                raise AssertionError(action)

    async def _guard(self, sender: str, pump: Coroutine[Any, Any, None]) -> None:
        """Run the pump of one direction; reset the connection if what a peer sent is invalid."""
        try:
            await pump
        except Exception as error:
            self._proxy.record_peer_error(
                self._faults.number, f"the {sender} sent {str(error) or repr(error)}"
            )
            reset(self._client_writer.transport)
            self._ended.set()

    async def _pump_up(self) -> None:
        """Forward frames from the client to the server."""
        frames = FrameReader()
        try:
            while data := await self._client.read(1 << 16):
                await self._wait_until_readable()
                if not self._is_websocket:
                    self._forward(data)
                    continue
                for frame in frames.feed(data):
                    self._pass_up(frame)
        except OSError:
            pass
        self._ended.set()

    async def _pump_down(self, server: asyncio.StreamReader) -> None:
        """Forward frames from the server to the client."""
        frames = FrameReader()
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await server.readuntil(b"\r\n\r\n")
            self._is_websocket = head.split(b" ", 2)[1:2] == [b"101"]
            self._down.send(head)
            if self._is_websocket:
                self._pass("upgrade")
            while data := await server.read(1 << 16):
                if self._is_cut:
                    continue
                if not self._is_websocket:
                    self._down.send(data)
                    continue
                self._pass_down(list(frames.feed(data)))
        if not self._is_cut:
            self._down.finish()
            if self._down.lag() == 0.0:
                self._ended.set()

    def _pass_up(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.BINARY:
                self._pass_audio(frame)
            case Opcode.TEXT if message_type(frame) == "close":
                self._approach("close")
                if not self._ignores_close:
                    self._forward(frame.raw)
                self._reach("close")
            case Opcode.CLOSE if self._is_cut:
                self._ended.set()
            case _:
                self._forward(frame.raw)

    def _pass_audio(self, frame: Frame) -> None:
        """Forward audio up to the exact byte at which a fault is injected."""
        raw, head = frame.raw, frame.head
        while True:
            left = len(raw) - head
            limit = min(
                self._faults.limit("bytes"),
                self._faults.limit("audio") * self._audio.byte_rate,
            )
            size = left if limit >= FOREVER else max(0, min(left, int(limit) - self._audio_bytes))
            self._audio_bytes += size
            self._forward(raw[: head + size])
            raw, head = raw[head + size :], 0
            now = self._loop.time()
            self._faults.measure("bytes", self._audio_bytes, now)
            # One byte more: rounding must not make a fault wait for a byte that is never sent.
            self._faults.measure("audio", (self._audio_bytes + 1) / self._audio.byte_rate, now)
            self._inject_due()
            if not raw or self._is_cut:
                return

    def _pass_down(self, frames: Sequence[Frame]) -> None:
        """Forward frames of one segment in one segment, unless a fault is injected between them."""
        segment: list[bytes] = []

        def flush() -> None:
            if segment and not self._is_cut:
                self._down.send(b"".join(segment))
            segment.clear()

        for frame in frames:
            if frame.opcode in (Opcode.PONG, Opcode.PING):
                self._pass_control(frame)
                continue
            kind = message_type(frame) if frame.opcode == Opcode.TEXT else None
            if kind is not None:
                self._faults.approach(kind, self._loop.time())
                if self._faults.next_time is not None:
                    flush()
                self._inject_due()
            if self._is_cut:
                return
            segment.append(frame.raw)
            if kind is not None:
                self._request_id = self._request_id or message_request_id(frame)
                self._faults.reach(kind, self._loop.time())
                if self._faults.next_time is not None:
                    flush()
                self._inject_due()
        flush()

    def _pass_control(self, frame: Frame) -> None:
        """Forward a ping or pong, ahead of held frames: a silent server is alive."""
        if self._pongs:
            if self._down.link.blocked_until > self._loop.time():
                self._down.send_at_once(frame.raw)
            else:
                self._down.send(frame.raw)

    def _pass(self, point: str) -> None:
        self._approach(point)
        self._reach(point)

    def _approach(self, point: str) -> None:
        self._faults.approach(point, self._loop.time())
        self._inject_due()

    def _reach(self, point: str) -> None:
        self._faults.reach(point, self._loop.time())
        self._inject_due()

    def _inject_due(self) -> None:
        """Inject the faults that are due and set the timer for the next one."""
        for action in self._faults.due(self._loop.time()):
            if not self._ended.is_set():
                self.inject(action)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._faults.next_time is not None and not self._ended.is_set():
            self._timer = self._loop.call_at(self._faults.next_time, self._inject_due)

    def _send_lines(self, lines: Sequence[Line]) -> None:
        items: list[WireItem] = []
        for line in lines:
            match line:
                case Close():
                    if items:
                        self._down.send(encode_items(items))
                    self._close(line)
                    return
                case str() | bytes() | Raw(str() | bytes()):
                    items.append(line.data if isinstance(line, Raw) else line)  # type: ignore[arg-type]
                case Raw(message) | message:
                    items.append(encode(replace(message, request_id=self._request_id)))  # type: ignore[type-var, arg-type]
        self._down.send(encode_items(items))

    def _close(self, close: Close) -> None:
        """Send a close frame and give the client 2 s to close."""
        self._cut(lambda: self._down.send(encode_items([close])))
        if close.code == 1006 or not self._is_websocket:
            self._down.finish()
            self._ended.set()
        else:
            self._loop.call_later(_CLOSE_TIMEOUT, self._ended.set)

    def _cut(self, last: Callable[[], None]) -> None:
        """Send `last` to the client and drop the server's side."""
        if self._is_cut:
            return
        with suppress(OSError, RuntimeError):
            last()
        self._is_cut = True
        if self._server_writer is not None:
            self._server_writer.transport.abort()

    def _forward(self, data: bytes) -> None:
        if self._up is not None and not self._is_cut:
            self._up.send(data)

    async def _wait_until_readable(self) -> None:
        """Wait while the server does not read or a throttled link is full."""
        while True:
            wait = self._read_after - self._loop.time()
            if self._up is not None:
                wait = max(wait, self._up.lag() - _MAX_LAG)
            if wait <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == FOREVER else wait):
                    await self._ended.wait()

    async def _free(self, pumps: Sequence[asyncio.Task[None]]) -> None:
        # Before any await, because stopping the proxy may cancel this.
        writers = [w for w in (self._client_writer, self._server_writer) if w is not None]
        for writer in writers:
            writer.close()
        for pump in pumps:
            pump.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._down.drop()
        if self._up is not None:
            self._up.drop()
        try:
            await asyncio.gather(*pumps, return_exceptions=True)
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                for writer in writers:
                    with suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            pass
        finally:
            for writer in writers:
                writer.transport.abort()
