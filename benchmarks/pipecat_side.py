"""One side of `pipecat_streams`, measured in this process: run as a script.

Imports nothing of `benchmarks`, so that the package it measures may be that of another checkout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

FRAME_SECONDS = 0.02
_SAMPLE_RATE = 16_000
_SETTLE_SECONDS = 1.5
"""Until all are connected, which is not measured."""
_PHASES = 20
"""Instants in a frame's 20 ms at which frames are handed in: timers have a resolution of 1 ms."""


class Meter:
    """Feeds frames in real time, and reads the meters before and after."""

    def __init__(self, streams: int, seconds: float) -> None:
        """Read how much memory there is before the streams."""
        self.streams = streams
        self.seconds = seconds
        self.delays: list[int] = []
        self.memory = _resident()

    def received(self, words: str) -> None:
        """Note how old the newest word is."""
        self.delays.append(time.monotonic_ns() - int(words.split()[-1]))

    async def run(self, feed: Callable[[int], Awaitable[object]]) -> dict[str, float]:
        """Give each stream a frame every 20 ms, but not all of them at the same instant."""
        await asyncio.sleep(_SETTLE_SECONDS)
        gc.collect()
        phases = [range(phase, self.streams, _PHASES) for phase in range(_PHASES)][: self.streams]
        before, due = time.process_time(), time.perf_counter()
        for _ in range(round(self.seconds / FRAME_SECONDS)):
            for phase in phases:
                for stream in phase:
                    await feed(stream)
                due += FRAME_SECONDS / len(phases)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
        cpu = time.process_time() - before
        gc.collect()
        memory = (_resident() - self.memory) / self.streams
        delays = sorted(self.delays) or [0]
        return {
            "cpu": cpu * 1000 / (self.streams * self.seconds),
            "p50": delays[len(delays) // 2] / 1e6,
            "p99": delays[min(len(delays) - 1, len(delays) * 99 // 100)] / 1e6,
            "memory": memory,
        }


def _resident() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _noise() -> bytearray:
    """To be copied for every frame: no two of a caller are one object, and keeping them costs."""
    import numpy as np

    noise = np.random.default_rng(0).normal(0, 300, int(_SAMPLE_RATE * FRAME_SECONDS))
    return bytearray(noise.astype("<i2").tobytes())


async def _bare(meter: Meter, port: str) -> dict[str, float]:
    """Nothing but sockets."""
    from websockets.asyncio.client import ClientConnection, connect

    async def listen(connection: ClientConnection) -> None:
        async for message in connection:
            event = json.loads(message)
            if event["type"] == "turn.update":
                meter.received(event["transcript"])

    sockets = [
        await connect(f"ws://127.0.0.1:{port}", compression=None) for _ in range(meter.streams)
    ]
    listeners = [asyncio.create_task(listen(socket)) for socket in sockets]
    pcm = _noise()

    cost = await meter.run(lambda stream: sockets[stream].send(bytes(pcm)))
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*(socket.close() for socket in sockets))
    return cost


async def run_pipelines(side: str, meter: Meter, port: str) -> dict[str, float]:
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
                meter.received(frame.text)
            await self.push_frame(frame, direction)

    runner = WorkerRunner(handle_sigint=False)
    workers = [
        PipelineWorker(
            Pipeline([_service(side, f"ws://127.0.0.1:{port}"), Sink()]),
            params=PipelineParams(audio_in_sample_rate=_SAMPLE_RATE),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            enable_turn_tracking=False,
        )
        for _ in range(meter.streams)
    ]
    for worker in workers:
        await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    pcm = _noise()

    cost = await meter.run(
        lambda stream: workers[stream].queue_frame(InputAudioRawFrame(bytes(pcm), _SAMPLE_RATE, 1))
    )
    await asyncio.gather(*(worker.cancel() for worker in workers))
    await running
    return cost


def _service(side: str, url: str) -> Any:
    match side:
        case "ours":
            from cartesia_ink_plugins.pipecat import InkTurnsSTTService

            return InkTurnsSTTService(api_key="bench", url=url)
        case "ours-40ms":
            from cartesia_ink_plugins import Resilience
            from cartesia_ink_plugins.pipecat import InkTurnsSTTService

            # It has had two names.
            names = {field.name for field in fields(Resilience)}
            [name] = names & {"coalesce", "min_message_seconds"}
            options: dict[str, Any] = {name: 2 * FRAME_SECONDS}
            resilience = Resilience(**options)
            return InkTurnsSTTService(api_key="bench", url=url, resilience=resilience)
        case "built-in":
            from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService

            return CartesiaTurnsSTTService(
                api_key="bench", url=f"{url}/stt/turns/websocket", enable_eager_end_of_turn=True
            )
        case "floor":
            return _floor(url)
    from pipecat.services.settings import STTSettings
    from pipecat.services.stt_service import STTService

    class NoOp(STTService):
        async def run_stt(self, audio: bytes) -> Any:
            yield None

    return NoOp(settings=STTSettings(model=None, language=None))


def _floor(url: str) -> Any:
    """The least that a service on this base class and `websockets` can do."""
    from pipecat.frames.frames import (
        EagerTranscriptionFrame,
        InterimTranscriptionFrame,
        ProposedUserStartedSpeakingFrame,
        ProposedUserStoppedSpeakingFrame,
        TranscriptionFrame,
    )
    from pipecat.services.settings import STTSettings
    from pipecat.services.stt_service import STTService
    from websockets.asyncio.client import connect

    texts = {
        "turn.update": InterimTranscriptionFrame,
        "turn.eager_end": EagerTranscriptionFrame,
        "turn.end": TranscriptionFrame,
    }

    class Floor(STTService):
        async def setup(self, setup: Any) -> None:
            await super().setup(setup)
            self.socket = await connect(url, compression=None)
            self.listener = self.create_task(self.listen())

        async def listen(self) -> None:
            async for message in self.socket:
                event = json.loads(message)
                kind = event["type"]
                if kind == "turn.start":
                    await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
                if make := texts.get(kind):
                    await self.push_frame(make(event["transcript"], "", "", None, event))
                if kind == "turn.end":
                    await self.broadcast_frame(ProposedUserStoppedSpeakingFrame)

        async def run_stt(self, audio: bytes) -> Any:
            await self.socket.send(audio)
            yield None

        async def cancel(self, frame: Any) -> None:
            await super().cancel(frame)
            await self.cancel_task(self.listener)
            await self.socket.close()

    return Floor(settings=STTSettings(model=None, language=None))


def main(side: str, streams: str, seconds: str, port: str) -> None:
    """Measure one side, and print what it cost as JSON."""
    from loguru import logger

    logger.remove()
    if side != "websockets":
        _service(side, "ws://127.0.0.1:1")  # so that imports are not counted as memory of streams
    meter = Meter(int(streams), float(seconds))
    run = _bare(meter, port) if side == "websockets" else run_pipelines(side, meter, port)
    sys.stdout.write(json.dumps(asyncio.run(run)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
