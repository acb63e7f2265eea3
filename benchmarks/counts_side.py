"""One side of `counts`, counted in this process: run as a script, with the framework and the side.

The clock is virtual and the server is in memory, so that nothing depends on how fast the machine is
or what else it does.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from selectors import DefaultSelector
from statistics import median_low
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.clock_server import EVENT_SECONDS, GOLDEN, THINKING_SECONDS, turns
from cartesia_ink_plugins.testing.virtual_clock import VirtualClock

STREAMS = 2
SETTLE_SECONDS = 3
"""Until all are connected and have begun to receive messages, which is not counted."""
_NOT_COUNTED = (str(Path(__file__).parent), "virtual_clock.py", "time_machine")
_BUFFER_BYTES = 2**16


class Counts:
    """Counts what happens between two times."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.is_counting = False
        self.calls: Counter[str] = Counter()
        self.writes = self.reads = self.passes = 0
        self.hops: list[int] = []
        self.ways: list[int] = []
        self._sent: dict[str, tuple[int, int]] = {}

    def start(self) -> None:
        """Count from now on."""
        self.is_counting = True
        self.writes = self.reads = self.passes = 0
        self.hops.clear()
        self.ways.clear()
        sys.setprofile(self._called)

    def stop(self) -> None:
        """Count no more."""
        sys.setprofile(None)
        self.is_counting = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the calls of the server."""
        sys.setprofile(None)
        yield
        if self.is_counting:
            sys.setprofile(self._called)

    def update_sent(self, words: str) -> None:
        """The server sends an update."""
        self._sent[words.split()[-1]] = self.passes, sum(self.calls.values())

    def received(self, words: str) -> None:
        """The update has become a frame, or an event."""
        passes, calls = self._sent[words.split()[-1]]
        self.hops.append(self.passes - passes)
        self.ways.append(sum(self.calls.values()) - calls)

    def figures(self, seconds: int) -> dict[str, Any]:
        """Return what was counted in so many seconds, for a second of one stream."""
        share = 1 / (STREAMS * seconds)
        return {
            "calls": {layer: number * share for layer, number in self.calls.items()},
            "writes": self.writes * share,
            "reads": self.reads * share,
            "passes": self.passes * share,
            "hops": median_low(self.hops or [0]),
            "way": median_low(self.ways or [0]),
        }

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and not any(part in file for part in _NOT_COUNTED):
            self.calls[_layer(file)] += 1


def _layer(file: str) -> str:
    _, in_package, path = file.partition("cartesia_ink_plugins/")
    if in_package:
        return f"ink {path.split('/')[0]}"
    _, in_package, path = file.partition("site-packages/")
    return path.split("/")[0] if in_package else "Python"


COUNTS = Counts()


class CountingSelector(DefaultSelector):
    """Counts the passes of the event loop: each asks it once."""

    def select(self, timeout: float | None = None) -> list[Any]:
        """See what is ready."""
        COUNTS.passes += 1
        return super().select(timeout)


class MemoryTransport(asyncio.Transport):
    """A connection to a server in memory that plays turns on the clock of the audio."""

    _numbers = count()

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        """Accept a connection."""
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._loop, self._protocol = loop, protocol
        self._server = ServerProtocol()
        self._phase = next(self._numbers) * GOLDEN % 1
        self._turns, self._byte_rate = turns(), 0
        self._received = self._events = 0
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the client writes to its socket."""
        COUNTS.writes += 1
        with COUNTS.paused():
            self._server.receive_data(bytes(data))
            for event in self._server.events_received():
                match event:
                    case Request():
                        query = parse_qs(urlsplit(event.path).query)
                        self._byte_rate = 2 * int(query.get("sample_rate", ["16000"])[0])
                        self._server.send_response(self._server.accept(event))
                        self._server.send_text(b'{"type": "connected", "request_id": "bench"}')
                    case Frame(opcode=Opcode.BINARY):
                        self._audio_received(len(event.data))
            self._send()

    def _audio_received(self, size: int) -> None:
        self._received += size
        seconds = self._received / self._byte_rate
        while seconds / EVENT_SECONDS >= self._events + 1 + self._phase:
            self._events += 1
            self._loop.call_later(random.uniform(0.0, THINKING_SECONDS), self._play)

    def _play(self) -> None:
        with COUNTS.paused():
            if self._is_closed:
                return
            message = next(self._turns)
            event = json.loads(message)
            self._server.send_text(message.encode())
            if event["type"] == "turn.update":
                COUNTS.update_sent(event["transcript"])
            self._send()

    def _send(self) -> None:
        if data := b"".join(self._server.data_to_send()):
            self._loop.call_soon(self._read, data)

    def _read(self, data: bytes) -> None:
        COUNTS.reads += 1
        protocol = self._protocol
        if self._is_closed:
            return
        if isinstance(protocol, asyncio.BufferedProtocol):
            memoryview(protocol.get_buffer(_BUFFER_BYTES))[: len(data)] = data
            protocol.buffer_updated(len(data))
        else:
            protocol.data_received(data)

    def writelines(self, list_of_data: Any) -> None:
        """Take several pieces."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Close at once."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close at once."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._is_closed

    def can_write_eof(self) -> bool:
        """It cannot."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing ever waits."""

    def set_protocol(self, protocol: Any) -> None:
        """Give what is read to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """Who is given what is read."""
        return self._protocol


class MemoryLoop(asyncio.SelectorEventLoop):
    """An event loop all of whose connections lead to servers in memory."""

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """Connect."""
        protocol = protocol_factory()
        transport = MemoryTransport(self, protocol)
        protocol.connection_made(transport)
        return transport, protocol


async def count_frames(
    feed: Callable[[int], Awaitable[object]], frame_seconds: float, seconds: int
) -> dict[str, float]:
    """Give each stream a frame at a time, and count for so many seconds."""
    loop = asyncio.get_running_loop()
    due, at_once = loop.time(), frame_seconds / STREAMS
    for number in range(round((SETTLE_SECONDS + seconds) / frame_seconds)):
        if number == round(SETTLE_SECONDS / frame_seconds):
            COUNTS.start()
        for stream in range(STREAMS):
            await feed(stream)
            due += at_once
            await asyncio.sleep(due - loop.time())
    COUNTS.stop()
    return {}


async def count_pipecat(side: str, seconds: int) -> None:
    """Count in pipelines."""
    from loguru import logger

    from benchmarks.pipecat_side import FRAME_SECONDS, Meter, run_pipelines

    logger.remove()

    class CountingMeter(Meter):
        def received(self, words: str) -> None:
            if COUNTS.is_counting:
                COUNTS.received(words)

        async def run(self, feed: Callable[[int], Awaitable[object]]) -> dict[str, float]:
            return await count_frames(feed, FRAME_SECONDS, seconds)

    await run_pipelines(side, CountingMeter(STREAMS, seconds), "1")


async def count_livekit(side: str, seconds: int) -> None:
    """Count in streams of an STT."""
    import aiohappyeyeballs
    import aiohttp
    from livekit import rtc
    from livekit.agents import stt

    from benchmarks.livekit_side import FRAME_SECONDS, SAMPLE_RATE, make_stt

    async def listen(stream: stt.RecognizeStream) -> None:
        async for event in stream:
            if event.type is stt.SpeechEventType.INTERIM_TRANSCRIPT and COUNTS.is_counting:
                COUNTS.received(event.alternatives[0].text)

    async def no_socket(*_: Any, **__: Any) -> None:
        return None

    aiohappyeyeballs.start_connection = no_socket  # type: ignore[assignment]
    size = round(SAMPLE_RATE * FRAME_SECONDS)
    frame = rtc.AudioFrame(random.randbytes(2 * size), SAMPLE_RATE, 1, size)
    async with aiohttp.ClientSession() as http:
        makes = [make_stt(side, "http://127.0.0.1:1", f"s{n}", http) for n in range(STREAMS)]
        streams = [make.stream() for make in makes]
        listeners = [asyncio.create_task(listen(stream)) for stream in streams]

        async def feed(stream: int) -> None:
            streams[stream].push_frame(frame)

        await count_frames(feed, FRAME_SECONDS, seconds)
        for listener in listeners:
            listener.cancel()
        for stream in streams:
            await stream.aclose()
        for make in makes:
            await make.aclose()


async def main(framework: str, side: str, seconds: str) -> None:
    """Count, and print the figures as JSON."""
    random.seed(0)
    run = count_pipecat if framework == "pipecat" else count_livekit
    with VirtualClock(epoch=1_800_000_000.0):
        await run(side, int(seconds))
    sys.stdout.write(json.dumps(COUNTS.figures(int(seconds))) + "\n")


if __name__ == "__main__":
    asyncio.Runner(loop_factory=lambda: MemoryLoop(CountingSelector())).run(main(*sys.argv[1:]))
