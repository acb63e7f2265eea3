"""Cartesia Ink in a Pipecat bot: one file, in the form of Pipecat's foundational examples.

    python examples/pipecat_foundational.py    # then open http://localhost:7860

With CARTESIA_API_KEY and OPENAI_API_KEY the bot hears and speaks with Cartesia and thinks with
OpenAI. With no key it hears through a local Ink server, thinks by rules and speaks offline.
"""

import os

from loguru import logger
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins.demo.pipecat_services import BookingLLMService, OfflineTTSService
from cartesia_ink_plugins.demo.start import offline_without_key
from cartesia_ink_plugins.demo.voice import Voice
from cartesia_ink_plugins.pipecat import InkTurnsSTTService

KEYS = "CARTESIA_API_KEY" in os.environ and "OPENAI_API_KEY" in os.environ
TRANSPORTS = {"webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True)}


async def run_bot(transport: BaseTransport, runner_args: RunnerArguments) -> None:
    stt = InkTurnsSTTService()  # recommends its turn strategies to the user aggregator
    llm = OpenAILLMService(api_key=os.environ["OPENAI_API_KEY"]) if KEYS else BookingLLMService()
    tts = (
        CartesiaTTSService(
            api_key=os.environ["CARTESIA_API_KEY"],
            settings=CartesiaTTSService.Settings(voice="71a7ad14-091c-4e8e-a314-022ece01c121"),
        )
        if KEYS
        else OfflineTTSService(await Voice.load(24_000))
    )
    context = LLMContext([{"role": "developer", "content": "Greet the caller in one sentence."}])
    user, assistant = LLMContextAggregatorPair(context)
    pipeline = Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant])
    worker = PipelineWorker(pipeline, params=PipelineParams(enable_metrics=True))

    @stt.event_handler("on_turn_end")
    async def on_turn_end(stt: InkTurnsSTTService, transcript: str) -> None:
        logger.info(f"The caller said: {transcript}")

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport: BaseTransport, client: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: BaseTransport, client: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


async def bot(runner_args: RunnerArguments) -> None:
    await run_bot(await create_transport(runner_args, TRANSPORTS), runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    with offline_without_key():
        main()
