"""One call through a Pipecat pipeline: a transport over the demo's telephone, and the bot.

telephone → transport → STT → aggregator → LLM → TTS → transport → telephone
"""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

from pipecat.frames.frames import (
    EagerEndOfTurnCancelFrame,
    EagerTranscriptionFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMRunFrame,
    OutputAudioRawFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    StartFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    AssistantTurnStoppedMessage,
    LLMContextAggregatorPair,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.stt_service import STTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins.demo.caller import SAMPLE_RATE
from cartesia_ink_plugins.demo.journal import Happening, Journal
from cartesia_ink_plugins.demo.pacing import Pace
from cartesia_ink_plugins.demo.pipecat_services import (
    BookingLLMService,
    OfflineTTSService,
    book_table,
)
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Loudspeaker, Telephone
from cartesia_ink_plugins.demo.voice import Speaker

# How far the bot writes ahead of what is heard, like any transport with a small buffer.
_AHEAD_SECONDS = 0.06


class TelephoneInput(BaseInputTransport):
    """The caller's voice, as frames of 20 ms."""

    async def start(self, frame: StartFrame) -> None:
        """Get ready to hear.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def deliver(self, pcm: bytes) -> None:
        """Hand a piece of the caller's voice to the pipeline.

        Args:
            pcm: 16-bit mono at 16 kHz.
        """
        frame = InputAudioRawFrame(audio=pcm, sample_rate=SAMPLE_RATE, num_channels=1)
        await self.push_audio_frame(frame)


class TelephoneOutput(BaseOutputTransport):
    """The bot's voice, written no faster than it is heard."""

    def __init__(self, loudspeaker: Loudspeaker, params: TransportParams) -> None:
        """Write to a loudspeaker.

        Args:
            loudspeaker: Where the voice is heard.
            params: The transport's parameters.
        """
        super().__init__(params)
        self._loudspeaker = loudspeaker

    async def start(self, frame: StartFrame) -> None:
        """Get ready to speak.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Fall silent at once when interrupted.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self._loudspeaker.clear()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Play audio.

        Args:
            frame: 16-bit mono at `BOT_SAMPLE_RATE`.

        Returns:
            True: it is played.
        """
        self._loudspeaker.write(frame.audio)
        await self._loudspeaker.wait_below(_AHEAD_SECONDS)
        return True


class TelephoneTransport(BaseTransport):
    """A Pipecat transport over the demo's telephone."""

    def __init__(self, telephone: Telephone) -> None:
        """Connect a pipeline to a telephone.

        Args:
            telephone: The line with the caller.
        """
        super().__init__()
        params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=SAMPLE_RATE,
            audio_out_enabled=True,
            audio_out_sample_rate=BOT_SAMPLE_RATE,
            audio_out_10ms_chunks=2,
            audio_out_end_silence_secs=0,
        )
        self._input = TelephoneInput(params)
        self._output = TelephoneOutput(telephone.loudspeaker, params)

    def input(self) -> TelephoneInput:
        """The caller's side."""
        return self._input

    def output(self) -> FrameProcessor:
        """The bot's side."""
        return self._output


class TurnNotes(FrameProcessor):
    """Writes down what an STT service hears, before anything that comes after it acts on it."""

    def __init__(self, journal: Journal) -> None:
        """Write to a journal.

        Args:
            journal: Of the call.
        """
        super().__init__()
        self._journal = journal
        self._final = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass the frame on.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self._note(frame)
        await self.push_frame(frame, direction)

    def _note(self, frame: Frame) -> None:
        note = self._journal.note
        match frame:
            case ProposedUserStartedSpeakingFrame():
                note(Happening.TURN_START)
            case EagerTranscriptionFrame():
                note(Happening.TURN_EAGER_END, frame.text)
            case InterimTranscriptionFrame():
                note(Happening.TURN_UPDATE, frame.text)
            case EagerEndOfTurnCancelFrame():
                note(Happening.TURN_RESUME)
            case TranscriptionFrame():
                self._final = frame.text
            case ProposedUserStoppedSpeakingFrame():
                note(Happening.TURN_END, self._final)
                self._final = ""


async def hold_pipecat_call(
    telephone: Telephone, stt: STTService, voice: Speaker, *, pace: Pace | None = None
) -> None:
    """Let the offline bot answer the telephone in a Pipecat pipeline, until the caller hangs up.

    Args:
        telephone: The line with the caller.
        stt: An STT service that also detects turns.
        voice: The bot's voice.
        pace: How fast the bot thinks.
    """
    transport = TelephoneTransport(telephone)
    worker = _make_bot(telephone, transport, stt, voice, pace)
    ready = asyncio.Event()

    async def started(worker: PipelineWorker, frame: Frame) -> None:
        ready.set()

    worker.add_event_handler("on_pipeline_started", started)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        await _first(ready, running)
        await worker.queue_frames([LLMRunFrame()])  # the bot greets
        calling = asyncio.create_task(telephone.run(transport.input().deliver))
        try:
            await asyncio.wait([calling, running], return_when=asyncio.FIRST_COMPLETED)
            if calling.done():
                calling.result()
        finally:
            calling.cancel()
        if not running.done():
            await worker.queue_frames([EndFrame()])
        await running
    finally:
        if not running.done():
            await worker.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _make_bot(
    telephone: Telephone,
    transport: TelephoneTransport,
    stt: STTService,
    voice: Speaker,
    pace: Pace | None,
) -> PipelineWorker:
    """Put the pipeline together."""
    journal = telephone.journal

    @functools.wraps(book_table)
    async def book_and_note(params: FunctionCallParams, **arguments: Any) -> None:
        await book_table(params, **arguments)
        journal.note(Happening.BOOKED, json.dumps(arguments))

    aggregators = LLMContextAggregatorPair(LLMContext(tools=[book_and_note]))
    note_bot(aggregators, telephone)
    pipeline = Pipeline(
        [
            transport.input(),
            stt,
            TurnNotes(journal),
            aggregators.user(),
            BookingLLMService(pace=pace, watch=journal.note),
            OfflineTTSService(voice, watch=journal.note),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    return PipelineWorker(pipeline, params=PipelineParams(), enable_rtvi=False)


async def _first(ready: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Wait until the pipeline has started, or failed to."""
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running


def note_bot(aggregators: LLMContextAggregatorPair, telephone: Telephone) -> None:
    """Write down what the bot said, as far as it was heard."""

    async def said(aggregator: object, message: AssistantTurnStoppedMessage) -> None:
        what = Happening.BOT_INTERRUPTED if message.interrupted else Happening.BOT_SAID
        telephone.journal.note(what, message.content)

    aggregators.assistant().add_event_handler("on_assistant_turn_stopped", said)
