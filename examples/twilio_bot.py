"""A Pipecat bot that answers the telephone: `python examples/twilio_bot.py --proxy YOUR.ngrok.io`.

Twilio calls the webhook (`POST /`) at the public name given with `--proxy`, then streams the call
to `/ws` as 8 kHz μ-law, which is sent to Ink without resampling. When the caller interrupts, the
bot's queued audio is cleared at Twilio.

Only Twilio can connect: it signs the URL of the stream with the account's TWILIO_AUTH_TOKEN, which
must be set. Scanners find an open `/ws`, and each connection costs an Ink stream of your plan, an
LLM and a voice as long as it is open. To try the bot without Twilio, on a machine that is not
reachable from outside, set ALLOW_UNSIGNED=1.

Without a key, recognition and voice are offline, as in `examples/pipecat_bot.py`. With
TWILIO_ACCOUNT_SID the bot can also hang up.
"""

from __future__ import annotations

import base64
import hmac
import os
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Until the bot runs, Ctrl-C ends the program at once: the imports take some seconds.
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

if TYPE_CHECKING:
    from fastapi import WebSocket

OFFLINE = "CARTESIA_BASE_URL"
UNSIGNED = "ALLOW_UNSIGNED"
SAMPLE_RATE = 8_000


async def bot(arguments: WebSocketRunnerArguments) -> None:
    """Answer one call; Pipecat's runner calls this for each connection to `/ws`."""
    if not is_allowed(arguments):
        await arguments.websocket.close(1008, "not signed by Twilio")
        return
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


def is_allowed(arguments: WebSocketRunnerArguments) -> bool:
    """Whether Twilio has connected, or unsigned connections are allowed."""
    if UNSIGNED in os.environ:
        return True
    # The host name given to Twilio; without --proxy that of the Host header.
    proxy = arguments.cli_args.proxy if arguments.cli_args else None
    host = proxy or arguments.websocket.headers.get("host", "")
    return is_signed(arguments.websocket, host, os.environ["TWILIO_AUTH_TOKEN"])


def is_signed(websocket: WebSocket, host: str, token: str) -> bool:
    """Whether the signature is Twilio's: https://www.twilio.com/docs/usage/security."""
    url = f"wss://{host}{websocket.url.path}"
    expected = base64.b64encode(hmac.digest(token.encode(), url.encode(), "sha1"))
    signature = websocket.headers.get("x-twilio-signature", "")
    return hmac.compare_digest(expected, signature.encode())


def make_voice() -> TTSService:
    """Return the bot's voice: offline, or Cartesia's Sonic."""
    if OFFLINE in os.environ:
        return OfflineTTSService(offline_voice())
    from pipecat.services.cartesia.tts import CartesiaTTSService

    voice = os.environ.get("VOICE_ID", "71a7ad14-091c-4e8e-a314-022ece01c121")
    return CartesiaTTSService(
        api_key=os.environ["CARTESIA_API_KEY"], settings=CartesiaTTSService.Settings(voice=voice)
    )


@cache
def offline_voice() -> Voice:
    """Load the offline voice once, for all calls."""
    return Voice.load_now(SAMPLE_RATE)


if __name__ == "__main__":
    from pipecat.runner.run import main

    if not (os.environ.get("TWILIO_AUTH_TOKEN") or UNSIGNED in os.environ):
        print(f"TWILIO_AUTH_TOKEN: not set; to let anybody in, set {UNSIGNED}=1", file=sys.stderr)
        sys.exit(2)
    if not {"-t", "--transport"} & set(sys.argv):
        sys.argv += ["--transport", "twilio"]
    with offline_without_key():
        if OFFLINE in os.environ:
            offline_voice()  # before the first call
        main()
