"""Calls a Pipecat bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pipecat.frames.frames import EndFrame, InputAudioRawFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.runner import WorkerRunner

_START_TIMEOUT = 30.0  # seconds; what a bot loads when it starts takes its time


async def call_worker(worker: PipelineWorker, frames: AsyncIterator[bytes], rate: int) -> None:
    """Run a worker, send it audio at a sample rate in Hz, and end it."""
    started = asyncio.Event()

    async def on_started(*_: object) -> None:
        started.set()

    worker.add_event_handler("on_pipeline_started", on_started)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            await started.wait()
        async for pcm in frames:
            await worker.queue_frame(InputAudioRawFrame(pcm, rate, 1))
        await worker.queue_frame(EndFrame())
        await running
    finally:
        await worker.cancel()
        await running
