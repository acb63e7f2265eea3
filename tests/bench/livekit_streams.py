"""What a stream costs in LiveKit, ours beside the built-in plugin: `make bench-livekit`.

Many streams at once are fed like rooms feed them: 24 kHz, frames of 50 ms, in real time, out of
step with one another because no two callers call in the same instant. Every measurement is a
process of its own on one core, with the server in another process on another core; makes take
turns, and medians are shown. The processor time of a recogniser that does nothing is taken off, so
that what is left is the plugin and its socket.

    CPU     milliseconds of processor time for a second of one stream's audio
    event   milliseconds from the server's sending a message to the SpeechEvent
    wait    milliseconds from a frame's being handed in, when its 50 ms are over, until all of it is
            at the server: what the plugin holds it back, and the way through both event loops
    memory  kilobytes that a stream adds to the process
    reply   milliseconds from `turn.end` to the first sound of the reply, in a session whose LLM and
            voice take no time
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import statistics
import sys
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import numpy as np
from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, stt
from livekit.plugins import cartesia

from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.server.engine import Emit, TurnThresholds
from cartesia_ink_plugins.testing import InkServer, Script, Turn
from tests.livekit.harness import call

RATE, FRAME = 24_000, 0.05
UPDATE_EVERY = 0.5
UPDATES_IN_A_TURN = 6
CONNECTING = 1.5
GOLDEN = (5**0.5 - 1) / 2
MAKES = ("nothing", "builtin", "ink")
REPLIES = 5
_CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement.

    Attributes:
        cpu: Milliseconds of processor time per second of audio of one stream.
        event_p50: Milliseconds from the server's sending to the SpeechEvent, median.
        event_p99: The same, 99th percentile.
        wait_mean: Milliseconds from a frame's being pushed to its arrival at the server.
        wait_p99: The same, 99th percentile.
        memory: Kilobytes per stream.
    """

    cpu: float
    event_p50: float = 0.0
    event_p99: float = 0.0
    wait_mean: float = 0.0
    wait_p99: float = 0.0
    memory: float = 0.0


class ClockEngine:
    """Hears nothing; says what time it is, and writes down when audio came."""

    def __init__(self) -> None:
        self.arrivals: dict[str, list[tuple[float, float]]] = {}

    def open(
        self,
        format: AudioFormat,
        thresholds: TurnThresholds,
        emit: Emit,
        *,
        keyterms: Sequence[str] = (),
    ) -> ClockEar:
        arrivals = self.arrivals.setdefault(keyterms[0], [])
        return ClockEar(format, emit, arrivals)

    async def aclose(self) -> None:
        """Nothing is held."""


class ClockEar:
    """One connection of the `ClockEngine`: a turn every few seconds, with the time as its text."""

    def __init__(
        self, format: AudioFormat, emit: Emit, arrivals: list[tuple[float, float]]
    ) -> None:
        self._format, self._emit, self._arrivals = format, emit, arrivals
        self._size = 0
        self._updates = 0
        self._text = ""

    def hear(self, pcm: bytes) -> None:
        self._size += len(pcm)
        position = self._format.seconds(self._size)
        self._arrivals.append((position, time.monotonic()))
        if position < UPDATE_EVERY * (self._updates + 1):
            return
        self._updates += 1
        place = self._updates % UPDATES_IN_A_TURN
        if place == 0:
            self._emit([TurnEnd(self._text)])
        else:
            # Append-only, as the service's text is.
            self._text = f"{self._text if place > 1 else ''} {time.monotonic_ns()}"
            self._emit([*([TurnStart()] if place == 1 else []), TurnUpdate(self._text)])

    def configure(self, settings: TurnThresholds) -> None:
        """Thresholds change nothing."""

    async def close(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        """Nothing is held."""


async def serve() -> None:
    """Be the server; tell the URL, and at the end of standard input all arrivals."""
    _pin(-1)
    engine = ClockEngine()
    if len(_CORES) > 1:
        _stay_awake(asyncio.get_running_loop())
    async with InkServer(engine) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(engine.arrivals), flush=True)


def _stay_awake(loop: asyncio.AbstractEventLoop) -> None:
    """Never sleep: on one machine, whoever sends pays for waking who receives."""
    loop.call_soon(_stay_awake, loop)


class Nothing(stt.STT[Any]):
    """A recogniser that takes frames and does nothing."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))

    def stream(self, **_: Any) -> stt.RecognizeStream:
        return _NothingStream(stt=self, conn_options=DEFAULT_API_CONNECT_OPTIONS)

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError


class _NothingStream(stt.RecognizeStream):
    async def _run(self) -> None:
        async for _ in self._input_ch:
            pass


class Load:
    """Streams of one make, fed in real time."""

    def __init__(self, make: str, url: str, streams: int, seconds: float) -> None:
        self._make, self._url = make, url
        self._streams, self._frames = streams, int(seconds / FRAME)
        self.pushes: dict[str, list[float]] = {}
        self.delays: list[float] = []
        noise = np.random.default_rng(0).normal(0, 300, int(RATE * FRAME))
        self._pcm = noise.astype("<i2").tobytes()

    async def run(self) -> tuple[float, float]:
        """Feed every stream; return processor seconds and kilobytes of memory they took."""
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            gc.collect()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            recognisers = [
                _recogniser(self._make, self._url, f"s{n}", http) for n in range(self._streams)
            ]
            tasks = [
                asyncio.create_task(self._stream(f"s{n}", recogniser, n * GOLDEN % 1))
                for n, recogniser in enumerate(recognisers)
            ]
            # Connecting is not measured.
            await asyncio.sleep(CONNECTING)
            cpu = time.process_time()
            await asyncio.gather(*tasks)
            cpu = time.process_time() - cpu
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        return cpu, memory

    async def _stream(self, name: str, recogniser: stt.STT[Any], phase: float) -> None:
        stream = recogniser.stream()
        listening = asyncio.create_task(self._listen(stream))
        pushes = self.pushes[name] = []
        try:
            await asyncio.sleep(phase * UPDATE_EVERY)
            frame = rtc.AudioFrame(self._pcm, RATE, 1, int(RATE * FRAME))
            stream.push_frame(frame)
            pushes.append(time.monotonic())
            await asyncio.sleep(CONNECTING)
            began = time.monotonic()
            for count in range(1, self._frames + 1):
                await asyncio.sleep(began + count * FRAME - time.monotonic())
                pushes.append(time.monotonic())
                stream.push_frame(frame)
        finally:
            listening.cancel()
            await stream.aclose()
            await recogniser.aclose()

    async def _listen(self, stream: stt.RecognizeStream) -> None:
        async for event in stream:
            if event.type is stt.SpeechEventType.INTERIM_TRANSCRIPT:
                sent = int(event.alternatives[0].text.rpartition(" ")[2])
                self.delays.append((time.monotonic_ns() - sent) / 1e6)


async def measure(make: str, streams: int, seconds: float) -> Figures:
    """Take one measurement, with a server of its own."""
    async with _server() as process:
        # Only now: the server's process would inherit it.
        _pin(0)
        assert process.stdin
        assert process.stdout
        url = (await process.stdout.readline()).decode().strip()
        load = Load(make, url, streams, seconds)
        cpu, memory = await load.run()
        process.stdin.close()
        arrivals: dict[str, list[tuple[float, float]]] = json.loads(await process.stdout.read())
    per_second = 1000 * cpu / (streams * seconds)
    if make == "nothing":
        return Figures(per_second)
    waits = [wait for name in arrivals for wait in _waits(load.pushes[name], arrivals[name])]
    return Figures(
        cpu=per_second,
        event_p50=_percentile(load.delays, 50),
        event_p99=_percentile(load.delays, 99),
        wait_mean=statistics.fmean(waits),
        wait_p99=_percentile(waits, 99),
        memory=memory / streams,
    )


async def replies(make: str) -> list[float]:
    """Milliseconds from the end of each of some turns to its reply."""
    script = Script(*[Turn("Hello there.", gap=0.5, after=1.5) for _ in range(REPLIES)])
    async with InkServer(script) as server, aiohttp.ClientSession() as http:
        recogniser = _recogniser(make, server.url, "reply", http)
        async with call(recogniser) as running:
            await running.microphone.speak(script.audio(AudioFormat(sample_rate=RATE)))
            await running.answered(REPLIES)
        await recogniser.aclose()
    return [1000 * delay for delay in running.reply_delays]


def _recogniser(make: str, url: str, name: str, http: aiohttp.ClientSession) -> stt.STT[Any]:
    match make:
        case "ink":
            return ink.STT(api_key="bench", base_url=url, keyterm=[name])
        case "builtin":
            return cartesia.STT(api_key="bench", base_url=url, keyterm=[name], http_session=http)
        case _:
            return Nothing()


def _waits(pushes: Sequence[float], arrivals: Sequence[tuple[float, float]]) -> list[float]:
    """For each frame, milliseconds from being pushed to being at the server as a whole."""
    positions = [position for position, _ in arrivals]
    waits = []
    for count, pushed in enumerate(pushes, start=1):
        # Resampling may swallow a sample or two.
        place = bisect_left(positions, count * FRAME - 0.001)
        # The first frames waited for the connection, the last for the end of the stream.
        if count > 1 and place < len(arrivals):
            waits.append(1000 * (arrivals[place][1] - pushed))
    return waits


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __spec__.name,
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 28,
    )
    try:
        yield process
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise
    finally:
        await process.wait()


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def _pin(core: int) -> None:
    os.sched_setaffinity(0, {_CORES[core]})


async def compare(streams: Sequence[int], seconds: float, rounds: int) -> None:
    """Measure all makes in turn, each in a process of its own, and print the table."""
    head = ("streams", "plugin", "CPU ms/s", "× built-in", "event p50", "p99", "wait mean", "p99")
    print("".join(f"{title:>12}" for title in (*head, "KB/stream")))
    for count in streams:
        taken: dict[str, list[Figures]] = {make: [] for make in MAKES}
        for _ in range(rounds):
            for make in MAKES:
                taken[make].append(await _in_a_process(make, count, seconds))
        base = statistics.median(figures.cpu for figures in taken["nothing"])
        builtin = _median(taken["builtin"], base)
        for make in MAKES[1:]:
            figures = _median(taken[make], base)
            values = list(asdict(figures).values())
            row = [values[0], values[0] / builtin.cpu, *values[1:]]
            print(f"{count:>12}{make:>12}" + "".join(f"{value:>12.2f}" for value in row))
    for make in MAKES[1:]:
        delays = await replies(make)
        print(f"reply {statistics.median(delays):.0f} ms after turn.end, {make}")


def _median(taken: Sequence[Figures], base: float) -> Figures:
    columns = zip(*(asdict(figures).values() for figures in taken), strict=True)
    cpu, *others = (statistics.median(column) for column in columns)
    return Figures(cpu - base, *others)


async def _in_a_process(make: str, streams: int, seconds: float) -> Figures:
    arguments = ["-m", __spec__.name, "--measure", make, str(streams), str(seconds)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return Figures(**json.loads(output.splitlines()[-1]))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 50, 100, 200])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
    elif arguments.measure:
        make, streams, seconds = arguments.measure
        print(json.dumps(asdict(asyncio.run(measure(make, int(streams), float(seconds))))))
    else:
        asyncio.run(compare(arguments.streams, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
