"""The official clients in Python frameworks, each as its users run it, against any server.

Every function speaks audio to `base_url` as fast as the client takes it, or in real time, and
returns the final transcripts that the client's user gets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from _pytest.mark import ParameterSet
from livekit import rtc
from livekit.agents import stt
from livekit.plugins import cartesia as livekit_cartesia
from pipecat.frames.frames import Frame, InputAudioRawFrame, TranscriptionFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins.core.audio import AudioFormat
from tests.conformance.programs import LIVEKIT_NODE, PYTHON_SDK, TYPESCRIPT_SDK, Program

Speak = Callable[..., Awaitable[list[str]]]

CHUNK = 0.1
PATIENCE = 30.0


async def chunks(pcm: bytes, rate: int, real_time: bool) -> AsyncIterator[bytes]:
    size = AudioFormat(sample_rate=rate).size(CHUNK)
    started = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), size), start=1):
        yield pcm[start : start + size]
        await asyncio.sleep(max(0.0, started + number * CHUNK - time.monotonic()) * real_time)


class Finals(FrameProcessor):
    """Keeps the final transcriptions that come by."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.complete = asyncio.Event()
        self._wanted = wanted

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self.texts.append(frame.text)
            if len(self.texts) >= self._wanted:
                self.complete.set()
        await self.push_frame(frame, direction)


async def with_pipecat(
    base_url: str, pcm: bytes, *, rate: int = 16_000, turns: int, real_time: bool = False
) -> list[str]:
    """Pipecat's `CartesiaTurnsSTTService` in a pipeline."""
    url = base_url.replace("http", "ws", 1) + "/stt/turns/websocket"
    finals = Finals(turns)
    worker = PipelineWorker(
        Pipeline([CartesiaTurnsSTTService(api_key="sk_test", url=url), finals]),
        params=PipelineParams(audio_in_sample_rate=rate),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in chunks(pcm, rate, real_time):
                await worker.queue_frame(InputAudioRawFrame(chunk, rate, 1))
            await finals.complete.wait()
    finally:
        await worker.cancel()
        await running
    return finals.texts


async def with_livekit(
    base_url: str, pcm: bytes, *, rate: int = 16_000, turns: int, real_time: bool = False
) -> list[str]:
    """LiveKit's `cartesia.STT`, which takes the turns endpoint for ink-2."""
    finals: list[str] = []
    async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE):
        recogniser: Any = livekit_cartesia.STT(
            api_key="sk_test", base_url=base_url, sample_rate=rate, http_session=http
        )
        stream = recogniser.stream()

        async def speak() -> None:
            async for chunk in chunks(pcm, rate, real_time):
                stream.push_frame(rtc.AudioFrame(chunk, rate, 1, len(chunk) // 2))

        speaking = asyncio.create_task(speak())
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                finals.append(event.alternatives[0].text)
                if len(finals) == turns:
                    break
        await speaking
        await stream.aclose()
        await recogniser.aclose()
    return finals


def program(client: Program) -> ParameterSet:
    """A client of another environment, with what it needs."""

    async def speak(
        base_url: str, pcm: bytes, *, rate: int = 16_000, turns: int, real_time: bool = False
    ) -> list[str]:
        texts: list[str] = await client.run(base_url, pcm, rate=rate, real_time=real_time)
        return texts

    return pytest.param(speak, marks=client.marks)


OFFICIAL: dict[str, Speak | ParameterSet] = {
    "cartesia-sdk": program(PYTHON_SDK),
    "cartesia-js": program(TYPESCRIPT_SDK),
    "pipecat": with_pipecat,
    "livekit": with_livekit,
    "livekit-node": program(LIVEKIT_NODE),
}
