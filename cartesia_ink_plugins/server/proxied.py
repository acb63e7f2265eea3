"""One connection through the fault proxy: two pumps, and faults that strike between them.

client ──frames──▶ _pump_up ──▶ Outlet ──▶ server
client ◀── Outlet ◀── _pump_down ◀──frames── server
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, cast

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.cues import Line
from cartesia_ink_plugins.server.engine import Close, Raw
from cartesia_ink_plugins.server.fault_plan import ConnectionFaults, FaultPlan, Lane
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
from cartesia_ink_plugins.server.heads import (
    audio_format,
    for_server,
    message_id,
    message_kind,
    refusal,
)
from cartesia_ink_plugins.server.outlet import Outlet, reset

_CLOSE_PATIENCE = 2.0
_REQUEST_TIMEOUT = 30.0  # seconds that the head of a request may take
_MOST_LAG = 0.25  # how far a throttled direction may lag before reading stops


class Surroundings(Protocol):
    """What a connection wants of the proxy."""

    plan: FaultPlan
    upstream: str

    def note(self, connection: int, action: Action) -> None:
        """Write down that a fault struck."""

    def complain(self, connection: int, text: str) -> None:
        """Write down why a connection could not be carried."""

    def strike_all(self, action: CloseAll | Outage) -> None:
        """Let a fault strike that is about the whole server."""

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server."""


class ProxiedConnection:
    """Carries one client to the server and lets faults strike."""

    def __init__(
        self,
        proxy: Surroundings,
        faults: ConnectionFaults,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        first: Action | None = None,
    ) -> None:
        """Begin before anything has been read from the client; `first` strikes after that."""
        self._first = first
        self._proxy = proxy
        self._faults = faults
        self._client, self._client_writer = reader, writer
        self._server_writer: asyncio.StreamWriter | None = None
        self._down = Outlet(cast(asyncio.Transport, writer.transport), Lane(proxy.plan.random))
        self._up_lane = Lane(proxy.plan.random)
        self._up: Outlet | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._audio = AudioFormat()
        self._audio_bytes = 0
        self._request_id: str | None = None
        self._deaf_until = 0.0
        self._pongs = True
        self._ignores_close = False
        self._is_websocket = False
        self._cut_off = False  # the server's side is no longer heard

    async def run(self) -> None:
        """Carry the connection until it has ended; leaves nothing behind."""
        pumps: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                head = await self._client.readuntil(b"\r\n\r\n")
            self._audio = audio_format(head)
            if self._first is not None:
                self.strike(self._first)
            self._pass("connect")
            if self._ended.is_set():
                return
            server, self._server_writer = await self._proxy.dial()
            self._up = Outlet(cast(asyncio.Transport, self._server_writer.transport), self._up_lane)
            self._up.send(for_server(head, self._proxy.upstream))
            pumps = [
                asyncio.create_task(self._carry("client", self._pump_up())),
                asyncio.create_task(self._carry("server", self._pump_down(server))),
            ]
            await self._ended.wait()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reset(self._client_writer.transport)
        finally:
            await self._free(pumps)

    def strike(self, action: Action) -> None:
        """Let a fault strike now."""
        self._proxy.note(self._faults.number, action)
        now = self._loop.time()
        match action:
            case Reset():
                self._cut(lambda: reset(self._client_writer.transport))
                self._ended.set()
            case Fin():
                self._down.drop()  # what is still under way comes no more
                self._cut(self._client_writer.write_eof)
            case Close():
                self._close(action)
            case Say(lines=lines):
                self._say(lines)
            case Refuse():
                self._cut(lambda: self._down.send(refusal(action)))
                self._down.finish()
                self._ended.set()
            case CloseAll() | Outage():
                self._proxy.strike_all(action)
            case Silence(seconds=seconds, pongs=pongs):
                self._down.lane.blocked_until = now + seconds
                self._pongs = self._pongs and pongs
            case Deaf(seconds=seconds):
                self._deaf_until = now + seconds
            case HalfOpen():
                self._down.lane.blocked_until = self._deaf_until = FOREVER
                self._pongs = False
            case _:
                self._change_link(action)

    def _change_link(self, action: Action) -> None:
        """Apply a fault that changes how things are carried from now on."""
        lanes = (self._down.lane, self._up_lane)
        match action:
            case NoPongs():
                self._pongs = False
            case IgnoreClose():
                self._ignores_close = True
            case Slice(size=size):
                self._down.slice = max(1, size)
            case Join(seconds=seconds):
                self._down.lane.join = seconds
            case Latency(seconds=seconds, jitter=jitter):
                for lane in lanes:
                    lane.latency, lane.jitter = seconds, jitter
            case Throttle(rate=rate):
                for lane in lanes:
                    lane.rate = rate
            case _:
                raise AssertionError(action)

    async def _carry(self, sender: str, pump: Coroutine[Any, Any, None]) -> None:
        """Carry one direction; what cannot be carried ends the connection, and the test is told."""
        try:
            await pump
        except Exception as error:
            self._proxy.complain(
                self._faults.number, f"the {sender} sent {str(error) or repr(error)}"
            )
            reset(self._client_writer.transport)
            self._ended.set()

    async def _pump_up(self) -> None:
        """Carry frames from the client to the server."""
        frames = FrameReader()
        try:
            while data := await self._client.read(1 << 16):
                await self._wait_to_hear()
                if not self._is_websocket:
                    self._forward(data)
                    continue
                for frame in frames.feed(data):
                    self._pass_up(frame)
        except OSError:
            pass
        self._ended.set()

    async def _pump_down(self, server: asyncio.StreamReader) -> None:
        """Carry frames from the server to the client."""
        frames = FrameReader()
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await server.readuntil(b"\r\n\r\n")
            self._is_websocket = head.split(b" ", 2)[1:2] == [b"101"]
            self._down.send(head)
            if self._is_websocket:
                self._pass("upgrade")
            while data := await server.read(1 << 16):
                if self._cut_off:
                    continue
                if not self._is_websocket:
                    self._down.send(data)
                    continue
                self._pass_down(list(frames.feed(data)))
        if not self._cut_off:
            self._down.finish()
            if self._down.lag() == 0.0:
                self._ended.set()

    def _pass_up(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.BINARY:
                self._pass_audio(frame)
            case Opcode.TEXT if message_kind(frame) == "close":
                self._approach("close")
                if not self._ignores_close:
                    self._forward(frame.raw)
                self._reach("close")
            case Opcode.CLOSE if self._cut_off:
                self._ended.set()
            case _:
                self._forward(frame.raw)

    def _pass_audio(self, frame: Frame) -> None:
        """Carry audio, up to the very byte at which a fault strikes."""
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
            # Rounding must not let a fault wait for a byte that never comes.
            self._faults.measure("audio", (self._audio_bytes + 1) / self._audio.byte_rate, now)
            self._act()
            if not raw or self._cut_off:
                return

    def _pass_down(self, frames: Sequence[Frame]) -> None:
        """Carry frames that came together in one segment, unless a fault comes between them."""
        together: list[bytes] = []

        def flush() -> None:
            if together and not self._cut_off:
                self._down.send(b"".join(together))
            together.clear()

        for frame in frames:
            if frame.opcode in (Opcode.PONG, Opcode.PING):
                self._pass_control(frame)
                continue
            kind = message_kind(frame) if frame.opcode == Opcode.TEXT else None
            if kind is not None:
                self._faults.approach(kind, self._loop.time())
                if self._faults.next_time is not None:
                    flush()
                self._act()
            if self._cut_off:
                return
            together.append(frame.raw)
            if kind is not None:
                self._request_id = self._request_id or message_id(frame)
                self._faults.reach(kind, self._loop.time())
                if self._faults.next_time is not None:
                    flush()
                self._act()
        flush()

    def _pass_control(self, frame: Frame) -> None:
        """Let pings and pongs overtake what is held back: the server is alive, only silent."""
        if self._pongs:
            if self._down.lane.blocked_until > self._loop.time():
                self._down.send_at_once(frame.raw)
            else:
                self._down.send(frame.raw)

    def _pass(self, point: str) -> None:
        self._approach(point)
        self._reach(point)

    def _approach(self, point: str) -> None:
        self._faults.approach(point, self._loop.time())
        self._act()

    def _reach(self, point: str) -> None:
        self._faults.reach(point, self._loop.time())
        self._act()

    def _act(self) -> None:
        """Let the faults strike that are due, and wait for the next one."""
        for action in self._faults.due(self._loop.time()):
            if not self._ended.is_set():
                self.strike(action)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._faults.next_time is not None and not self._ended.is_set():
            self._timer = self._loop.call_at(self._faults.next_time, self._act)

    def _say(self, lines: Sequence[Line]) -> None:
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
        """Close as the server would: a close frame, then some patience with the client."""
        self._cut(lambda: self._down.send(encode_items([close])))
        if close.code == 1006 or not self._is_websocket:
            self._down.finish()
            self._ended.set()
        else:
            self._loop.call_later(_CLOSE_PATIENCE, self._ended.set)

    def _cut(self, farewell: Callable[[], None]) -> None:
        """Say farewell to the client; the server sees the connection break."""
        if self._cut_off:
            return
        with suppress(OSError, RuntimeError):
            farewell()
        self._cut_off = True
        if self._server_writer is not None:
            self._server_writer.transport.abort()

    def _forward(self, data: bytes) -> None:
        if self._up is not None and not self._cut_off:
            self._up.send(data)

    async def _wait_to_hear(self) -> None:
        """Stop reading while the server is deaf or a throttled link is full."""
        while True:
            wait = self._deaf_until - self._loop.time()
            if self._up is not None:
                wait = max(wait, self._up.lag() - _MOST_LAG)
            if wait <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait == FOREVER else wait):
                    await self._ended.wait()

    async def _free(self, pumps: Sequence[asyncio.Task[None]]) -> None:
        # What cannot wait comes first: whoever stops the proxy may cancel this too.
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
            async with asyncio.timeout(_CLOSE_PATIENCE):
                for writer in writers:
                    with suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            pass
        finally:
            for writer in writers:
                writer.transport.abort()
