"""One side of `livekit_streams`, measured in this process: run as a script.

Imports nothing of `benchmarks`, so that the package it measures may be that of another checkout.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, LanguageCode, stt
from websockets.asyncio.client import ClientConnection, connect

SAMPLE_RATE = 24_000
FRAME_SECONDS = 0.05
_CONNECT_SECONDS = 1.5
"""Until all are connected, which is not measured."""
_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, modulo 1, are spread evenly, however many there are."""


class Nothing(stt.STT[Any]):
    """Takes frames and does nothing."""

    def __init__(self) -> None:
        """Promise what a streaming STT promises."""
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))

    def stream(self, **_: Any) -> stt.RecognizeStream:
        """Begin to take frames."""
        return _NothingStream(stt=self, conn_options=DEFAULT_API_CONNECT_OPTIONS)

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError


class _NothingStream(stt.RecognizeStream):
    async def _run(self) -> None:
        async for _ in self._input_ch:
            pass


class Floor(stt.STT[Any]):
    """The least that an STT on this base class and `websockets` can do.

    It sends each frame at once, and makes an event of each message.
    """

    def __init__(self, url: str) -> None:
        """Connect to a URL when a stream begins."""
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.url = url

    def stream(self, **_: Any) -> stt.RecognizeStream:
        """Begin to take frames."""
        return _FloorStream(stt=self, conn_options=DEFAULT_API_CONNECT_OPTIONS)

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise NotImplementedError


class _FloorStream(stt.RecognizeStream):
    _stt: Floor

    async def _run(self) -> None:
        async with connect(self._stt.url, compression=None) as socket:
            listening = asyncio.create_task(self._listen(socket))
            try:
                async for item in self._input_ch:
                    if isinstance(item, rtc.AudioFrame):
                        await socket.send(item.data.tobytes())
            finally:
                listening.cancel()

    async def _listen(self, socket: ClientConnection) -> None:
        kinds = {
            "turn.start": stt.SpeechEventType.START_OF_SPEECH,
            "turn.update": stt.SpeechEventType.INTERIM_TRANSCRIPT,
            "turn.eager_end": stt.SpeechEventType.PREFLIGHT_TRANSCRIPT,
            "turn.end": stt.SpeechEventType.FINAL_TRANSCRIPT,
        }
        async for message in socket:
            event = json.loads(message)
            if kind := kinds.get(event["type"]):
                data = stt.SpeechData(LanguageCode("en"), event.get("transcript", ""))
                self._event_ch.send_nowait(stt.SpeechEvent(kind, alternatives=[data]))


def make_stt(side: str, url: str, name: str, http: aiohttp.ClientSession) -> stt.STT[Any]:
    """The STT of a side; the server knows its streams by their keyterm."""
    match side:
        case "ours":
            from cartesia_ink_plugins import livekit as ink

            return ink.STT(api_key="bench", base_url=url, keyterm=[name])
        case "built-in":
            from livekit.plugins import cartesia

            return cartesia.STT(api_key="bench", base_url=url, keyterm=[name], http_session=http)
        case "floor":
            query = urlencode({"sample_rate": SAMPLE_RATE, "keyterm": name})
            return Floor(f"{url.replace('http', 'ws', 1)}?{query}")
        case _:
            return Nothing()


class Load:
    """Streams of one side, fed in real time.

    Attributes:
        pushes: When each frame was handed in, in seconds of the monotonic clock, by stream.
        delays: Milliseconds from the server's sending a message to its SpeechEvent.
    """

    def __init__(self, side: str, url: str, streams: int, seconds: float) -> None:
        """Prepare."""
        self._side, self._url = side, url
        self._streams, self._frames = streams, int(seconds / FRAME_SECONDS)
        self.pushes: dict[str, list[float]] = {}
        self.delays: list[float] = []
        noise = np.random.default_rng(0).normal(0, 300, int(SAMPLE_RATE * FRAME_SECONDS))
        self._pcm = noise.astype("<i2").tobytes()

    async def run(self) -> tuple[float, float]:
        """Feed every stream; return the seconds of CPU and the KiB of memory they took."""
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            gc.collect()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            names = [f"s{number}" for number in range(self._streams)]
            makes = [make_stt(self._side, self._url, name, http) for name in names]
            streams = [make.stream() for make in makes]
            listening = [asyncio.create_task(self._listen(stream)) for stream in streams]
            feeding = [
                asyncio.create_task(self._feed(name, stream, number * _GOLDEN % 1))
                for number, (name, stream) in enumerate(zip(names, streams, strict=True))
            ]
            await asyncio.sleep(_CONNECT_SECONDS)
            cpu = time.process_time()
            await asyncio.gather(*feeding)
            cpu = time.process_time() - cpu
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            for task in listening:
                task.cancel()
            await asyncio.gather(*(stream.aclose() for stream in streams))
            await asyncio.gather(*(make.aclose() for make in makes))
        return cpu, memory

    async def _feed(self, name: str, stream: stt.RecognizeStream, phase: float) -> None:
        pushes = self.pushes[name] = []
        await asyncio.sleep(phase * FRAME_SECONDS)
        samples = int(SAMPLE_RATE * FRAME_SECONDS)
        frame = rtc.AudioFrame(self._pcm, SAMPLE_RATE, 1, samples)
        stream.push_frame(frame)
        pushes.append(time.monotonic())
        await asyncio.sleep(_CONNECT_SECONDS)
        began = time.monotonic()
        for count in range(1, self._frames + 1):
            await asyncio.sleep(began + count * FRAME_SECONDS - time.monotonic())
            pushes.append(time.monotonic())
            stream.push_frame(frame)

    async def _listen(self, stream: stt.RecognizeStream) -> None:
        async for event in stream:
            if event.type is stt.SpeechEventType.INTERIM_TRANSCRIPT:
                sent = int(event.alternatives[0].text.rpartition(" ")[2])
                self.delays.append((time.monotonic_ns() - sent) / 1e6)


async def measure(side: str, streams: int, seconds: float, port: str) -> dict[str, Any]:
    """Measure one side."""
    load = Load(side, f"http://127.0.0.1:{port}", streams, seconds)
    cpu, memory = await load.run()
    return {
        "cpu": 1000 * cpu / (streams * seconds),
        "memory": memory / streams,
        "delays": load.delays,
        "pushes": load.pushes,
    }


if __name__ == "__main__":
    side, streams, seconds, port = sys.argv[1:]
    figures = asyncio.run(measure(side, int(streams), float(seconds), port))
    sys.stdout.write(json.dumps(figures) + "\n")
