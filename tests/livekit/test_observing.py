"""A session of LiveKit: the span of each turn under `user_turn`, and what replies cost in vain."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents import stt
from livekit.agents.metrics import STTMetrics
from opentelemetry.sdk.trace import ReadableSpan

from cartesia_ink_plugins import SpeculationStats
from cartesia_ink_plugins import livekit as ink
from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.livekit import TokenPrice
from cartesia_ink_plugins.livekit.session_watch import session_of
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from cartesia_ink_plugins.testing import InkServer, Script
from tests.livekit.conftest import MakeSTT
from tests.livekit.harness import ROOM_RATE, Call, call, until
from tests.livekit.observing import CountingLlm, Tells, named, traced

ROOM = AudioFormat(sample_rate=ROOM_RATE)
PAUSE = "A table ... for two."


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def speak(running: Call, script: Script) -> None:
    """Say a script, and wait until all of its turns were answered."""
    await running.microphone.speak(script.audio(ROOM) + ROOM.silence(0.5))
    await running.answered(len(script.turns))


def check_spans(turns: list[ReadableSpan], ours: list[ReadableSpan], count: int) -> None:
    """Each of our spans lies in a turn of the session, and is its child."""
    assert len(turns) == len(ours) == count
    for turn, span in zip(turns, ours, strict=True):
        assert turn.context is not None and span.parent is not None
        assert span.parent.span_id == turn.context.span_id
        assert span.start_time is not None and turn.start_time is not None
        assert span.start_time == pytest.approx(turn.start_time, abs=50_000_000)


async def test_the_span_of_a_turn_is_a_child_of_the_sessions_user_turn(make_ink: MakeSTT) -> None:
    script = Script("Hello there.", "Yes.")
    with traced() as exporter:
        async with InkServer(script) as server:
            recogniser = make_ink(server.url)
            async with call(recogniser) as running:
                await speak(running, script)
        turns, ours = named(exporter, "user_turn"), named(exporter, "speech_to_text")
    check_spans(turns, ours, 2)
    for number, span in enumerate(ours, start=1):
        told = attributes(span)
        assert told["cartesia.ink.turn.index"] == number
        assert told["lk.agent_label"] == "default_agent"
        assert (
            told["gen_ai.response.id"] in attributes(turns[number - 1])["lk.provider_request_ids"]
        )
        assert [event.name for event in span.events] == [
            "turn.start",
            "turn.eager_end",
            "turn.end",
        ]


async def test_behind_a_fallback_adapter_it_is_so_too(make_ink: MakeSTT) -> None:
    script = Script("Hello there.")
    with traced() as exporter:
        async with InkServer(script) as server:
            adapter = stt.FallbackAdapter([make_ink(server.url), make_ink(server.url)])
            async with call(adapter) as running:
                await speak(running, script)
            await adapter.aclose()
        check_spans(named(exporter, "user_turn"), named(exporter, "speech_to_text"), 1)


async def test_metrics_of_usage_have_the_id_of_the_request(make_ink: MakeSTT) -> None:
    script = Script("Hello there.")
    metrics: list[STTMetrics] = []
    async with InkServer(script) as server:
        recogniser = make_ink(server.url)
        recogniser.on("metrics_collected", metrics.append)
        async with call(recogniser) as running:
            await speak(running, script)
        [connection] = server.connections
    assert {one.request_id for one in metrics} == {connection.request_id}
    assert sum(one.audio_duration for one in metrics) > script.seconds
    assert [one for one in metrics if one.acquire_time > 0 or one.connection_reused]


async def test_a_session_that_nobody_has_is_not_found(make_ink: MakeSTT) -> None:
    recogniser = make_ink("http://127.0.0.1:1")
    assert session_of(recogniser) is None
    recogniser.on("metrics_collected", lambda _: None)
    assert session_of(recogniser) is None


class TestSpeculation:
    """Each reply is priced with the tokens that the LLM itself has told."""

    async def replies(
        self,
        make_ink: MakeSTT,
        script: Script,
        count: int,
        *,
        answers: CountingLlm | None = None,
        **options: Any,
    ) -> tuple[SpeculationStats, CountingLlm]:
        """Speak a script to a session; return its speculations, so many, and its LLM."""
        answers = answers or CountingLlm()
        async with InkServer(script) as server:
            recogniser: ink.STT = make_ink(server.url, **options)
            async with call(recogniser, answers=answers) as running:
                await speak(running, script)

                def settled() -> bool:
                    told = recogniser.stats().speculations
                    return told.kept + told.withdrawn + told.mismatched >= count

                await until(settled)
            return recogniser.stats().speculations, answers

    async def test_a_reply_that_is_kept_wastes_nothing(self, make_ink: MakeSTT) -> None:
        told, answers = await self.replies(make_ink, Script("Hello there."), 1)
        [(_, read, written)] = answers.usage
        assert told == SpeculationStats(kept=1, prompt_tokens=read, completion_tokens=written)

    async def test_a_reply_that_the_user_talks_over_is_withdrawn(self, make_ink: MakeSTT) -> None:
        told, answers = await self.replies(make_ink, Script(PAUSE), 2)
        [(first, read, written), (_, also_read, also_written)] = answers.usage
        assert first == "A table"
        assert told == SpeculationStats(
            kept=1,
            withdrawn=1,
            prompt_tokens=read + also_read,
            completion_tokens=written + also_written,
            wasted_prompt_tokens=read,
            wasted_completion_tokens=written,
        )

    async def test_a_reply_to_other_words_is_mismatched(self, make_ink: MakeSTT) -> None:
        timing = ScriptTiming(word_delay=0.4, eager_has_all=False)
        script = Script("Hello there friend.", timing=timing)
        told, answers = await self.replies(make_ink, script, 1)
        (first, read, written), *_ = answers.usage
        assert first != "Hello there friend."
        assert (told.mismatched, told.withdrawn) == (1, 0)
        assert (told.wasted_prompt_tokens, told.wasted_completion_tokens) == (read, written)

    async def test_an_llm_that_tells_no_usage_is_not_guessed_at(self, make_ink: MakeSTT) -> None:
        answers = CountingLlm(tells="never")
        told, _ = await self.replies(make_ink, Script("Hello there."), 1, answers=answers)
        assert told == SpeculationStats(kept=1)

    @pytest.mark.parametrize("tells", ["last", "last of all"])
    async def test_what_a_cancelled_llm_does_not_tell_is_unknown_and_estimated(
        self, make_ink: MakeSTT, tells: Tells
    ) -> None:
        """It was cancelled before the chunk with its usage, or before any chunk."""
        answers = CountingLlm(tells=tells, never_ends="A table")
        price = TokenPrice(prompt=0.4e-6, completion=1.6e-6)
        policy = Watching()
        told, _ = await self.replies(
            make_ink,
            Script("Hello there.", PAUSE),
            3,
            answers=answers,
            speculation_policy=policy,
            token_price=price,
        )
        [hello, cancelled, table] = answers.usage
        withdrawn, kept, last = sorted(policy.reports, key=lambda report: report.outcome == "kept")
        assert (told.kept, told.withdrawn, told.mismatched) == (2, 1, 0)
        assert told.prompt_tokens == hello[1] + table[1]
        assert (told.wasted_prompt_tokens, told.wasted_completion_tokens) == (0, 0)
        assert told.estimated_wasted_prompt_tokens == pytest.approx(cancelled[1], rel=0.01)
        assert (withdrawn.prompt_tokens, withdrawn.completion_tokens) == (None, None)
        assert withdrawn.estimated_prompt_tokens == told.estimated_wasted_prompt_tokens
        assert withdrawn.cost == pytest.approx(cancelled[1] * price.prompt, rel=0.01)
        for report, (_, read, written) in ((kept, hello), (last, table)):
            assert report.estimated_prompt_tokens is None
            assert report.cost == pytest.approx(read * price.prompt + written * price.completion)
        spending = policy.spending
        assert spending is not None
        assert (
            spending.wasted_tokens == spending.estimated_tokens == withdrawn.estimated_prompt_tokens
        )
        assert spending.tokens == spending.wasted_tokens + sum(sum(u[1:]) for u in (hello, table))

    @pytest.mark.parametrize("tells", ["first", "last"])
    async def test_a_budget_ends_speculation_in_a_call(
        self, make_ink: MakeSTT, tells: Tells
    ) -> None:
        """After one reply in vain the rest of the turns is answered at their ends only."""
        answers = CountingLlm(tells=tells, never_ends="A table")
        told, _ = await self.replies(
            make_ink,
            Script("Hello there.", PAUSE, PAUSE),
            2,
            answers=answers,
            speculation_policy=ink.SpeculateWithinBudget(tokens_per_minute=1500),
        )
        # Older versions cancel a reply at the next prediction only: then that is answered, too.
        assert (told.withdrawn, told.mismatched) == (1, 0)
        first, *rest = (text for text, *_ in answers.usage)
        assert (first, rest) == ("Hello there.", ["A table", *["A table for two."] * 2])


class Watching(ink.AlwaysSpeculate):
    """Remembers what a policy is told."""

    def __init__(self) -> None:
        self.reports: list[ink.SpeculationReport] = []
        self.spending: ink.Spending | None = None

    def watch(self, spending: ink.Spending) -> None:
        self.spending = spending

    def resolved(self, report: ink.SpeculationReport) -> None:
        self.reports.append(report)
