"""Manual finalize in a Pipecat pipeline: one whole transcription for each utterance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    MetricsFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData, TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.cartesia.stt import CartesiaSTTService
from pipecat.services.stt_service import STTService
from pipecat.workers.runner import WorkerRunner

from cartesia_ink_plugins import Transcription
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import Final
from cartesia_ink_plugins.pipecat import InkBatchSTTService, InkManualSTTService
from cartesia_ink_plugins.testing import InkServer, Rules, Script

SCRIPT = Script("Hello there.", "I'd like a table ... for two people.", "Thanks.")
RATE = 16_000
F = TypeVar("F", bound=Frame)


def utterances(script: Script) -> list[bytes]:
    """The audio of each turn, with the silence around it."""
    format = AudioFormat()
    pcm = script.audio(format)
    cuts = [0, *(format.size(end + 0.3) for _, end in script.spans)]
    return [pcm[a:b] for a, b in pairwise(cuts)]


class Witness(FrameProcessor):
    """Keeps every frame that comes by, in either direction."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.came = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self.came.set()
        await self.push_frame(frame, direction)

    def all(self, kind: type[F]) -> list[F]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def texts(self) -> list[str]:
        return [frame.text for frame in self.all(TranscriptionFrame)]


class Call:
    """A pipeline of a service between two witnesses, and what a test does with it."""

    def __init__(self, worker: PipelineWorker, up: Witness, down: Witness) -> None:
        self.worker, self.up, self.down = worker, up, down

    async def say(self, pcm: bytes, *, speed: float = 4.0, vad: bool = True) -> None:
        """Speak, as a transport with a VAD does."""
        if vad:
            await self.worker.queue_frame(VADUserStartedSpeakingFrame(start_secs=0.2))
        size = AudioFormat().size(0.1)
        for at in range(0, len(pcm), size):
            await self.worker.queue_frame(InputAudioRawFrame(pcm[at : at + size], RATE, 1))
            await asyncio.sleep(0.1 / speed)
        if vad:
            await self.worker.queue_frame(VADUserStoppedSpeakingFrame(stop_secs=0.2))

    async def until(self, count: int) -> list[str]:
        """Wait for so many transcriptions."""
        async with asyncio.timeout(10):
            while len(self.down.texts) < count:
                self.down.came.clear()
                await self.down.came.wait()
        return self.down.texts


@asynccontextmanager
async def call(service: STTService) -> AsyncIterator[Call]:
    up, down = Witness(), Witness()
    worker = PipelineWorker(
        Pipeline([up, service, down]),
        params=PipelineParams(
            audio_in_sample_rate=RATE, enable_metrics=True, enable_usage_metrics=True
        ),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        yield Call(worker, up, down)
    finally:
        await worker.cancel()
        await running


def ours(server: InkServer, **options: Any) -> InkManualSTTService:
    return InkManualSTTService(api_key="any", base_url=server.url, **options)


def batch(server: InkServer, **options: Any) -> InkBatchSTTService:
    return InkBatchSTTService(api_key="any", base_url=server.url, **options)


async def test_one_finalized_transcription_for_each_utterance() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        for number, pcm in enumerate(utterances(SCRIPT), start=1):
            await talk.say(pcm)
            await talk.until(number)
    frames = talk.down.all(TranscriptionFrame)
    assert [frame.text for frame in frames] == SCRIPT.transcripts
    assert all(frame.finalized and frame.includes_inter_frame_spaces for frame in frames)
    assert {str(frame.language) for frame in frames} == {"en"}
    assert all(isinstance(frame.result, Final) for frame in frames)
    [record] = server.connections
    assert record.received[:3] == ["finalize"] * 3


async def test_a_call_ends_with_close() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        await talk.say(utterances(SCRIPT)[0])
        await talk.until(1)
        await talk.worker.queue_frame(EndFrame())
        async with asyncio.timeout(10):
            while not talk.down.all(EndFrame):
                await asyncio.sleep(0.01)
        assert server.connections[0].received == ["finalize", "close"]


async def test_interims_grow_to_the_final_without_a_broken_word() -> None:
    words = {word for turn in SCRIPT.transcripts for word in turn.split()}
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        await talk.say(utterances(SCRIPT)[0] + utterances(SCRIPT)[1])
        await talk.until(1)
    interims = [frame.text for frame in talk.down.all(InterimTranscriptionFrame)]
    assert interims
    for interim in interims:
        assert set(interim.split()) <= words
        assert talk.down.texts[0].startswith(interim)


async def test_the_builtin_service_breaks_words() -> None:
    """Trap 15, and the reason for all this."""
    async with InkServer(SCRIPT) as server:
        theirs = CartesiaSTTService(
            api_key="any",
            base_url=server.url.replace("http", "ws"),
            settings=CartesiaSTTService.Settings(model="ink-2"),
        )
        async with call(theirs) as talk:
            await talk.say(utterances(SCRIPT)[0])
            texts = await talk.until(3)
    assert texts == ["Hello ", "the", "re."]
    assert not any(frame.finalized for frame in talk.down.all(TranscriptionFrame))
    assert server.connections[0].received[-1] == "done"


async def test_a_noise_gives_no_transcription() -> None:
    script = Script("Hello.")
    async with InkServer(script) as server, call(ours(server)) as talk:
        await talk.say(AudioFormat().silence(0.5))
        await talk.say(script.audio())
        assert await talk.until(1) == ["Hello."]


async def test_extra_headers_go_with_the_upgrade_request() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server, extra_headers={"X-Tenant": "a"})):
        async with asyncio.timeout(10):
            while not server.connections:
                await asyncio.sleep(0.01)
        assert server.connections[0].headers["x-tenant"] == "a"


async def test_a_button_needs_no_vad() -> None:
    async with InkServer(SCRIPT) as server:
        service = ours(server)
        async with call(service) as talk:
            await talk.say(utterances(SCRIPT)[0], vad=False)
            assert await service.finalize() == "Hello there."
            assert await talk.until(1) == ["Hello there."]
            assert await service.finalize() == ""
    assert talk.down.texts == ["Hello there."]


async def test_muting_ends_an_utterance() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        await talk.say(utterances(SCRIPT)[0], vad=False)
        await talk.worker.queue_frame(STTMuteFrame(mute=True))
        assert await talk.until(1) == ["Hello there."]
        await talk.say(utterances(SCRIPT)[1], vad=False)
        await talk.worker.queue_frame(STTMuteFrame(mute=False))
        await talk.say(utterances(SCRIPT)[2])
        assert (await talk.until(2))[1].strip() == "Thanks."


async def test_a_lost_connection_is_not_heard() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        first, second, third = utterances(SCRIPT)
        await talk.say(first)
        await talk.until(1)
        half = len(second) // 4 * 2
        await talk.say(second[:half], vad=False)
        server.close_all(1011)
        await talk.say(second[half:])
        await talk.until(2)
        await talk.say(third)
        assert await talk.until(3) == SCRIPT.transcripts
    assert len(server.connections) == 2


async def test_a_server_that_does_not_answer_is_not_waited_for_too_long() -> None:
    mute = InkServer(SCRIPT, rules=Rules(answer_finalize=False))
    async with mute as server, call(ours(server, finalize_timeout=0.3)) as talk:
        await talk.say(utterances(SCRIPT)[0])
        assert await talk.until(1) == ["Hello there."]
    [frame] = talk.down.all(TranscriptionFrame)
    assert not frame.finalized


async def test_latency_is_measured_from_the_end_of_speech_and_usage_is_what_was_sent() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        pcm = utterances(SCRIPT)[0]
        await talk.say(pcm)
        await talk.until(1)
        data = [data for frame in talk.down.all(MetricsFrame) for data in frame.data]
    [ttfb] = [d.value for d in data if isinstance(d, TTFBMetricsData) and d.value > 0]
    assert 0.2 <= ttfb < 1.5
    usage = [d.value.audio_seconds for d in data if isinstance(d, STTUsageMetricsData)]
    assert sum(usage) == pytest.approx(AudioFormat().seconds(len(pcm)), abs=0.01)


async def test_the_last_words_come_before_the_end() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        await talk.say(utterances(SCRIPT)[0], vad=False)
        await talk.worker.queue_frame(EndFrame())
        assert await talk.until(1) == ["Hello there."]


async def test_settings_change_without_losing_audio() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        first, second, _ = utterances(SCRIPT)
        await talk.say(first, vad=False)
        delta = InkManualSTTService.Settings(model="ink-whisper", language="de")
        await talk.worker.queue_frame(STTUpdateSettingsFrame(delta=delta))
        assert await talk.until(1) == ["Hello there."]
        await talk.say(second)
        await talk.until(2)
    assert server.connections[1].parameter("model") == "ink-whisper"
    assert server.connections[1].parameter("language") == "de"
    assert str(talk.down.all(TranscriptionFrame)[1].language) == "de"


async def test_what_is_silence_reaches_whisper_and_changes_in_mid_call() -> None:
    Settings = InkManualSTTService.Settings
    settings = Settings(model="ink-whisper", min_volume=0.0, max_silence_duration_secs=9.0)
    async with InkServer(SCRIPT) as server, call(ours(server, settings=settings)) as talk:
        first, second, _ = utterances(SCRIPT)
        await talk.say(first)
        await talk.until(1)
        await talk.worker.queue_frame(STTUpdateSettingsFrame(delta=Settings(min_volume=0.2)))
        await talk.say(second)
        await talk.until(2)
    asked = [
        (record.parameter("min_volume"), record.parameter("max_silence_duration_secs"))
        for record in server.connections
    ]
    assert asked == [("0", "9"), ("0.2", "9")]


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ("ink-2", {"min_volume": 0.2}),
        ("ink-2", {"max_silence_duration_secs": 1.0}),
        ("ink-whisper", {"keyterm": ["Cartesia"]}),
    ],
)
async def test_a_setting_that_the_model_does_not_take_is_ignored_and_named(
    model: str, setting: dict[str, Any], warnings: list[str]
) -> None:
    settings = InkManualSTTService.Settings(model=model, **setting)
    async with InkServer(SCRIPT) as server, call(ours(server, settings=settings)) as talk:
        await talk.worker.queue_frame(
            STTUpdateSettingsFrame(delta=InkManualSTTService.Settings(**setting))
        )
        await talk.say(utterances(SCRIPT)[0])
        assert await talk.until(1) == ["Hello there."]
    [name] = setting
    assert [record.parameter(name) for record in server.connections] == [None]
    told = [line for line in warnings if "has no meaning" in line]
    assert len(told) == 1 and f"`{name}` has no meaning with '{model}'" in told[0]


async def test_a_wrong_setting_changes_nothing_and_is_told() -> None:
    async with InkServer(SCRIPT) as server, call(ours(server)) as talk:
        delta = InkManualSTTService.Settings(model="ink-2", keyterm=["x"] * 101)
        await talk.worker.queue_frame(STTUpdateSettingsFrame(delta=delta))
        await talk.say(utterances(SCRIPT)[0])
        assert await talk.until(1) == ["Hello there."]
    assert "keyterms" in talk.up.all(ErrorFrame)[0].error
    assert len(server.connections) == 1


class TestBatch:
    async def test_each_utterance_is_a_file(self) -> None:
        there = InkServer(SCRIPT)
        async with there as server, call(batch(server, word_timestamps=True)) as talk:
            for number, pcm in enumerate(utterances(SCRIPT), start=1):
                await talk.say(pcm)
                await talk.until(number)
        frames = talk.down.all(TranscriptionFrame)
        assert [f.text.strip() for f in frames] == [t.strip() for t in SCRIPT.transcripts]
        assert all(frame.finalized for frame in frames)
        assert isinstance(frames[0].result, Transcription)
        assert frames[0].result.words[0].word == "Hello"
        assert {record.path for record in server.connections} == {"/stt"}

    async def test_silence_gives_no_transcription(self) -> None:
        script = Script("Hello.")
        async with InkServer(script) as server, call(batch(server)) as talk:
            await talk.say(AudioFormat().silence(0.5))
            await talk.say(script.audio())
            assert await talk.until(1) == ["Hello."]

    async def test_a_second_pipeline_begins_with_no_audio_of_the_first(self) -> None:
        script = Script("Hello.")
        async with InkServer(script) as server:
            service = batch(server)
            async with call(service) as talk:
                await talk.worker.queue_frame(VADUserStartedSpeakingFrame())
                await talk.say(script.audio(), vad=False)
            async with call(service) as talk:
                await talk.say(script.audio())
                assert await talk.until(1) == ["Hello."]
        sent = [record.audio_seconds for record in server.connections]
        silence = service._trailing_silence_secs
        assert sent == pytest.approx([AudioFormat().seconds(len(script.audio())) + silence])

    async def test_what_the_server_refuses_is_told(self) -> None:
        strict = InkServer(SCRIPT, api_keys=["another"])
        async with strict as server, call(batch(server)) as talk, asyncio.timeout(10):
            await talk.say(utterances(SCRIPT)[0])
            while not talk.up.all(ErrorFrame):
                talk.up.came.clear()
                await talk.up.came.wait()
        assert "401" in talk.up.all(ErrorFrame)[0].error
        assert talk.down.texts == []
