"""What speculation costs: the tokens of discarded replies, and the policies that look at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from pipecat.frames.frames import LLMFullResponseEndFrame, LLMFullResponseStartFrame, LLMTextFrame
from pipecat.metrics.metrics import LLMTokenUsage, LLMUsageMetricsData

from cartesia_ink_plugins.pipecat import (
    InkTurnsSTTService,
    SpeculateWhileKept,
    SpeculateWithinBudget,
    SpeculationCounts,
    SpeculationMetricsData,
    SpeculationOutcome,
    SpeculationPolicy,
    SpeculationReport,
    Spending,
    TokenPrice,
)
from cartesia_ink_plugins.pipecat.inferences import Inference
from tests.pipecat.conversation import Conversation, ScriptedLLM
from tests.pipecat.sides import ours, talk_to
from tests.pipecat.wire import CUE, RESUME, START, Message, Play, eager, end, update

PRICE = TokenPrice(prompt=0.4e-6, completion=1.6e-6)


@dataclass(slots=True)
class Run:
    """What an inference has really used."""

    words: str
    prompt: int
    written: int = 0
    is_reported: bool = False


Cue: TypeAlias = Callable[["CountingLLM"], bool]


class CountingLLM(ScriptedLLM):
    """Counts its tokens: one for four characters that it reads, and one for each that it writes."""

    def __init__(self, *, token_delay: float, reports_when_stopped: bool) -> None:
        """Set the pace.

        Args:
            token_delay: Seconds before each token.
            reports_when_stopped: Whether it reports its usage when it is stopped, too.
        """
        super().__init__(token_delay=token_delay)
        self._reports_when_stopped = reports_when_stopped
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
            if is_done or self._reports_when_stopped:
                await self._report(run)
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
    play = list[Message]([START])
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
    reports_when_stopped: bool = True,
    token_delay: float = 0.0,
) -> tuple[Conversation, CountingLLM, list[SpeculationReport]]:
    """Play something, and return what was reported of the speculations."""
    llm = CountingLLM(token_delay=token_delay, reports_when_stopped=reports_when_stopped)
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
    spending = Spending()

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
    assert spending.wasted_tokens == sum(run.prompt + run.written for run in wasted)
    assert spending.tokens == spending.wasted_tokens + kept[0].prompt + kept[0].written
    assert spending.estimated_tokens == 0
    speculations = talk.stt.stats().speculations  # type: ignore[attr-defined]
    assert (speculations.withdrawn, speculations.mismatched) == (2, 1)
    assert speculations.wasted_prompt_tokens == sum(run.prompt for run in wasted)
    assert speculations.wasted_completion_tokens == sum(run.written for run in wasted)


async def test_what_the_llm_does_not_report_is_unknown_and_estimated_from_the_text() -> None:
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
        reports_when_stopped=False,
    )
    stopped = llm.used[1]
    assert not stopped.is_reported
    assert (report.prompt_tokens, report.completion_tokens) == (None, None)
    assert report.estimated_prompt_tokens == pytest.approx(stopped.prompt, rel=0.01)
    assert report.cost == pytest.approx(stopped.prompt * PRICE.prompt, rel=0.01)
    speculations = talk.stt.stats().speculations  # type: ignore[attr-defined]
    assert speculations.withdrawn == 1
    assert speculations.wasted_prompt_tokens == 0, "an estimate stands among measurements"
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


def spent(spending: Spending, tokens: int, *, wasted: bool = False) -> None:
    """Spend tokens on a reply."""
    inference = Inference(1, True, 0, prompt_tokens=tokens, completion_tokens=0)
    spending.spent(inference)
    if wasted:
        spending.wasted(inference)


def test_a_budget_by_the_minute_is_there_again_after_a_minute() -> None:
    now = 0.0
    spending = Spending(now=lambda: now)
    policy = SpeculateWithinBudget(tokens_per_minute=1000)
    assert policy.should_speculate("a"), "nothing is known yet"
    policy.watch(spending)
    spent(spending, 400, wasted=True)
    assert policy.should_speculate("a")
    now = 30.0
    spent(spending, 400, wasted=True)
    assert not policy.should_speculate("a"), "another one would exceed the budget"
    now = 61.0
    assert policy.should_speculate("a")
    assert spending.wasted_in_last_minute == 400


def test_a_budget_by_share_is_one_of_money_where_there_is_a_price() -> None:
    spending = Spending(TokenPrice(prompt=1.0, completion=10.0))
    policy = SpeculateWithinBudget(share_of_spending=0.2)
    policy.watch(spending)
    assert policy.should_speculate("a")
    spending.spent(Inference(1, False, 0, prompt_tokens=100, completion_tokens=90))
    spent(spending, 200, wasted=True)
    assert spending.wasted_share == pytest.approx(200 / 1200)
    assert policy.should_speculate("a")
    spent(spending, 200, wasted=True)
    assert not policy.should_speculate("a")


def test_speculation_that_is_kept_often_can_still_cost_too_much() -> None:
    spending = Spending()
    policy = SpeculateWhileKept(max_wasted=0.25, probe=2)
    policy.watch(spending)
    spent(spending, 300)
    spent(spending, 90, wasted=True)
    assert policy.should_speculate("a")
    spent(spending, 90, wasted=True)
    assert [policy.should_speculate("a") for _ in range(4)] == [False, True] * 2
    policy.resolved(SpeculationReport(SpeculationOutcome.KEPT, 0.1, SpeculationCounts()))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SpeculateWithinBudget(), "tokens_per_minute"),
        (lambda: SpeculateWithinBudget(tokens_per_minute=-1), "tokens_per_minute"),
        (lambda: SpeculateWithinBudget(share_of_spending=1.5), "share_of_spending"),
        (lambda: SpeculateWhileKept(max_wasted=-0.1), "max_wasted"),
        (lambda: TokenPrice(prompt=-1.0, completion=0.0), "token_price"),
    ],
)
def test_limits_and_prices_without_sense_are_refused(
    make: Callable[[], object], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        make()
