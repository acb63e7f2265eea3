"""What is measured: audio really sent, latency from the end of speech, speculations."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pipecat.frames.frames import EndFrame
from pipecat.metrics.metrics import STTUsageMetricsData, TTFBMetricsData
from pipecat.observers.service_metrics_observer import (
    ServiceLatencyRecord,
    ServiceMetricsObserver,
)
from pipecat.processors.frameworks.rtvi import RTVIObserver
from pydantic import BaseModel

from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.pipecat import (
    InkTurnsSTTService,
    SpeculateWhileKept,
    SpeculationCounts,
    SpeculationMetricsData,
    SpeculationOutcome,
    SpeculationReport,
    TurnLatencyMetricsData,
)
from tests.pipecat.conversation import Tap, conversation, tone
from tests.pipecat.sides import MakeSTT, builtin, has_run, ours, played, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Pause, Play, eager, end, update


async def test_usage_is_the_audio_that_was_sent() -> None:
    async with talk_to([START, end("Hi")]) as (talk, server):
        await talk.hear(0.5)
        await server.played.wait()
        await talk.task.queue_frame(EndFrame())
        await talk.until(lambda: bool(talk.tap.down(EndFrame)))
        usage = [
            m.value.audio_seconds for m in talk.tap.metrics if isinstance(m, STTUsageMetricsData)
        ]
        assert sum(usage) == pytest.approx(0.5)
        assert len(server.audio[0]) == 16_000


async def test_audio_that_was_never_sent_is_not_used() -> None:
    async def used(make: MakeSTT) -> float:
        async with conversation(make("ws://127.0.0.1:9")) as talk:
            await talk.hear(0.5)
            await talk.task.queue_frame(EndFrame())
            await talk.until(lambda: bool(talk.tap.down(EndFrame)), timeout=8)
            usage = [m for m in talk.tap.metrics if isinstance(m, STTUsageMetricsData)]
            return sum(m.value.audio_seconds for m in usage)

    def hasty(url: str) -> InkTurnsSTTService:
        return ours(url, drain_timeout=0.1)

    assert await used(hasty) == 0
    assert await used(builtin) == pytest.approx(0.5), "the framework's own now counts right, too"


def ttfb(tap: Tap) -> list[float]:
    """The times to first byte; the framework begins with one of 0 for every processor."""
    return [m.value for m in tap.metrics if isinstance(m, TTFBMetricsData) and m.value]


async def test_latency_counts_from_the_end_of_speech_in_the_audio() -> None:
    play: Play = [START, update("Hi"), CUE, eager("Hi"), Pause(0.1), end("Hi")]
    async with talk_to(play) as (talk, server):
        await talk.say(tone(16_000, 0.5))
        silent_since = time.time()
        await talk.say(bytes(2 * 8_000))
        silent_for = time.time() - silent_since
        server.go_on()
        await talk.until(lambda: bool(talk.llm.runs))
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        stages = [m for m in talk.tap.metrics if isinstance(m, TurnLatencyMetricsData)]
        assert [m.stage for m in stages] == ["eager_end", "end", "first_token"]
        assert {m.turn for m in stages} == {1}
        # The reply was begun early: its first token has waited for the end.
        assert silent_for - 0.1 < stages[0].value < stages[1].value <= stages[2].value
        assert ttfb(talk.tap) == [pytest.approx(stages[1].value, abs=0.05)]
    async with talk_to([START, update("Hi"), end("Hi")], builtin) as (talk, server):
        await talk.say(tone(16_000, 0.5))
        await server.played.wait()
        await talk.until(lambda: bool(talk.voice.spoken))
        assert ttfb(talk.tap) == [], "the framework's own now measures it, too"


async def test_clients_and_observers_are_told_what_the_metrics_say() -> None:
    """RTVI and the log know Pipecat's own classes of metrics only."""
    messages: list[dict[str, Any]] = []
    latencies: list[ServiceLatencyRecord] = []

    class Client(RTVIObserver):
        async def send_rtvi_message(self, model: BaseModel, exclude_none: bool = True) -> None:
            messages.append(model.model_dump())

    services = ServiceMetricsObserver()
    services.add_event_handler("on_service_latency", lambda _, record: latencies.append(record))
    play: Play = [START, update("Hi"), CUE, eager("Hi"), CUE, end("Hi")]
    async with talk_to(play, observers=[Client(), services]) as (talk, server):
        await talk.say(tone(16_000, 0.5) + bytes(2 * 4_800))
        server.go_on()
        await talk.until(lambda: bool(talk.llm.runs))
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        await talk.quiet()
        (of_stt,) = (r for r in latencies if r.processor == talk.stt.name and r.seconds)
    told = [
        data
        for message in messages
        if message["type"] == "metrics"
        for data in message["data"].get("processing", ())
    ]
    stages = {data["stage"]: data["value"] for data in told if "stage" in data}
    assert list(stages) == ["eager_end", "end", "first_token"]
    assert stages["end"] == pytest.approx(of_stt.seconds, abs=0.05)
    (speculation,) = (data for data in told if "outcome" in data)
    assert (speculation["outcome"], speculation["kept"]) == ("kept", 1)
    assert speculation["value"] == speculation["lead"] > 0


async def test_each_turn_is_a_span_that_tells_its_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with talk_to([START, update("Hi"), CUE, end("Hi")], tracing=True) as (talk, server):
        await talk.say(tone(16_000, 0.5) + bytes(16_000))
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        (latency,) = ttfb(talk.tap)
    (span,) = (span for span in spans.get_finished_spans() if span.name == "stt")
    assert span.attributes is not None
    assert span.attributes["transcript"] == "Hi"
    assert span.attributes["is_final"] is True
    assert span.attributes["metrics.ttfb"] == pytest.approx(latency)


async def test_a_service_tells_its_numbers_also_after_its_end() -> None:
    play: Play = [START, update("Hi"), CUE, eager("Hi"), CUE, end("Hi")]
    async with talk_to(play) as (talk, server):
        assert isinstance(talk.stt, InkTurnsSTTService)
        assert talk.stt.stats().turns == 0
        await talk.say(tone(16_000, 0.5) + bytes(2 * 4_800))
        server.go_on()
        await talk.until(lambda: bool(talk.llm.runs))
        server.go_on()
        await talk.until(lambda: bool(talk.voice.spoken))
        during = talk.stt.stats()
        assert (during.turns, during.connections, during.predictions) == (1, 1, 1)
        assert during.received == pytest.approx(0.8)
        assert during.end_latency.count == 1
        assert during.end_latency.p90 is not None and during.end_latency.p90 > 0.2
        assert during.speculations.kept == 1
    after = talk.stt.stats()
    assert (after.turns, after.end_latency, after.speculations) == (
        during.turns,
        during.end_latency,
        during.speculations,
    )
    assert after.billed == pytest.approx(during.billed, abs=0.5)


async def test_nothing_is_measured_where_nothing_was_heard() -> None:
    talk = await played([START, end("Hi")])
    assert not any(isinstance(m, TurnLatencyMetricsData) for m in talk.tap.metrics)
    assert ttfb(talk.tap) == []


async def outcomes(play: Play, *cues: str) -> list[tuple[str, float]]:
    talk = await played(play, cues=[has_run(cue) for cue in cues])
    metrics = [m for m in talk.tap.metrics if isinstance(m, SpeculationMetricsData)]
    return [(m.outcome, m.lead) for m in metrics]


async def test_the_outcome_of_a_speculation_is_told() -> None:
    ((kept, lead),) = await outcomes([START, eager("a"), CUE, end("a")], "a")
    assert kept == "kept"
    assert lead > 0
    ((withdrawn, _),) = await outcomes([START, eager("a"), CUE, RESUME, update("a b")], "a")
    assert withdrawn == "withdrawn"
    ((mismatched, _),) = await outcomes([START, eager("a"), CUE, end("a b")], "a")
    assert mismatched == "mismatched"


async def test_speculations_are_counted_and_reported() -> None:
    play: Play = [START, eager("a"), CUE, RESUME, update("a b"), eager("a b"), CUE, end("a b")]
    async with talk_to(play) as (talk, server):
        reports: list[SpeculationReport] = []

        async def on_speculation(_: object, report: SpeculationReport) -> None:
            reports.append(report)

        talk.stt.add_event_handler("on_speculation", on_speculation)
        await talk.hear()
        for words in ("a", "a b"):
            await talk.until(lambda words=words: words in talk.llm.runs)  # type: ignore[misc]
            server.go_on()
        await talk.until(lambda: len(reports) == 2)
        assert reports[-1].outcome is SpeculationOutcome.KEPT
        assert reports[-1].counts == SpeculationCounts(kept=1, withdrawn=1)


async def test_a_policy_decides_when_to_speculate() -> None:
    def thrifty(url: str) -> InkTurnsSTTService:
        policy = SpeculateWhileKept(min_kept=0.5, window=2, probe=100)
        return ours(url, speculation_policy=policy, resume_grace=0)

    words, play = "", list[TurnEvent]([START])
    for word in "abcd":
        words += word
        play += [eager(words), RESUME, update(words + "!")]
    talk = await played([*play, end(words)], thrifty)
    assert talk.runs == ["a", "ab", "abcd"]
