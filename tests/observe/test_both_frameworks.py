"""One scripted call has the same latency in both frameworks, as each of them measures it."""

from __future__ import annotations

import asyncio
import time

import pytest
from pipecat.frames.frames import EndFrame, Frame, InputAudioRawFrame, MetricsFrame
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins import Stats
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.pipecat import InkTurnsSTTService
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.harness import ROOM_RATE, call, paced
from tests.livekit.observing import named, traced

ROOM = AudioFormat(sample_rate=ROOM_RATE)
SCRIPT = Script("Hello there.", "A table ... for two.")
AUDIO = SCRIPT.audio(ROOM) + ROOM.silence(0.5)
SAME = 0.05  # seconds
END_DELAY = 0.8  # seconds of silence, as `ScriptTiming` has it


class Lateness:
    """How late this machine wakes a task, at worst; measurements differ by as much."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            self.seconds = max(self.seconds, time.monotonic() - due)


class Ttfb(FrameProcessor):
    """Keeps Pipecat's time to first byte of the STT service: from end of speech to final text."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, MetricsFrame):
            self.values += [
                data.value
                for data in frame.data
                if isinstance(data, TTFBMetricsData) and data.value
            ]
        await self.push_frame(frame, direction)


async def in_pipecat(url: str) -> tuple[list[float], Stats]:
    """Hold the call in a pipeline."""
    service, ttfb = InkTurnsSTTService(api_key="any", url=url), Ttfb()
    params = PipelineParams(audio_in_sample_rate=ROOM_RATE, enable_metrics=True)
    worker = PipelineWorker(Pipeline([service, ttfb]), params=params, cancel_on_idle_timeout=False)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    async for frame in paced(AUDIO, frame=0.02):
        audio = InputAudioRawFrame(
            audio=frame.data.tobytes(), sample_rate=ROOM_RATE, num_channels=1
        )
        await worker.queue_frame(audio)
    await worker.queue_frame(EndFrame())
    await running
    return ttfb.values, service.stats()


async def in_livekit(url: str) -> tuple[list[float], Stats]:
    """Hold the call in a session."""
    recogniser = ink.STT(api_key="any", base_url=url)
    with traced() as exporter:
        async with call(recogniser) as running:
            await running.microphone.speak(AUDIO, frame=0.02)
            await running.answered(len(SCRIPT.turns))
        stats = recogniser.stats()
        await recogniser.aclose()
        turns = named(exporter, "user_turn")
    delays = [(turn.attributes or {})["lk.transcription_delay"] for turn in turns]
    return [delay for delay in delays if isinstance(delay, float)], stats


async def test_both_frameworks_measure_the_same_latency_in_one_scripted_call() -> None:
    lateness = Lateness()
    watching = asyncio.create_task(lateness.watch())
    async with InkServer(SCRIPT) as server:
        (pipecat, pipecat_stats), (livekit, livekit_stats) = await asyncio.gather(
            in_pipecat(server.url), in_livekit(server.url)
        )
    watching.cancel()
    same = SAME + 2 * lateness.seconds
    assert len(pipecat) == len(livekit) == len(SCRIPT.turns)
    for one, other in zip(pipecat, livekit, strict=True):
        assert one == pytest.approx(other, abs=same)
        assert one == pytest.approx(END_DELAY, abs=0.1 + same)
    ours, theirs = pipecat_stats.end_latency, livekit_stats.end_latency
    assert ours.count == theirs.count == len(SCRIPT.turns)
    assert ours.p50 == pytest.approx(theirs.p50, abs=same)
    assert ours.p50 == pytest.approx(sorted(pipecat)[0], abs=same)
