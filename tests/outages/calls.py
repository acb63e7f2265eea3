"""A call through the plain client, and through the framework's own Ink classes, under a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import aiohttp
from livekit import rtc
from livekit.agents import APIError, stt
from livekit.plugins import cartesia
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.cartesia.turns.stt import CartesiaTurnsSTTService
from pipecat.services.stt_service import STTService
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.events import Event, TurnEnd, TurnStart
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.proxy import FaultProxy
from tests.outages.scenarios import CALLER, Scenario

FRAME = 0.02
_LOOK_EVERY = 0.005
_END_WITHIN = 12.0


@dataclass(slots=True)
class Outcome:
    """What was left of a call.

    Attributes:
        finals: The text of every turn, as the application got it.
        starts: How many turns it saw begin.
        flows_after: Seconds from the moment the server can be reached again (or the fault struck)
            until it hears audio on a new connection; None when it never does, or need not.
        connections: How many connections were made.
    """

    finals: list[str] = field(default_factory=list)
    starts: int = 0
    flows_after: float | None = None
    connections: int = 0

    @property
    def has_all_words(self) -> bool:
        """Whether every word came, once and in order, however it was cut into turns."""
        return "".join(self.finals).split() == "".join(CALLER.transcripts).split()

    @property
    def has_all_turns(self) -> bool:
        """Whether the turns are those of the caller, verbatim."""
        return self.finals == CALLER.transcripts


Side: TypeAlias = Callable[[Scenario], Awaitable[Outcome]]


async def frames(pcm: bytes, size: int) -> AsyncIterator[bytes]:
    """Audio in pieces, in real time."""
    began = asyncio.get_running_loop().time()
    for number, at in enumerate(range(0, len(pcm), size), start=1):
        await asyncio.sleep(began + number * FRAME - asyncio.get_running_loop().time())
        yield pcm[at : at + size]


@asynccontextmanager
async def faulty_server(scenario: Scenario) -> AsyncIterator[tuple[FaultProxy, Outcome]]:
    """Put a proxy before the local server; watch when audio flows again."""
    outcome = Outcome()
    async with InkServer(CALLER) as server, FaultProxy(server.url, scenario.faults) as proxy:
        watching = asyncio.create_task(_watch(server, proxy, scenario, outcome))
        try:
            yield proxy, outcome
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            outcome.connections = len(server.connections)


async def _watch(
    server: InkServer, proxy: FaultProxy, scenario: Scenario, outcome: Outcome
) -> None:
    while not proxy.strikes:
        await asyncio.sleep(_LOOK_EVERY)
    before = len(server.connections)
    struck = time.monotonic()
    while not any(record.audio_bytes for record in server.connections[before:]):
        await asyncio.sleep(_LOOK_EVERY)
    outcome.flows_after = time.monotonic() - struck - scenario.back_after


async def our_call(scenario: Scenario) -> Outcome:
    """The call through the plain client."""
    async with faulty_server(scenario) as (proxy, outcome):
        options = TurnsOptions(base_url=proxy.url)
        pcm = CALLER.audio(options.format) + options.format.silence(scenario.tail)
        async with InkTurnsClient(options, Credentials(api_key="any")) as client:

            async def speak() -> None:
                async for piece in frames(pcm, options.format.size(FRAME)):
                    client.send_audio(piece)
                await client.finish()

            speaking = asyncio.create_task(speak())
            async for event in client:
                _note(event, outcome)
            await speaking
    return outcome


def _note(event: Event, outcome: Outcome) -> None:
    match event:
        case TurnStart():
            outcome.starts += 1
        case TurnEnd(transcript=text):
            outcome.finals.append(text)


async def pipecat_call(scenario: Scenario, make: Callable[[str], STTService]) -> Outcome:
    """The call through an STT service in a Pipecat pipeline."""
    async with faulty_server(scenario) as (proxy, outcome):
        pipeline = Pipeline([make(proxy.url), _Listener(outcome)])
        worker = PipelineWorker(
            pipeline,
            params=PipelineParams(audio_in_sample_rate=16_000),
            cancel_on_idle_timeout=False,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        pcm = CALLER.audio() + bytes(int(scenario.tail * 32_000))
        async for piece in frames(pcm, 640):
            frame = InputAudioRawFrame(audio=piece, sample_rate=16_000, num_channels=1)
            await worker.queue_frame(frame)
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, _END_WITHIN)
    return outcome


class _Listener(FrameProcessor):
    """Notes what a pipeline behind the STT service gets."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self._outcome.finals.append(frame.text)
        elif isinstance(frame, ProposedUserStartedSpeakingFrame):
            self._outcome.starts += 1
        await self.push_frame(frame, direction)


def our_service(url: str) -> STTService:
    """Ours."""
    return InkTurnsSTTService(api_key="any", url=url)


def pipecats_service(url: str) -> STTService:
    """Pipecat's own."""
    address = f"{url.replace('http', 'ws')}/stt/turns/websocket"
    return CartesiaTurnsSTTService(api_key="any", url=address)


async def livekit_call(
    scenario: Scenario, make: Callable[[str, aiohttp.ClientSession], stt.STT[str]]
) -> Outcome:
    """The call through a stream of a LiveKit STT."""
    async with faulty_server(scenario) as (proxy, outcome), aiohttp.ClientSession() as http:
        ear = make(proxy.url, http)
        stream = ear.stream()
        reading = asyncio.create_task(_read(stream, outcome))
        pcm = CALLER.audio() + bytes(int(scenario.tail * 32_000))
        with suppress(RuntimeError):  # a stream whose task has failed takes no more
            async for piece in frames(pcm, 640):
                stream.push_frame(rtc.AudioFrame(piece, 16_000, 1, len(piece) // 2))
            stream.end_input()
        with suppress(APIError, TimeoutError):
            await asyncio.wait_for(reading, _END_WITHIN)
        await stream.aclose()
        await ear.aclose()
    return outcome


async def _read(stream: stt.RecognizeStream, outcome: Outcome) -> None:
    async for event in stream:
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            outcome.finals.append(event.alternatives[0].text)
        elif event.type == stt.SpeechEventType.START_OF_SPEECH:
            outcome.starts += 1


def our_stt(url: str, http: aiohttp.ClientSession) -> stt.STT[str]:
    """Ours."""
    return ink.STT(api_key="any", base_url=url)


def livekits_stt(url: str, http: aiohttp.ClientSession) -> stt.STT[str]:
    """LiveKit's own."""
    return cartesia.STT(model="ink-2", api_key="any", base_url=url, http_session=http)


OURS: dict[str, Side] = {
    "plain client": our_call,
    "in Pipecat": partial(pipecat_call, make=our_service),
    "in LiveKit": partial(livekit_call, make=our_stt),
}
BUILT_IN: dict[str, Side] = {
    "Pipecat's own": partial(pipecat_call, make=pipecats_service),
    "LiveKit's own": partial(livekit_call, make=livekits_stt),
}
