"""A Pipecat bot that answers the telephone: `python examples/twilio_bot.py --proxy YOUR.ngrok.io`.

Twilio calls the webhook (`POST /`) at the public name given with `--proxy`, then streams the call
to `/ws` as 8 kHz μ-law. That is what Ink gets: nothing is resampled on the way. What the bot has
not said yet is cleared at Twilio when the caller interrupts.

With no key it hears and speaks offline, like `examples/pipecat_bot.py`. TWILIO_ACCOUNT_SID and
TWILIO_AUTH_TOKEN let the bot hang up.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache

if __name__ == "__main__":
    # Until the bot runs, Ctrl-C ends the program at once: what follows takes some seconds.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from pipecat.frames.frames import LLMRunFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.runner.types import WebSocketRunnerArguments
    from pipecat.runner.utils import parse_telephony_websocket
    from pipecat.serializers.twilio import TwilioFrameSerializer
    from pipecat.services.tts_service import TTSService
    from pipecat.transports.websocket.fastapi import (
        FastAPIWebsocketParams,
        FastAPIWebsocketTransport,
    )
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
from cartesia_ink_plugins.pipecat import InkTurnsSTTService

OFFLINE = "CARTESIA_BASE_URL"
SAMPLE_RATE = 8_000


async def bot(arguments: WebSocketRunnerArguments) -> None:
    """Answer one call; Pipecat's runner calls this for everyone who connects to `/ws`."""
    _, call = await parse_telephony_websocket(arguments.websocket)
    account = os.environ.get("TWILIO_ACCOUNT_SID")
    serializer = TwilioFrameSerializer(
        stream_sid=str(call["stream_id"]),
        call_sid=call["call_id"],
        account_sid=account,
        auth_token=os.environ.get("TWILIO_AUTH_TOKEN"),
        params=TwilioFrameSerializer.InputParams(auto_hang_up=account is not None),
    )
    transport = FastAPIWebsocketTransport(
        websocket=arguments.websocket,
        params=FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, serializer=serializer
        ),
    )
    context = LLMContext(tools=[book_table])
    aggregators = LLMContextAggregatorPair(context)
    pipeline = Pipeline(
        [
            transport.input(),
            InkTurnsSTTService(encoding="pcm_mulaw"),  # what Twilio sends, byte for byte
            aggregators.user(),
            BookingLLMService(),  # or any LLM service
            make_voice(),
            transport.output(),
            aggregators.assistant(),
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(audio_in_sample_rate=SAMPLE_RATE, audio_out_sample_rate=SAMPLE_RATE),
    )

    async def greet(transport: FastAPIWebsocketTransport, caller: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    async def hang_up(transport: FastAPIWebsocketTransport, caller: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)
    transport.add_event_handler("on_client_disconnected", hang_up)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def make_voice() -> TTSService:
    """The bot's voice: offline, or Cartesia's Sonic."""
    if OFFLINE in os.environ:
        return OfflineTTSService(offline_voice())
    from pipecat.services.cartesia.tts import CartesiaTTSService

    voice = os.environ.get("VOICE_ID", "71a7ad14-091c-4e8e-a314-022ece01c121")
    return CartesiaTTSService(
        api_key=os.environ["CARTESIA_API_KEY"], settings=CartesiaTTSService.Settings(voice=voice)
    )


@cache
def offline_voice() -> Voice:
    """Load the offline voice once, for all callers."""
    return Voice.load_now(SAMPLE_RATE)


if __name__ == "__main__":
    from pipecat.runner.run import main

    if not {"-t", "--transport"} & set(sys.argv):
        sys.argv += ["--transport", "twilio"]
    with offline_without_key():
        if OFFLINE in os.environ:
            offline_voice()  # before anyone calls
        main()
