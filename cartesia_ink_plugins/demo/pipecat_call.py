"""One call through a Pipecat pipeline, with the demo's telephone as its transport.

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
from cartesia_ink_plugins.demo.journal import CallEvent, Journal
from cartesia_ink_plugins.demo.pipecat_services import (
    BookingLLMService,
    OfflineTTSService,
    book_table,
)
from cartesia_ink_plugins.demo.reply_timing import ReplyTiming
from cartesia_ink_plugins.demo.telephone import BOT_SAMPLE_RATE, Loudspeaker, Telephone
from cartesia_ink_plugins.demo.voice import Speaker

_AHEAD_SECONDS = 0.06  # audio that the bot writes ahead of playback, as a transport buffers it


class TelephoneInput(BaseInputTransport):
    """The caller's voice, as frames of 20 ms."""

    async def start(self, frame: StartFrame) -> None:
        """Start input.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def deliver(self, pcm: bytes) -> None:
        """Pass audio of the caller to the pipeline.

        Args:
            pcm: 16-bit mono at 16 kHz.
        """
        frame = InputAudioRawFrame(audio=pcm, sample_rate=SAMPLE_RATE, num_channels=1)
        await self.push_audio_frame(frame)


class TelephoneOutput(BaseOutputTransport):
    """The bot's voice, written in real time."""

    def __init__(self, loudspeaker: Loudspeaker, params: TransportParams) -> None:
        """Write to a loudspeaker.

        Args:
            loudspeaker: Playback buffer.
            params: The transport's parameters.
        """
        super().__init__(params)
        self._loudspeaker = loudspeaker

    async def start(self, frame: StartFrame) -> None:
        """Start output.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Stop playback at once when interrupted.

        Args:
            frame: The frame.
            direction: Its direction.
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
        """Create a transport.

        Args:
            telephone: The call.
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
    """Adds the frames of an STT service to the journal, before other processors get them."""

    def __init__(self, journal: Journal) -> None:
        """Write to a journal.

        Args:
            journal: The journal of the call.
        """
        super().__init__()
        self._journal = journal
        self._final = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass the frame on.

        Args:
            frame: The frame.
            direction: Its direction.
        """
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self._note(frame)
        await self.push_frame(frame, direction)

    def _note(self, frame: Frame) -> None:
        note = self._journal.note
        match frame:
            case ProposedUserStartedSpeakingFrame():
                note(CallEvent.TURN_START)
            case EagerTranscriptionFrame():
                note(CallEvent.TURN_EAGER_END, frame.text)
            case InterimTranscriptionFrame():
                note(CallEvent.TURN_UPDATE, frame.text)
            case EagerEndOfTurnCancelFrame():
                note(CallEvent.TURN_RESUME)
            case TranscriptionFrame():
                self._final = frame.text
            case ProposedUserStoppedSpeakingFrame():
                note(CallEvent.TURN_END, self._final)
                self._final = ""


async def hold_pipecat_call(
    telephone: Telephone, stt: STTService, voice: Speaker, *, timing: ReplyTiming | None = None
) -> None:
    """Run the call in a Pipecat pipeline until the caller hangs up.

    Args:
        telephone: The call.
        stt: An STT service that detects turns.
        voice: The bot's voice.
        timing: Simulated latency of the LLM.
    """
    transport = TelephoneTransport(telephone)
    worker = _make_bot(telephone, transport, stt, voice, timing)
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
    timing: ReplyTiming | None,
) -> PipelineWorker:
    """Create the pipeline."""
    journal = telephone.journal

    @functools.wraps(book_table)
    async def book_and_note(params: FunctionCallParams, **arguments: Any) -> None:
        await book_table(params, **arguments)
        journal.note(CallEvent.BOOKED, json.dumps(arguments))

    aggregators = LLMContextAggregatorPair(LLMContext(tools=[book_and_note]))
    note_bot(aggregators, telephone)
    pipeline = Pipeline(
        [
            transport.input(),
            stt,
            TurnNotes(journal),
            aggregators.user(),
            BookingLLMService(timing=timing, watch=journal.note),
            OfflineTTSService(voice, watch=journal.note),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    return PipelineWorker(pipeline, params=PipelineParams(), enable_rtvi=False)


async def _first(ready: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Wait until the pipeline has started or failed."""
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running


def note_bot(aggregators: LLMContextAggregatorPair, telephone: Telephone) -> None:
    """Add the bot's replies, as far as they were played, to the journal."""

    async def turn_stopped(aggregator: object, message: AssistantTurnStoppedMessage) -> None:
        what = CallEvent.BOT_INTERRUPTED if message.interrupted else CallEvent.BOT_FINISHED
        telephone.journal.note(what, message.content)

    aggregators.assistant().add_event_handler("on_assistant_turn_stopped", turn_stopped)
