"""A call through the plain client, and through the framework's own Ink classes, under a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import aiohttp
from livekit import rtc
from livekit.agents import APIError, stt
from livekit.agents.types import NOT_GIVEN
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

from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnSettings, TurnsOptions
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import ErrorMessage, Event, TurnEnd, TurnStart
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.proxy import FaultProxy
from tests.outages.scenarios import Scenario

_LOOK_EVERY = 0.005
_END_WITHIN = 12.0
_BYTE_RATE = 32_000


@dataclass(slots=True)
class Outcome:
    """What was left of a call. Times are seconds since its start.

    Attributes:
        wanted: The turns of the caller.
        finals: The text of every turn, as the application got it.
        starts: How many turns it saw begin.
        told: When it was told of an error.
        dials: When a connection was attempted.
        ready_at: When the first audio was taken; None when it never was.
        flows_after: Seconds from the moment the server can be reached again (or the fault struck)
            until it hears audio on a new connection; None when it never does, or need not.
        crash: What went wrong in the application itself.
    """

    wanted: list[str]
    finals: list[str] = field(default_factory=list)
    starts: int = 0
    told: list[float] = field(default_factory=list)
    dials: list[float] = field(default_factory=list)
    ready_at: float | None = None
    flows_after: float | None = None
    crash: str | None = None
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def hear_error(self, *_: object) -> None:
        """The application was told of an error."""
        self.told.append(self.now())

    def take_audio(self) -> None:
        """Audio was taken."""
        if self.ready_at is None:
            self.ready_at = self.now()


Client: TypeAlias = Callable[[str, Scenario, Outcome], Awaitable[None]]


async def audio(scenario: Scenario) -> AsyncIterator[bytes]:
    """What the caller says, in pieces, in real time."""
    pcm = scenario.caller.audio() + bytes(int(scenario.tail * _BYTE_RATE))
    size = int(scenario.frame * _BYTE_RATE)
    muted_at = (scenario.caller.spans[0][1] + 0.9) * _BYTE_RATE
    muted = scenario.muted
    due = asyncio.get_running_loop().time()
    for at in range(0, len(pcm), size):
        due += scenario.frame
        if muted and at >= muted_at:
            due, muted = due + muted, 0.0
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        yield pcm[at : at + size]


async def call(scenario: Scenario, client: Client) -> Outcome:
    """Hold the call of a scenario."""
    server = InkServer(scenario.caller, idle_timeout=scenario.idle_timeout)
    async with server, FaultProxy(server.url, scenario.faults) as proxy:
        outcome = Outcome(scenario.caller.transcripts)
        watching = asyncio.create_task(_watch(server, proxy, scenario, outcome))
        try:
            await _guarded(client, proxy.url, scenario, outcome)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            outcome.dials = list(proxy.connected_at)
    return outcome


async def crowd(scenario: Scenario, client: Client, size: int) -> list[Outcome]:
    """Hold many calls at once, with one server; each outcome has the dials of all."""
    async with (
        InkServer(scenario.caller) as server,
        FaultProxy(server.url, scenario.faults) as proxy,
    ):
        outcomes = [Outcome(scenario.caller.transcripts) for _ in range(size)]
        await asyncio.gather(*(_guarded(client, proxy.url, scenario, o) for o in outcomes))
        for outcome in outcomes:
            outcome.dials = list(proxy.connected_at)
    return outcomes


async def _guarded(client: Client, url: str, scenario: Scenario, outcome: Outcome) -> None:
    """Let a client fail on its own: that, too, is an outcome."""
    try:
        await client(url, scenario, outcome)
    except Exception as error:
        outcome.crash = type(error).__name__


async def _watch(
    server: InkServer, proxy: FaultProxy, scenario: Scenario, outcome: Outcome
) -> None:
    """See when audio flows again after the first fault that struck."""
    while not proxy.injected:
        await asyncio.sleep(_LOOK_EVERY)
    before = len(server.connections)
    struck = time.monotonic()
    while not any(record.audio_bytes for record in server.connections[before:]):
        await asyncio.sleep(_LOOK_EVERY)
    outcome.flows_after = time.monotonic() - struck - scenario.back_after


async def plain_client(url: str, scenario: Scenario, outcome: Outcome) -> None:
    """The call through the plain client."""
    turn = TurnSettings(turn_start_threshold=scenario.start_threshold)
    options = TurnsOptions(base_url=url, turn=turn)
    async with InkTurnsClient(options, Credentials(api_key="any")) as client:

        async def speak() -> None:
            async for piece in audio(scenario):
                client.send_audio(piece)
                outcome.take_audio()
            await client.finish()

        speaking = asyncio.create_task(speak())
        try:
            async for event in client:
                _note(event, outcome)
            await speaking
        except RejectedError as error:
            outcome.hear_error(error)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)


def _note(event: Event, outcome: Outcome) -> None:
    match event:
        case TurnStart():
            outcome.starts += 1
        case TurnEnd(transcript=text):
            outcome.finals.append(text)
        case ErrorMessage():
            outcome.hear_error(event)


async def in_pipecat(
    url: str, scenario: Scenario, outcome: Outcome, *, make: Callable[[str, Scenario], STTService]
) -> None:
    """The call through an STT service in a Pipecat pipeline."""
    service = make(url, scenario)
    service.add_event_handler("on_error", outcome.hear_error)
    worker = PipelineWorker(
        Pipeline([service, _Listener(outcome)]),
        params=PipelineParams(audio_in_sample_rate=16_000),
        cancel_on_idle_timeout=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    async for piece in audio(scenario):
        frame = InputAudioRawFrame(audio=piece, sample_rate=16_000, num_channels=1)
        await worker.queue_frame(frame)
    await worker.queue_frame(EndFrame())
    await asyncio.wait_for(running, _END_WITHIN)


class _Listener(FrameProcessor):
    """Notes what a pipeline behind the STT service gets."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                self._outcome.take_audio()
            case TranscriptionFrame():
                self._outcome.finals.append(frame.text)
            case ProposedUserStartedSpeakingFrame():
                self._outcome.starts += 1
        await self.push_frame(frame, direction)


def our_service(url: str, scenario: Scenario) -> STTService:
    """Ours."""
    settings = InkTurnsSTTService.Settings(turn_start_threshold=scenario.start_threshold)
    return InkTurnsSTTService(api_key="any", url=url, settings=settings)


def pipecats_service(url: str, scenario: Scenario) -> STTService:
    """Pipecat's own."""
    address = f"{url.replace('http', 'ws')}/stt/turns/websocket"
    settings = CartesiaTurnsSTTService.Settings(turn_start_threshold=scenario.start_threshold)
    return CartesiaTurnsSTTService(api_key="any", url=address, settings=settings)


async def in_livekit(
    url: str,
    scenario: Scenario,
    outcome: Outcome,
    *,
    make: Callable[[str, Scenario, aiohttp.ClientSession], stt.STT[str]],
) -> None:
    """The call through a stream of a LiveKit STT."""
    async with aiohttp.ClientSession() as http:
        ear = make(url, scenario, http)

        def hear_error(error: stt.STTError) -> None:
            # Of audio that is lost the others tell with an event that is no error.
            if "could not be transcribed" not in str(error.error):
                outcome.hear_error(error)

        ear.on("error", hear_error)
        stream = ear.stream()
        reading = asyncio.create_task(_read(stream, outcome))
        with suppress(RuntimeError):  # a stream whose task has failed takes no more
            async for piece in audio(scenario):
                stream.push_frame(rtc.AudioFrame(piece, 16_000, 1, len(piece) // 2))
                outcome.take_audio()
            stream.end_input()
        with suppress(APIError, TimeoutError):
            await asyncio.wait_for(reading, _END_WITHIN)
        await stream.aclose()
        await ear.aclose()


async def _read(stream: stt.RecognizeStream, outcome: Outcome) -> None:
    async for event in stream:
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            outcome.finals.append(event.alternatives[0].text)
        elif event.type == stt.SpeechEventType.START_OF_SPEECH:
            outcome.starts += 1


def our_stt(url: str, scenario: Scenario, http: aiohttp.ClientSession) -> stt.STT[str]:
    """Ours."""
    threshold = scenario.start_threshold
    given = NOT_GIVEN if threshold is None else threshold
    return ink.STT(api_key="any", base_url=url, turn_start_threshold=given)


def livekits_stt(url: str, scenario: Scenario, http: aiohttp.ClientSession) -> stt.STT[str]:
    """LiveKit's own."""
    threshold = scenario.start_threshold
    return cartesia.STT(
        model="ink-2",
        api_key="any",
        base_url=url,
        http_session=http,
        turn_start_threshold=NOT_GIVEN if threshold is None else threshold,
    )


OURS: dict[str, Client] = {
    "plain client": plain_client,
    "in Pipecat": partial(in_pipecat, make=our_service),
    "in LiveKit": partial(in_livekit, make=our_stt),
}
BUILT_IN: dict[str, Client] = {
    "Pipecat's own": partial(in_pipecat, make=pipecats_service),
    "LiveKit's own": partial(in_livekit, make=livekits_stt),
}
