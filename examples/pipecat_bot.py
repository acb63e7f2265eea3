"""A Pipecat bot that books tables by voice: `python examples/pipecat_bot.py`.

With no key it needs no network either: it hears through a local Ink server, thinks by rules and
speaks with an offline voice. With CARTESIA_API_KEY it hears with Ink and speaks with Sonic; with
OPENAI_API_KEY (and OPENAI_BASE_URL and OPENAI_MODEL, for any compatible server) it thinks with that
model.

Each call is recorded in calls/ (INK_RECORD names another folder), with a page of its timeline.

Open http://localhost:7860 and talk, write, interrupt; the page shows each turn as it happens.
`--help` lists what Pipecat's runner takes, such as `--port`. Its own client is at `/client/`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

if __name__ == "__main__":
    # Until the bot runs, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from pipecat.frames.frames import LLMRunFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.runner.types import RunnerArguments
    from pipecat.runner.utils import create_transport
    from pipecat.services.llm_service import LLMService
    from pipecat.services.tts_service import TTSService
    from pipecat.transports.base_transport import BaseTransport, TransportParams
    from pipecat.workers.runner import WorkerRunner
except ImportError as error:
    sys.exit(f"{error.name or error} is missing: pip install 'cartesia-ink-plugins[examples]'")

from cartesia_ink_plugins.demo.booking import INSTRUCTIONS
from cartesia_ink_plugins.demo.page_events import PageReporter
from cartesia_ink_plugins.demo.pipecat_services import (
    BookingLLMService,
    OfflineTTSService,
    book_table,
)
from cartesia_ink_plugins.demo.start import offline_without_key
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.demo.web import serve_page
from cartesia_ink_plugins.observe.timeline.files import write_page
from cartesia_ink_plugins.pipecat import InkTurnsSTTService

OFFLINE = "CARTESIA_BASE_URL"
RECORDINGS = os.environ.get("INK_RECORD", "calls")
SONIC_VOICE = "71a7ad14-091c-4e8e-a314-022ece01c121"


def evaluated() -> TransportParams:
    """How `pipecat eval` calls; see `examples/evals/`."""
    from pipecat.evals.transport import EvalTransportParams

    return EvalTransportParams(audio_in_enabled=True, audio_out_enabled=True)


TRANSPORTS = {
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
    "eval": evaluated,
}


async def bot(arguments: RunnerArguments) -> None:
    """Answer one caller; Pipecat's runner calls this for each connection."""
    transport = await create_transport(arguments, TRANSPORTS)
    await converse(transport, arguments)


async def converse(transport: BaseTransport, arguments: RunnerArguments) -> None:
    """Run the call until the caller disconnects."""
    stt = InkTurnsSTTService(record=RECORDINGS)
    worker = make_worker(
        stt,
        before=[transport.input()],
        behind=[transport.output()],
        idle_timeout_secs=arguments.pipeline_idle_timeout_secs,
    )

    reporter = PageReporter(worker.rtvi)  # sends events to the page; optional
    reporter.follow(stt)
    worker.add_observer(reporter)

    async def greet(transport: BaseTransport, caller: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    async def hang_up(transport: BaseTransport, caller: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)
    transport.add_event_handler("on_client_disconnected", hang_up)

    runner = WorkerRunner(handle_sigint=arguments.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()
    if stt.recording:
        page = await asyncio.to_thread(write_page, stt.recording)
        print(f"What happened in this call: {page}", flush=True)


def make_worker(
    stt: InkTurnsSTTService,
    *,
    before: Sequence[FrameProcessor] = (),
    behind: Sequence[FrameProcessor] = (),
    **options: Any,
) -> PipelineWorker:
    """The bot, with a transport around it; without one for a recorded call (docs/recording.md).

    Args:
        stt: Decides when the caller's turn is over, and predicts it.
        before: What gives it the caller's audio.
        behind: What speaks.
        **options: Of the worker.
    """
    aggregators = LLMContextAggregatorPair(LLMContext(tools=[book_table]))
    parts = [*before, stt, aggregators.user(), make_llm(), make_voice(), *behind]
    pipeline = Pipeline([*parts, aggregators.assistant()])
    return PipelineWorker(pipeline, params=PipelineParams(enable_metrics=True), **options)


def make_llm() -> LLMService[Any]:
    """Return the LLM: rules, or any model with OpenAI's API."""
    if not os.environ.get("OPENAI_API_KEY"):
        return BookingLLMService()
    from pipecat.services.openai.llm import OpenAILLMService

    return OpenAILLMService(
        settings=OpenAILLMService.Settings(
            model=os.environ.get("OPENAI_MODEL", "gpt-4.1"),
            system_instruction=f"{INSTRUCTIONS} Today is {date.today():%A, %d %B %Y}.",
        )
    )


def make_voice() -> TTSService:
    """Return the bot's voice: offline, or Cartesia's Sonic."""
    if OFFLINE in os.environ or "CARTESIA_API_KEY" not in os.environ:
        return OfflineTTSService(offline_voice())
    from pipecat.services.cartesia.tts import CartesiaTTSService

    return CartesiaTTSService(
        api_key=os.environ["CARTESIA_API_KEY"],
        settings=CartesiaTTSService.Settings(voice=os.environ.get("VOICE_ID", SONIC_VOICE)),
    )


@cache
def offline_voice() -> Voice:
    """Load the offline voice once, for all calls."""
    return Voice.load_now(24_000)


if __name__ == "__main__":
    from pipecat.runner.run import app, main

    serve_page(app)
    with offline_without_key():
        if OFFLINE in os.environ:
            offline_voice()  # before the first call
        main()
