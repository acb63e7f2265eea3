"""A Pipecat bot that is talked to with a button: `python examples/push_to_talk_pipecat.py`.

Open http://localhost:7860, hold the button (or the space bar), speak, let go. Here the caller says
when he is done, so there is no VAD and nothing guesses: `InkManualSTTService` gives one
transcription with all words, one round trip after the button is let go.

With no key it needs no network either, as `pipecat_bot.py`, whose settings it takes.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    # Until the bot runs, Ctrl-C ends the program at once: the imports take some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from pipecat.frames.frames import (
        Frame,
        InputAudioRawFrame,
        LLMRunFrame,
        VADUserStartedSpeakingFrame,
        VADUserStoppedSpeakingFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import (
        LLMContextAggregatorPair,
        LLMUserAggregatorParams,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.processors.frameworks.rtvi import RTVIClientMessageFrame
    from pipecat.runner.types import RunnerArguments
    from pipecat.runner.utils import create_transport
    from pipecat.transports.base_transport import BaseTransport, TransportParams
    from pipecat.turns.user_start import VADUserTurnStartStrategy
    from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.workers.runner import WorkerRunner
except ImportError as error:
    sys.exit(f"{error.name or error} is missing: pip install 'cartesia-ink-plugins[examples]'")

from cartesia_ink_plugins.demo.pipecat_services import (
    BookingLLMService,
    OfflineTTSService,
    book_table,
)
from cartesia_ink_plugins.demo.start import offline_without_key
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.pipecat import InkManualSTTService

PAGE = Path(__file__).with_name("push_to_talk.html")
SONIC_VOICE = "71a7ad14-091c-4e8e-a314-022ece01c121"
TRANSPORTS = {
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
}


class Button(FrameProcessor):
    """Replaces a VAD: between a press and a release the user speaks.

    The page sends the client message `{"t": "button", "d": {"pressed": true}}`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pressed = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Convert the messages of the button to frames."""
        await super().process_frame(frame, direction)
        match frame:
            case RTVIClientMessageFrame(type="button", data={"pressed": bool(pressed)}):
                if pressed != self.pressed:
                    self.pressed = pressed
                    await self.push_frame(
                        VADUserStartedSpeakingFrame() if pressed else VADUserStoppedSpeakingFrame()
                    )
            case InputAudioRawFrame() if not self.pressed:
                return  # audio outside a press is dropped
            case _:
                await self.push_frame(frame, direction)


async def bot(arguments: RunnerArguments) -> None:
    """Answer one caller; Pipecat's runner calls this for each connection."""
    transport = await create_transport(arguments, TRANSPORTS)
    worker = PipelineWorker(
        make_pipeline(transport),
        params=PipelineParams(enable_metrics=True),
        idle_timeout_secs=arguments.pipeline_idle_timeout_secs,
    )

    async def greet(transport: BaseTransport, caller: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    async def hang_up(transport: BaseTransport, caller: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)
    transport.add_event_handler("on_client_disconnected", hang_up)
    runner = WorkerRunner(handle_sigint=arguments.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


def make_pipeline(transport: BaseTransport) -> Pipeline:
    """Return the pipeline, from microphone to loudspeaker."""
    aggregators = LLMContextAggregatorPair(
        LLMContext(tools=[book_table]),
        user_params=LLMUserAggregatorParams(user_turn_strategies=push_to_talk()),
    )
    return Pipeline(
        [
            transport.input(),
            Button(),
            InkManualSTTService(),
            aggregators.user(),
            BookingLLMService(),  # replace it by your LLM
            make_voice(),
            transport.output(),
            aggregators.assistant(),
        ]
    )


def push_to_talk() -> UserTurnStrategies:
    """The turn ends with the final transcript of the speech during the press."""
    return UserTurnStrategies(
        start=[VADUserTurnStartStrategy()],
        stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0)],
    )


def make_voice() -> FrameProcessor:
    """Return the bot's voice: offline, or Cartesia's Sonic."""
    if "CARTESIA_BASE_URL" in os.environ:
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
    from fastapi import Response
    from pipecat.runner.run import app, main

    @app.get("/", include_in_schema=False)
    def show_page():  # type: ignore[no-untyped-def]
        return Response(PAGE.read_bytes(), media_type="text/html")

    with offline_without_key():
        if "CARTESIA_BASE_URL" in os.environ:
            offline_voice()  # before the first call
        main()
