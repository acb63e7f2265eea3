"""Pipecat's own client of the manual endpoint, as its users run it, against any server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipecat.frames.frames import InputAudioRawFrame, VADUserStoppedSpeakingFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.services.cartesia.stt import CartesiaSTTService
from pipecat.workers.runner import WorkerRunner

from tests.conformance.official import PATIENCE, Finals, chunks


async def with_pipecat(
    base_url: str, turns: Sequence[bytes], *, model: str, wanted: int, rate: int = 16_000
) -> list[str]:
    """Pipecat's `CartesiaSTTService`; one text for each frame, and it makes one of each delta."""
    finals = Finals(wanted)
    service = CartesiaSTTService(
        api_key="sk_test",
        base_url=base_url.replace("http", "ws", 1),
        settings=CartesiaSTTService.Settings(model=model),
    )
    worker = PipelineWorker(
        Pipeline([service, finals]),
        params=PipelineParams(audio_in_sample_rate=rate),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(PATIENCE):
            for pcm in turns:
                async for chunk in chunks(pcm, rate, False):
                    await worker.queue_frame(InputAudioRawFrame(chunk, rate, 1))
                await worker.queue_frame(VADUserStoppedSpeakingFrame())
            await finals.complete.wait()
    finally:
        await worker.cancel()
        await running
    return finals.texts
