"""The framework's own observers measure every turn, with no VAD in the pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    SpeechControlParamsFrame,
    UserMuteStartedFrame,
    UserStartedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.observers.speaking_observer import SpeakingObserver, SpeechEvent
from pipecat.observers.user_bot_latency_observer import LatencyBreakdown, UserBotLatencyObserver
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_mute import AlwaysUserMuteStrategy
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.net import observers
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.pipecat import (
    InkBatchSTTService,
    InkManualSTTService,
    InkTurnsSTTService,
)
from cartesia_ink_plugins.pipecat.llm_observer import all_processors
from cartesia_ink_plugins.server.app import InkServer
from cartesia_ink_plugins.server.script import Script, Turn
from tests.observe.telemetry.telling import Telling
from tests.pipecat.conversation import Conversation, conversation, tone
from tests.pipecat.sides import builtin, ours, talk_to
from tests.pipecat.wire import CUE, START, Play, WireServer, eager, end, update, wire_server

UNUSED = "ws://127.0.0.1:9"
VAD_FRAMES = (VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame)
SCRIPT = Script("One moment", Turn(["Two", 0.5, "for dinner"]), Turn("", noise=0.3), "Yes")


class Watch(BaseObserver):
    """Remembers the frames of a VAD, each once, and when the bot began to speak."""

    def __init__(self) -> None:
        """See nothing yet."""
        super().__init__()
        self._seen: set[int] = set()
        self.frames: list[Frame] = []
        self.sources: list[FrameProcessor] = []
        self.bot_started: list[float] = []

    async def on_push_frame(self, data: FramePushed) -> None:
        """Take note of a frame."""
        if data.direction is not FrameDirection.DOWNSTREAM or data.frame.id in self._seen:
            return
        self._seen.add(data.frame.id)
        if isinstance(data.frame, VAD_FRAMES):
            self.frames.append(data.frame)
            self.sources.append(data.source)
        elif isinstance(data.frame, BotStartedSpeakingFrame):
            self.bot_started.append(time.time())

    @property
    def kinds(self) -> list[str]:
        """The kinds of the frames, in order."""
        return [type(frame).__name__[3 : -len("SpeakingFrame")] for frame in self.frames]


class Loudness(VADAnalyzer):
    """A VAD that takes every sound for a voice."""

    def __init__(self) -> None:
        """Decide at once."""
        super().__init__(params=VADParams(start_secs=0.06, stop_secs=0.1, min_volume=0.0))

    def num_frames_required(self) -> int:
        """20 ms."""
        return self.sample_rate // 50

    def voice_confidence(self, buffer: bytes) -> float:
        """1 for a sound, 0 for silence."""
        return float(np.abs(np.frombuffer(buffer, "<i2").astype(np.int32)).max() > 300)


@asynccontextmanager
async def spoken(
    script: Script, decibels: float | None = None, **arguments: Any
) -> AsyncIterator[tuple[Conversation, list[tuple[float, float]]]]:
    """Say a script to our service in a pipeline, in real time.

    The server tells each turn 0.2 s after its sound began, and its end 0.6 s after it ended,
    whatever noise there is. Nothing more is said before that has arrived.

    Yields:
        The conversation, and when the speech of each turn with text began and ended: the wall-clock
        times at which that audio reached the service.
    """
    audio = AudioFormat()
    pcm = script.audio(audio) + bytes(audio.size(0.8))
    if decibels is not None:
        samples = audio.decode(pcm)
        noise = np.random.default_rng(7).standard_normal(len(samples), np.float32)
        level = np.sqrt(np.square(samples[samples != 0]).mean()) * 10 ** (-decibels / 20)
        pcm = audio.encode(samples + noise * np.float32(level))
    play: list[Any] = []
    for turn in script.turns:
        play += [CUE, START, *([update(turn.text)] if turn.text else []), CUE, end(turn.text)]
    cues = [at for start, stop in script.spans for at in (start + 0.2, stop + 0.6)]
    async with talk_to(play, patient, **arguments) as (talk, server):
        told: list[str] = []
        for event in ("on_turn_start", "on_turn_end"):
            talk.stt.add_event_handler(event, lambda *_, event=event: told.append(event))
        size, sent_at = audio.size(0.02), list[float]()

        async def on_frame(_: object, frame: Frame) -> None:
            if isinstance(frame, InputAudioRawFrame):
                sent_at.append(time.time())

        talk.stt.add_event_handler("on_before_process_frame", on_frame)
        for index, first in enumerate(range(0, len(pcm), size)):
            frame = InputAudioRawFrame(pcm[first : first + size], audio.sample_rate, 1)
            await talk.task.queue_frame(frame)
            if cues and cues[0] <= 0.02 * index:
                cues.pop(0)
                server.go_on()
                expected = 2 * len(script.turns) - len(cues)
                await talk.until(lambda expected=expected: len(told) == expected)  # type: ignore[misc]
            await asyncio.sleep(0.02)
        yield (
            talk,
            [
                (sent_at[int(start / 0.02)], sent_at[int(stop / 0.02) - 1])
                for turn, (start, stop) in zip(script.turns, script.spans, strict=True)
                if turn.text
            ],
        )


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[ReadableSpan]]:
    """The finished spans of a name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return lambda name: [s for s in exporter.get_finished_spans() if s.name == name]


@pytest.mark.parametrize("decibels", [None, 20.0], ids=["quiet", "noise"])
async def test_every_turn_is_measured_without_a_vad(
    decibels: float | None, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """Latency, speech times and spans, against when the speech was planted in the audio."""
    watch, latencies, speech = Watch(), UserBotLatencyObserver(), SpeakingObserver()
    measured: list[float] = []
    breakdowns: list[LatencyBreakdown] = []
    events: list[SpeechEvent] = []
    latencies.add_event_handler("on_latency_measured", lambda _, s: measured.append(s))
    latencies.add_event_handler("on_latency_breakdown", lambda _, b: breakdowns.append(b))
    speech.add_event_handler("on_speech_event", lambda _, e: events.append(e))
    seen_by = [watch, latencies, speech]
    async with spoken(SCRIPT, decibels, observers=seen_by, tracing=True) as (talk, planted):
        await talk.until(lambda: len(measured) == 3)
        await talk.until(lambda: len(breakdowns) == 3)
    assert watch.kinds == ["UserStarted", "UserStopped"] * 3, "the noise counts as speech"

    said = [e for e in events if e.kind == "user_speech_stopped"]
    for event, (start, stop) in zip(said, planted, strict=True):
        assert event.started_at == pytest.approx(start, abs=0.05)
        assert event.timestamp == pytest.approx(stop, abs=0.1)
    for latency, breakdown, (_, stop) in zip(measured, breakdowns, planted, strict=True):
        assert breakdown.user_turn_start_time == pytest.approx(stop, abs=0.1)
        assert breakdown.user_turn_secs and 0.5 < breakdown.user_turn_secs <= latency

    for span, (start, _) in zip(spans("stt"), planted, strict=True):
        assert span.start_time and span.attributes
        assert span.start_time / 1e9 == pytest.approx(start, abs=0.05)
        assert span.attributes["gen_ai.provider.name"] == "cartesia"
    turns = [dict(span.attributes or {}) for span in spans("turn")]
    reported = [turn["turn.user_bot_latency_seconds"] for turn in turns]
    # Each observer sees the bot begin to speak when it comes to it.
    assert reported == pytest.approx(measured, abs=0.2)


@pytest.mark.needs("pipecat-ai>=1.14")
async def test_the_whole_wait_is_broken_down() -> None:
    breakdowns: list[LatencyBreakdown] = []
    latencies = UserBotLatencyObserver()
    latencies.add_event_handler("on_latency_breakdown", lambda _, b: breakdowns.append(b))
    async with talk_to(TURN, patient, observers=[latencies]) as (talk, server):
        await hold_turn(talk, server)
    (breakdown,) = breakdowns
    contributions = {c.key: c.duration_secs for c in breakdown.contributions}
    assert contributions["endpointing_wait"] > 0.3
    assert sum(contributions.values()) == pytest.approx(breakdown.total_secs)


TURN: Play = [CUE, START, update("Hi"), CUE, end("Hi")]


def patient(url: str, **arguments: Any) -> InkTurnsSTTService:
    """Our service, which takes no connection for stalled, however slow the machine is."""
    return ours(url, resilience=Resilience(stall_timeout=600.0), **arguments)


async def say_turn(talk: Conversation, server: WireServer) -> None:
    """Say a turn of half a second; its first text comes in the middle, its end after 0.4 s."""
    await talk.say(tone(16_000, 0.3))
    server.go_on()
    await talk.until(lambda: bool(talk.tap.interims))
    await talk.say(tone(16_000, 0.2) + bytes(2 * 6_400))
    server.go_on()
    await talk.until(lambda: bool(talk.finals))


async def hold_turn(talk: Conversation, server: WireServer) -> None:
    """Say a turn, and wait for its answer."""
    await say_turn(talk, server)
    await talk.until(lambda: bool(talk.voice.spoken))
    await talk.quiet()


async def test_no_processor_receives_what_the_observers_see() -> None:
    watch = Watch()
    async with talk_to(TURN, patient, observers=[watch]) as (talk, server):
        await hold_turn(talk, server)
        assert watch.sources == [talk.stt, talk.stt]
        assert watch.kinds == ["UserStarted", "UserStopped"]
        assert not talk.tap.down(*VAD_FRAMES) and not talk.tap.up(*VAD_FRAMES)


async def test_processors_receive_each_frame_once_if_they_should() -> None:
    async with talk_to(
        TURN, lambda url: patient(url, speech_frames=True), observers=[watch := Watch()]
    ) as (talk, server):
        await hold_turn(talk, server)
        assert len(talk.tap.down(*VAD_FRAMES)) == 2
        assert watch.kinds == ["UserStarted", "UserStopped"]
        assert talk.voice.spoken == ["re: Hi."]


async def test_nobody_is_told_if_nobody_should_be() -> None:
    async with talk_to(
        TURN, lambda url: patient(url, speech_frames=False), observers=[watch := Watch()]
    ) as (talk, server):
        await hold_turn(talk, server)
        assert watch.frames == []


def test_another_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="speech_frames: 'always' is neither"):
        ours(UNUSED, speech_frames="always")


async def decided(mode: object) -> tuple[list[str], list[str], int]:
    """What an application's strategies decide that listen to a VAD: runs, messages, starts."""
    strategies = UserTurnStrategies(
        start=[VADUserTurnStartStrategy()],
        stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)],
    )
    params = LLMUserAggregatorParams(user_turn_strategies=strategies)
    async with talk_to(TURN, lambda url: patient(url, speech_frames=mode), params=params) as (
        talk,
        server,
    ):
        await say_turn(talk, server)
        await talk.quiet(0.6)
        return talk.llm.runs, talk.user_messages, len(talk.tap.up(UserStartedSpeakingFrame))


async def test_strategies_that_listen_to_a_vad_decide_as_without_the_frames() -> None:
    without = await decided(False)
    assert await decided("auto") == without
    assert await decided(True) != without, "these strategies do not listen to a VAD"


@pytest.mark.parametrize("where", ["before", "after", "aggregator"])
async def test_a_vad_of_the_pipeline_is_not_repeated(where: str) -> None:
    vad = [] if where == "aggregator" else [VADProcessor(vad_analyzer=Loudness())]
    params = LLMUserAggregatorParams(
        vad_analyzer=Loudness() if where == "aggregator" else None,
        user_turn_strategies=ours(UNUSED).recommended_user_turn_strategies(),
    )
    watch = Watch()
    async with talk_to(
        TURN,
        patient,
        observers=[watch],
        params=params if where == "aggregator" else None,
        before_stt=vad if where == "before" else (),
        before_aggregator=vad if where == "after" else (),
    ) as (talk, server):
        await say_turn(talk, server)
        await talk.until(lambda: "UserStopped" in watch.kinds)
        await talk.quiet()
        assert watch.frames
        assert talk.stt not in watch.sources


class OwnVAD(FrameProcessor):
    """A voice detector of the application, which announces itself or speaks up in mid-call."""

    def __init__(self, *frames: type[Frame]) -> None:
        """Push frames of these kinds with the first audio."""
        super().__init__()
        self._frames = list(frames)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Push them, in both directions, before the audio."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            while self._frames:
                kind = self._frames.pop()
                fields = {"vad_params": VADParams()} if kind is SpeechControlParamsFrame else {}
                await self.broadcast_frame(kind, **fields)
        await self.push_frame(frame, direction)


@pytest.mark.parametrize("kind", [SpeechControlParamsFrame, VADUserStartedSpeakingFrame])
async def test_a_voice_detector_of_the_application_is_not_repeated(kind: type[Frame]) -> None:
    watch = Watch()
    async with talk_to(TURN, patient, observers=[watch], before_stt=[OwnVAD(kind)]) as (
        talk,
        server,
    ):
        await hold_turn(talk, server)
        assert talk.stt not in watch.sources


async def test_a_vad_beside_the_service_is_found_in_the_pipeline() -> None:
    """Its frames do not come by the service, but the observers see them."""
    watch = Watch()
    beside = ParallelPipeline(  # type: ignore[no-untyped-call]
        [patient(UNUSED)], [VADProcessor(vad_analyzer=Loudness())]
    )
    (stt,) = (p for p in all_processors(beside) if isinstance(p, InkTurnsSTTService))
    async with wire_server(TURN) as server:
        stt._url = server.url
        async with conversation(beside, observers=[watch]) as talk:
            await say_turn(talk, server)
            await talk.until(lambda: "UserStopped" in watch.kinds)
            await talk.quiet()
            assert stt not in watch.sources


async def test_speech_under_a_mute_is_not_reported() -> None:
    params = LLMUserAggregatorParams(
        user_mute_strategies=[AlwaysUserMuteStrategy()]  # type: ignore[no-untyped-call]
    )
    watch = Watch()
    async with talk_to(TURN, patient, params=params, observers=[watch]) as (talk, server):
        await talk.task.queue_frame(BotStartedSpeakingFrame())
        await talk.until(lambda: bool(talk.tap.up(UserMuteStartedFrame)))
        await say_turn(talk, server)
        await talk.quiet()
        assert watch.frames == []


async def test_times_that_the_audio_does_not_tell_are_not_reported() -> None:
    watch = Watch()
    async with talk_to([START, update("Hi"), end("Hi")], observers=[watch]) as (talk, _):
        await talk.hear()
        await talk.until(lambda: bool(talk.voice.spoken))
        assert watch.frames == []


async def test_the_framework_s_own_service_measures_nothing() -> None:
    watch, measured = Watch(), list[float]()
    latencies = UserBotLatencyObserver()
    latencies.add_event_handler("on_latency_measured", lambda _, s: measured.append(s))
    async with talk_to(TURN, builtin, observers=[watch, latencies]) as (talk, server):
        await hold_turn(talk, server)
        assert (watch.frames, measured) == ([], []), "it does now: change the documentation"


@pytest.mark.parametrize("service", [InkManualSTTService, InkBatchSTTService])
async def test_the_provider_is_named_by_every_service(
    service: type[InkManualSTTService | InkBatchSTTService],
    spans: Callable[[str], list[ReadableSpan]],
) -> None:
    script = Script("Hello there")
    params = LLMUserAggregatorParams(
        user_turn_strategies=UserTurnStrategies(
            start=[VADUserTurnStartStrategy()],
            stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.1)],
        )
    )
    vad = VADProcessor(vad_analyzer=Loudness())
    async with (
        InkServer(script) as server,
        conversation(
            service(api_key="any", base_url=server.url),
            params=params,
            before_stt=[vad],
            tracing=True,
        ) as talk,
    ):
        await talk.say(script.audio() + bytes(16_000))
        await talk.until(lambda: bool(spans("stt")))
    (span,) = spans("stt")
    assert span.attributes is not None
    assert span.attributes["gen_ai.provider.name"] == "cartesia"
    assert span.attributes["transcript"] == "Hello there"


async def test_telemetry_puts_its_span_under_pipecat_s_turn(
    spans: Callable[[str], list[ReadableSpan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = Telling()
    monkeypatch.setattr(observers, "environment_taps", lambda: [telling.tap()])
    # Silence: on a slow machine, speech that no turn event follows in time is taken for a stalled
    # connection, and the play would stay behind on it.
    play: Play = [START, update("Hi"), eager("Hi"), CUE, end("Hi")]
    async with talk_to(play, tracing=True) as (talk, server):
        await talk.hear()
        await talk.until(lambda: bool(talk.llm.runs))
        server.go_on()
        await talk.until(lambda: bool(telling.spans))
    (request,), (turn,) = telling.spans, spans("turn")
    assert request.parent is not None and turn.context is not None
    assert request.parent.span_id == turn.context.span_id
    assert request.attributes is not None and turn.attributes is not None
    assert request.attributes["cartesia.ink.speculation"] == "kept"
    assert request.attributes["conversation.id"] == turn.attributes["conversation.id"]
