"""The official clients of the manual endpoint and of whole files, each as its users run it.

Every streaming function speaks the turns' audio to `base_url`, says `finalize` after each, and
returns what the client's user gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from cartesia import AsyncCartesia
from pipecat.frames.frames import InputAudioRawFrame, VADUserStoppedSpeakingFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.services.cartesia.stt import CartesiaSTTService
from pipecat.workers.runner import WorkerRunner

from tests.conformance.official import PATIENCE, Finals, chunks


async def with_cartesia_sdk(
    base_url: str, turns: Sequence[bytes], *, model: str, rate: int = 16_000
) -> list[str]:
    """`AsyncCartesia`, the manual-finalize WebSocket; one text for each `flush_done`."""
    texts: list[str] = []
    async with (
        AsyncCartesia(api_key="sk_test", base_url=base_url) as client,
        client.stt.manual_finalize.websocket(
            model=model, encoding="pcm_s16le", sample_rate=rate
        ) as connection,
        asyncio.timeout(PATIENCE),
    ):
        for pcm in turns:
            async for chunk in chunks(pcm, rate, False):
                await connection.send_raw(chunk)
            await connection.send("finalize")
            text = ""
            async for event in connection:
                if event.type == "transcript":
                    text += event.text
                elif event.type == "flush_done":
                    break
            texts.append(text)
        await connection.send("close")
        kinds = [event.type async for event in connection]
        assert kinds[-1] == "done"
    return texts


async def transcribe_with_cartesia_sdk(base_url: str, file: bytes) -> Any:
    """`AsyncCartesia.stt.transcribe`."""
    async with AsyncCartesia(api_key="sk_test", base_url=base_url) as client:
        return await client.stt.transcribe(
            file=("call.wav", file), model="ink-whisper", timestamp_granularities=["word"]
        )


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
