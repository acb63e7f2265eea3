"""What a stream costs in a Pipecat pipeline: ours, the built-in one, none, and a bare socket.

A server in a process of its own plays turns on the clock of the audio it is sent, so that every
side has the same work to do, however loaded the machine is. Each measurement is a process of its
own, too, held to one core; the server has the others. The sides take turns, and the medians of the
rounds are what counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SIDES = ("websockets", "no-op", "built-in", "ours", "ours, 40 ms")
"""The last one gathers two frames into one message, at the price of 10 ms of delay."""

_FRAME = 0.02
_RATE = 16_000
_AUDIO_PER_EVENT = _RATE * 2 // 10
_UPDATES_PER_TURN = 10
_SETTLE = 1.5
_PHASES = 10
# Milliseconds of CPU in a second; with more than that, frames queue for the core.
_BUSY = 700.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one side cost in one round.

    Attributes:
        cpu: Milliseconds of CPU per second of one stream.
        p50: Median time from a server's event to the frame at the next processor, milliseconds.
        p99: 99th percentile of it.
        memory: KiB of resident memory per stream, at the end of the round.
    """

    cpu: float
    p50: float
    p99: float
    memory: float


def measure(
    streams: int, seconds: float, rounds: int, sides: Sequence[str] = SIDES
) -> dict[str, Cost]:
    """Measure sides, in turns.

    Args:
        streams: How many streams at once.
        seconds: How long each round lasts.
        rounds: How many times each side takes its turn.
        sides: Which of `SIDES`.

    Returns:
        The medians, by side.
    """
    cores = sorted(os.sched_getaffinity(0))
    results: dict[str, list[Cost]] = {side: [] for side in sides}
    with _process(["serve"], cores[1:] or cores) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        try:
            for _ in range(rounds):
                for side in sides:
                    job = _process([side, str(streams), str(seconds), port], cores[:1])
                    out, _ = job.communicate()
                    results[side].append(Cost(**json.loads(out.splitlines()[-1])))
        finally:
            server.terminate()
    return {side: _median(costs) for side, costs in results.items()}


def report(streams: int, costs: dict[str, Cost]) -> str:
    """The table of one number of streams."""
    lines = [
        f"{streams} streams of {_FRAME * 1000:.0f} ms frames",
        f"  {'':12}{'CPU ms/stream-s':>16}{'event p50 ms':>14}{'p99 ms':>9}{'KiB/stream':>12}",
    ]
    for side, cost in costs.items():
        times = f"{cost.p50:14.2f}{cost.p99:9.2f}" if cost.p99 else f"{'-':>14}{'-':>9}"
        lines.append(f"  {side:12}{cost.cpu:16.2f}{times}{cost.memory:12.0f}")
    ours, theirs = costs["ours"], costs["built-in"]
    lines.append(
        f"  ours / built-in: CPU {ours.cpu / theirs.cpu:.2f}, p50 {ours.p50 / theirs.p50:.2f}, "
        f"p99 {ours.p99 / theirs.p99:.2f}, memory {ours.memory / max(theirs.memory, 1):.2f}"
    )
    if busy := [side for side, cost in costs.items() if cost.cpu * streams > _BUSY]:
        lines.append(f"  The core was too busy for times to mean much: {', '.join(busy)}")
    return "\n".join(lines)


def _median(costs: Sequence[Cost]) -> Cost:
    fields = [asdict(cost) for cost in costs]
    return Cost(**{name: statistics.median(f[name] for f in fields) for name in fields[0]})


def _process(arguments: list[str], cores: Sequence[int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "INK_BENCH_CORES": ",".join(map(str, cores))},
    )


# -- in the server's process ----------------------------------------------------------------------


async def _serve(*, has_own_core: bool) -> None:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def handle(connection: ServerConnection) -> None:
        await connection.send(_message("connected"))
        player, received = _play(), 0
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, str):
                    break
                received += len(message)
                while received >= _AUDIO_PER_EVENT:
                    received -= _AUDIO_PER_EVENT
                    # The service thinks, too: its events come at any time between two frames.
                    await asyncio.sleep(random.uniform(0.0, _FRAME))
                    await connection.send(next(player))

    if has_own_core:
        _stay_awake(asyncio.get_running_loop())
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


def _stay_awake(loop: asyncio.AbstractEventLoop) -> None:
    """Never sleep: on one machine, whoever sends pays for waking who receives."""
    loop.call_soon(_stay_awake, loop)


def _play() -> Iterator[str]:
    """A message for each tenth of a second: turns whose text is the times it was sent at."""
    while True:
        yield _message("turn.start")
        text = ""
        for _ in range(_UPDATES_PER_TURN):
            text += f" {time.monotonic_ns()}"
            yield _message("turn.update", transcript=text)
        yield _message("turn.eager_end", transcript=text)
        yield _message("turn.end", transcript=text)


def _message(kind: str, **fields: str) -> str:
    return json.dumps({"type": kind, **fields, "request_id": "bench"})


# -- in the process that is measured --------------------------------------------------------------


class _Clock:
    """Feeds frames in real time, and reads the meters before and after."""

    def __init__(self, streams: int, seconds: float) -> None:
        self.streams = streams
        self.seconds = seconds
        self.delays: list[int] = []
        self.memory = _resident()

    def take(self, text: str) -> None:
        self.delays.append(time.monotonic_ns() - int(text.split()[-1]))

    async def run(self, feed: Callable[[int], Awaitable[object]]) -> Cost:
        """Give each stream a frame every 20 ms, but not all of them at the same instant."""
        await asyncio.sleep(_SETTLE)
        gc.collect()
        phases = [range(phase, self.streams, _PHASES) for phase in range(_PHASES)][: self.streams]
        before, due = time.process_time(), time.perf_counter()
        for _ in range(round(self.seconds / _FRAME)):
            for phase in phases:
                for stream in phase:
                    await feed(stream)
                due += _FRAME / len(phases)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        cpu = time.process_time() - before
        gc.collect()
        memory = (_resident() - self.memory) / self.streams
        delays = sorted(self.delays) or [0]
        return Cost(
            cpu=cpu * 1000 / (self.streams * self.seconds),
            p50=delays[len(delays) // 2] / 1e6,
            p99=delays[min(len(delays) - 1, len(delays) * 99 // 100)] / 1e6,
            memory=memory,
        )


def _resident() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _noise() -> bytearray:
    """To be copied for every frame: no two of a caller are one object, and keeping them costs."""
    import numpy as np

    noise = np.random.default_rng(0).normal(0, 300, int(_RATE * _FRAME))
    return bytearray(noise.astype("<i2").tobytes())


async def _bare(clock: _Clock, port: str) -> Cost:
    """Nothing but sockets."""
    from websockets.asyncio.client import ClientConnection, connect

    async def listen(connection: ClientConnection) -> None:
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "turn.update":
                clock.take(event["transcript"])

    sockets = [
        await connect(f"ws://127.0.0.1:{port}", compression=None) for _ in range(clock.streams)
    ]
    listeners = [asyncio.create_task(listen(socket)) for socket in sockets]
    pcm = _noise()

    cost = await clock.run(lambda stream: sockets[stream].send(bytes(pcm)))
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*(socket.close() for socket in sockets))
    return cost


async def _pipelines(side: str, clock: _Clock, port: str) -> Cost:
    """A pipeline for every stream: the service, and a processor that takes the time."""
    from pipecat.frames.frames import Frame, InputAudioRawFrame, InterimTranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.workers.runner import WorkerRunner

    class Sink(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InterimTranscriptionFrame):
                clock.take(frame.text)
            await self.push_frame(frame, direction)

    runner = WorkerRunner(handle_sigint=False)
    workers = [
        PipelineWorker(
            Pipeline([_service(side, f"ws://127.0.0.1:{port}"), Sink()]),
            params=PipelineParams(audio_in_sample_rate=_RATE),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            enable_turn_tracking=False,
        )
        for _ in range(clock.streams)
    ]
    for worker in workers:
        await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    pcm = _noise()

    cost = await clock.run(
        lambda stream: workers[stream].queue_frame(InputAudioRawFrame(bytes(pcm), _RATE, 1))
    )
    await asyncio.gather(*(worker.cancel() for worker in workers))
    await running
    return cost


def _service(side: str, url: str) -> Any:
    if side.startswith("ours"):
        from cartesia_ink_plugins.core.options import Resilience
        from cartesia_ink_plugins.pipecat import InkTurnsSTTService

        resilience = Resilience(coalesce=0.0 if side == "ours" else 2 * _FRAME)
        return InkTurnsSTTService(api_key="bench", url=url, resilience=resilience)
    if side == "built-in":
        from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService

        return CartesiaTurnsSTTService(
            api_key="bench", url=f"{url}/stt/turns/websocket", enable_eager_end_of_turn=True
        )
    from pipecat.services.settings import STTSettings
    from pipecat.services.stt_service import STTService

    class NoOp(STTService):
        async def run_stt(self, audio: bytes) -> Any:
            yield None

    return NoOp(settings=STTSettings(model=None, language=None))


def _main(arguments: list[str]) -> None:
    cores = [int(core) for core in os.environ["INK_BENCH_CORES"].split(",")]
    has_own_core = len(cores) < len(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores)
    if arguments == ["serve"]:
        asyncio.run(_serve(has_own_core=has_own_core))
        return
    from loguru import logger

    logger.remove()
    side, streams, seconds, port = arguments
    if side != "websockets":
        _service(side, "ws://127.0.0.1:1")  # so that imports are not counted as memory of streams
    clock = _Clock(int(streams), float(seconds))
    run = _bare(clock, port) if side == "websockets" else _pipelines(side, clock, port)
    sys.stdout.write(json.dumps(asdict(asyncio.run(run))) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
