"""Which replies are begun ahead of the end of a turn, by what the ones before have cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cartesia_ink_plugins.core.speculation import (
    PromptEstimate,
    SpeculateWhileKept,
    SpeculateWithinBudget,
    SpeculationCounts,
    SpeculationReport,
    Speculations,
    Spending,
    TokenPrice,
    TokenUsage,
)
from cartesia_ink_plugins.core.tap import SpeculationOutcome


def at_zero() -> float:
    """A clock that stands still."""
    return 0.0


def spent(spending: Spending, tokens: int, *, wasted: bool = False) -> None:
    """Spend tokens on a reply."""
    usage = TokenUsage(tokens, 0)
    spending.spent(usage)
    if wasted:
        spending.wasted(usage)


def test_a_budget_by_the_minute_is_there_again_after_a_minute() -> None:
    now = 0.0
    spending = Spending(None, lambda: now)
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
    spending = Spending(TokenPrice(prompt=1.0, completion=10.0), at_zero)
    policy = SpeculateWithinBudget(share_of_spending=0.2)
    policy.watch(spending)
    assert policy.should_speculate("a")
    spending.spent(TokenUsage(100, 90))
    spent(spending, 200, wasted=True)
    assert spending.wasted_share == pytest.approx(200 / 1200)
    assert policy.should_speculate("a")
    spent(spending, 200, wasted=True)
    assert not policy.should_speculate("a")


def test_speculation_that_is_kept_often_can_still_cost_too_much() -> None:
    spending = Spending(None, at_zero)
    policy = SpeculateWhileKept(max_wasted=0.25, probe=2)
    policy.watch(spending)
    spent(spending, 300)
    spent(spending, 90, wasted=True)
    assert policy.should_speculate("a")
    spent(spending, 90, wasted=True)
    assert [policy.should_speculate("a") for _ in range(4)] == [False, True] * 2


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


def test_speculations_that_do_not_pay_are_stopped_and_probed() -> None:
    policy = SpeculateWhileKept(min_kept=0.5, window=4, probe=3)

    def resolve(outcome: SpeculationOutcome) -> None:
        policy.resolved(SpeculationReport(outcome, 0.1))

    for _ in range(4):
        assert policy.should_speculate("a")
        resolve(SpeculationOutcome.WITHDRAWN)
    assert [policy.should_speculate("a") for _ in range(6)] == [False, False, True] * 2
    resolve(SpeculationOutcome.KEPT)
    resolve(SpeculationOutcome.KEPT)
    assert policy.should_speculate("a")


@pytest.mark.parametrize("arguments", [{"min_kept": 2}, {"window": 0}, {"probe": 0}])
def test_a_policy_without_sense_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SpeculateWhileKept(**arguments)


def test_a_prompt_is_estimated_from_the_last_one_that_was_reported() -> None:
    estimate = PromptEstimate()
    assert estimate.usage(400) == TokenUsage(estimated_prompt=100)
    # Tools and markup have no characters in the text.
    assert estimate.usage(400, 350, 20) == TokenUsage(350, 20)
    assert estimate.usage(440) == TokenUsage(estimated_prompt=360)
    assert estimate.usage(0) == TokenUsage(estimated_prompt=250)
    assert estimate.usage(0, 10, 0) == TokenUsage(10, 0)
    assert estimate.usage(0) == TokenUsage(estimated_prompt=10)


def test_a_report_without_a_prompt_tells_the_completion_only() -> None:
    """Some services count what they wrote when they are stopped, and know of the prompt later."""
    usage = PromptEstimate().usage(400, 0, 7)
    assert usage == TokenUsage(None, 7, 100)
    assert usage.total == 107


def test_an_estimate_is_marked_and_counts_as_spent() -> None:
    told = Speculations(None, TokenPrice(prompt=1.0, completion=10.0), at_zero)
    usage = TokenUsage(estimated_prompt=300)
    told.spending.spent(usage)
    report = told.resolved(SpeculationOutcome.WITHDRAWN, 0.5, usage)
    assert report == SpeculationReport(
        SpeculationOutcome.WITHDRAWN,
        0.5,
        estimated_prompt_tokens=300,
        counts=SpeculationCounts(withdrawn=1),
        cost=300.0,
    )
    spending = told.spending
    assert spending.tokens == spending.wasted_tokens == spending.estimated_tokens == 300
    assert spending.wasted_share == 1.0


def test_a_kept_reply_wastes_nothing() -> None:
    told = Speculations(None, None, at_zero)
    told.spending.spent(TokenUsage(100, 10))
    report = told.resolved(SpeculationOutcome.KEPT, 0.5, TokenUsage(100, 10))
    assert (report.prompt_tokens, report.completion_tokens, report.cost) == (100, 10, None)
    assert told.spending.wasted_tokens == 0
    assert told.should_speculate("a")


def test_what_was_wasted_long_ago_is_forgotten_even_if_nobody_asks() -> None:
    now = 0.0
    spending = Spending(None, lambda: now)
    for second in range(1000):
        now = float(second)
        spent(spending, 1, wasted=True)
    assert spending.wasted_in_last_minute == 60
    assert len(spending._recent) == 60
