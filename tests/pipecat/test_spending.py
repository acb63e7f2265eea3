"""What speculation costs: the tokens of discarded replies, and the policies that look at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pytest
from pipecat.frames.frames import LLMFullResponseEndFrame, LLMFullResponseStartFrame, LLMTextFrame
from pipecat.metrics.metrics import LLMTokenUsage, LLMUsageMetricsData

from cartesia_ink_plugins.core.events import TurnEvent
from cartesia_ink_plugins.pipecat import (
    InkTurnsSTTService,
    SpeculateWhileKept,
    SpeculateWithinBudget,
    SpeculationMetricsData,
    SpeculationOutcome,
    SpeculationPolicy,
    SpeculationReport,
    Spending,
    TokenPrice,
)
from tests.pipecat.conversation import Conversation, ScriptedLLM
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Play, eager, end, update

PRICE = TokenPrice(prompt=0.4e-6, completion=1.6e-6)


@dataclass(slots=True)
class Run:
    """What an inference has really used."""

    words: str
    prompt: int
    written: int = 0
    is_reported: bool = False


Cue: TypeAlias = Callable[["CountingLLM"], bool]
WhenStopped: TypeAlias = Literal["usage", "zeros", "nothing"]


class CountingLLM(ScriptedLLM):
    """Counts its tokens: one for four characters that it reads, and one for each that it writes."""

    def __init__(self, *, token_delay: float, when_stopped: WhenStopped) -> None:
        """Set the pace.

        Args:
            token_delay: Seconds before each token.
            when_stopped: What it reports when it is stopped.
        """
        super().__init__(token_delay=token_delay)
        self._when_stopped = when_stopped
        self.used: list[Run] = []

    def can_generate_metrics(self) -> bool:
        """It reports its usage."""
        return True

    async def _answer(self, words: str) -> None:
        characters = sum(len(str(message["content"])) for message in self.contexts[-1])
        run = Run(words, 1000 + characters // 4)
        self.used.append(run)
        is_done = False
        try:
            await self.push_frame(LLMFullResponseStartFrame())
            for token in ("re: ", words, "."):
                await asyncio.sleep(self.token_delay)
                run.written += 1
                await self.push_frame(LLMTextFrame(token))
            is_done = True
        finally:
            if is_done or self._when_stopped == "usage":
                await self._report(run)
            elif self._when_stopped == "zeros":
                await self.start_llm_usage_metrics(
                    LLMTokenUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
                )
        await self.push_frame(LLMFullResponseEndFrame())

    async def _report(self, run: Run) -> None:
        run.is_reported = True
        await self.start_llm_usage_metrics(
            LLMTokenUsage(
                prompt_tokens=run.prompt,
                completion_tokens=run.written,
                total_tokens=run.prompt + run.written,
            )
        )


def ran(words: str) -> Cue:
    """The LLM has begun to answer some words."""
    return lambda llm: words in llm.runs


def finished(llm: CountingLLM) -> bool:
    """The first reply is complete."""
    return bool(llm.used) and llm.used[0].is_reported


def at_once(_: CountingLLM) -> bool:
    """Wait for nothing."""
    return True


def going_on(*words: str) -> Play:
    """A user who goes on after each predicted end, with other words."""
    play = list[TurnEvent]([START])
    text = ""
    for word in words:
        text += word
        play += [eager(text), CUE, RESUME, update(text + "!")]  # type: ignore[list-item]
    return [*play, end(text + " over")]


async def told(
    play: Play,
    make: Callable[[str], InkTurnsSTTService],
    *,
    cues: list[Cue],
    outcomes: int,
    when_stopped: WhenStopped = "usage",
    token_delay: float = 0.0,
) -> tuple[Conversation, CountingLLM, list[SpeculationReport]]:
    """Play something, and return what was reported of the speculations."""
    llm = CountingLLM(token_delay=token_delay, when_stopped=when_stopped)
    reports: list[SpeculationReport] = []
    async with talk_to(play, make, llm=llm) as (talk, server):
        assert isinstance(talk.stt, InkTurnsSTTService)
        talk.stt.add_event_handler("on_speculation", lambda _, report: reports.append(report))
        await talk.hear()
        for cue in cues:
            await talk.until(lambda cue=cue: cue(llm))  # type: ignore[misc]
            server.go_on()
        await talk.until(lambda: len(reports) == outcomes and bool(talk.voice.spoken))
        await talk.quiet()
        return talk, llm, reports


def thrifty(policy: SpeculationPolicy) -> Callable[[str], InkTurnsSTTService]:
    """A service with a policy, at a price."""

    def make(url: str) -> InkTurnsSTTService:
        return ours(url, speculation_policy=policy, token_price=PRICE, resume_grace=0)

    return make


@pytest.mark.parametrize("token_delay", [0.0, 0.3], ids=["whole", "stopped"])
async def test_the_tokens_of_discarded_replies_are_those_that_the_llm_reports(
    token_delay: float,
) -> None:
    """Of two that were withdrawn and one that did not match; the answer in the end is not one."""
    spending: Spending | None = None

    class Watching(SpeculateWhileKept):
        def watch(self, given: Spending) -> None:
            nonlocal spending
            spending = given

    play = going_on("a", "ab")
    play = [*play[:-1], eager("b"), CUE, end("b over")]
    talk, llm, reports = await told(
        play,
        thrifty(Watching()),
        cues=[ran("a"), ran("aab"), ran("b")],
        outcomes=3,
        token_delay=token_delay,
    )
    usage = [m.value for m in talk.tap.metrics if isinstance(m, LLMUsageMetricsData)]
    assert usage == [], "the tap before the aggregator sees what the LLM pushes downstream"
    assert [report.outcome for report in reports] == ["withdrawn", "withdrawn", "mismatched"]
    wasted, kept = llm.used[:3], llm.used[3:]
    assert [(r.prompt_tokens, r.completion_tokens) for r in reports] == [
        (run.prompt, run.written) for run in wasted
    ]
    assert all(report.estimated_prompt_tokens is None for report in reports)
    assert [report.cost for report in reports] == pytest.approx(
        [run.prompt * PRICE.prompt + run.written * PRICE.completion for run in wasted]
    )
    assert spending is not None
    assert spending.wasted_tokens == sum(run.prompt + run.written for run in wasted)
    assert spending.tokens == spending.wasted_tokens + kept[0].prompt + kept[0].written
    assert spending.estimated_tokens == 0
    speculations = talk.stt.stats().speculations  # type: ignore[attr-defined]
    assert (speculations.withdrawn, speculations.mismatched) == (2, 1)
    assert speculations.wasted_prompt_tokens == sum(run.prompt for run in wasted)
    assert speculations.wasted_completion_tokens == sum(run.written for run in wasted)


@pytest.mark.parametrize("when_stopped", ["nothing", "zeros"])
async def test_what_the_llm_does_not_report_is_unknown_and_estimated_from_the_text(
    when_stopped: WhenStopped,
) -> None:
    """A service that is stopped before it knows its usage reports nothing, or zeros."""
    play: Play = [
        START,
        end("hello"),
        CUE,
        START,
        eager("a"),
        CUE,
        RESUME,
        update("a b"),
        end("a b"),
    ]
    talk, llm, (report,) = await told(
        play,
        thrifty(SpeculateWhileKept()),
        cues=[finished, ran("a")],
        outcomes=1,
        token_delay=0.2,
        when_stopped=when_stopped,
    )
    stopped = llm.used[1]
    assert not stopped.is_reported
    assert (report.prompt_tokens, report.completion_tokens) == (None, None)
    assert report.estimated_prompt_tokens == pytest.approx(stopped.prompt, rel=0.01)
    assert report.cost == pytest.approx(stopped.prompt * PRICE.prompt, rel=0.01)
    speculations = talk.stt.stats().speculations  # type: ignore[attr-defined]
    assert speculations.withdrawn == 1
    assert speculations.wasted_prompt_tokens == 0, "an estimate stands among measurements"
    assert speculations.estimated_wasted_prompt_tokens == report.estimated_prompt_tokens
    (data,) = (m for m in talk.tap.metrics if isinstance(m, SpeculationMetricsData))
    assert data.estimated_prompt_tokens == report.estimated_prompt_tokens
    assert 0 < data.wasted_share < 1


async def test_a_kept_reply_is_reported_at_once() -> None:
    """Its tokens are known when the LLM has written it all."""
    play: Play = [START, eager("a"), CUE, end("a")]
    _, llm, (report,) = await told(
        play, thrifty(SpeculateWhileKept()), cues=[ran("a")], outcomes=1, token_delay=0.2
    )
    assert report.outcome is SpeculationOutcome.KEPT
    assert report.lead < 0.4
    assert (report.prompt_tokens, report.cost) == (None, None)
    assert len(llm.used) == 1


async def test_a_budget_ends_speculation_in_a_call() -> None:
    policy = SpeculateWithinBudget(tokens_per_minute=2500)
    _, llm, _ = await told(
        going_on("a", "b", "c", "d"),
        thrifty(policy),
        cues=[ran("a"), ran("ab"), at_once, at_once],
        outcomes=2,
    )
    assert llm.runs == ["a", "ab", "abcd over"]
