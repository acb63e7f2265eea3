"""Which predicted ends of turns are answered ahead."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cartesia_ink_plugins.core.tap import SpeculationOutcome
from cartesia_ink_plugins.pipecat.spending import Spending


@dataclass(frozen=True, slots=True)
class SpeculationCounts:
    """How the speculations of a session ended so far."""

    kept: int = 0
    withdrawn: int = 0
    mismatched: int = 0

    def counting(self, outcome: SpeculationOutcome) -> SpeculationCounts:
        """These counts and one more."""
        return SpeculationCounts(
            kept=self.kept + (outcome is SpeculationOutcome.KEPT),
            withdrawn=self.withdrawn + (outcome is SpeculationOutcome.WITHDRAWN),
            mismatched=self.mismatched + (outcome is SpeculationOutcome.MISMATCHED),
        )


@dataclass(frozen=True, slots=True)
class SpeculationReport:
    """One speculation whose outcome is known.

    A kept one is reported at once, and its tokens are unknown where the LLM service is still
    writing. A discarded one is reported when the LLM service has stopped.

    Attributes:
        outcome: What became of it: kept when the final words were the predicted ones, withdrawn
            when the user went on, mismatched when the final words were others.
        lead: Seconds from the prediction to its outcome; for a kept one, how much earlier the LLM
            was started.
        counts: The speculations of the session so far, with this one.
        prompt_tokens: Read for it, as the LLM service reported; None if it did not.
        completion_tokens: Written for it, as the LLM service reported; None if it did not.
        estimated_prompt_tokens: Read for it, estimated from the length of the text; None if the LLM
            service reported them, or is still writing.
        cost: What it cost at the `token_price` of the service; without the completion where only an
            estimate is known. None without a price, and while the LLM service is still writing.
    """

    outcome: SpeculationOutcome
    lead: float
    counts: SpeculationCounts
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated_prompt_tokens: int | None = None
    cost: float | None = None


class SpeculationPolicy(Protocol):
    """Decides whether a predicted end of turn is answered."""

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether to begin a reply to `transcript`, which is not empty."""

    def resolved(self, report: SpeculationReport) -> None:
        """Learn what became of a speculation."""


@runtime_checkable
class WatchesSpending(Protocol):
    """A policy that also looks at what the LLM services cost."""

    def watch(self, spending: Spending) -> None:
        """Be given the spending of the service, which grows while it runs."""


class AlwaysSpeculate:
    """Answers every predicted end of turn."""

    def should_speculate(self, transcript: str) -> bool:
        """Always."""
        return True

    def resolved(self, report: SpeculationReport) -> None:
        """Nothing is learned from it."""


class SpeculateWhileKept:
    """Stops paying for speculations while too many of them are thrown away.

    After the window is full and fewer than `min_kept` of its speculations were kept, only every
    `probe`-th prediction is answered, until enough of those are kept again. With `max_wasted` the
    same holds while discarded replies make up more than that share of all spending.
    """

    def __init__(
        self,
        *,
        min_kept: float = 0.5,
        window: int = 10,
        probe: int = 5,
        max_wasted: float | None = None,
    ) -> None:
        """Set the price limit.

        Args:
            min_kept: Share of speculations, 0 to 1, that has to be kept.
            window: How many of the last speculations are looked at.
            probe: While it does not pay, one of so many predictions is answered all the same.
            max_wasted: Share of all that the LLM services cost in the session, 0 to 1, that
                discarded replies may cost: of the money if the service has a `token_price`, of the
                tokens otherwise. None for no such limit.

        Raises:
            ValueError: A share is not between 0 and 1, or another argument is below 1.
        """
        _check_share("min_kept", min_kept)
        if window < 1 or probe < 1:
            raise ValueError(f"window, probe: {window}, {probe}; both must be at least 1")
        if max_wasted is not None:
            _check_share("max_wasted", max_wasted)
        self._min_kept = min_kept
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._probe = probe
        self._passed_over = 0
        self._max_wasted = max_wasted
        self._spending: Spending | None = None

    def watch(self, spending: Spending) -> None:
        """Be given the spending of the service."""
        self._spending = spending

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether speculations have paid lately, or it is time to probe."""
        full = len(self._outcomes) == self._outcomes.maxlen
        too_few = full and sum(self._outcomes) < self._min_kept * len(self._outcomes)
        if not (too_few or self._costs_too_much()):
            return True
        self._passed_over = (self._passed_over + 1) % self._probe
        return self._passed_over == 0

    def resolved(self, report: SpeculationReport) -> None:
        """Remember whether it was kept."""
        self._outcomes.append(report.outcome is SpeculationOutcome.KEPT)

    def _costs_too_much(self) -> bool:
        if self._max_wasted is None or self._spending is None:
            return False
        return self._spending.wasted_share > self._max_wasted


class SpeculateWithinBudget:
    """Answers predictions as long as discarded replies stay within a budget.

    Tokens that an LLM service did not report count with an estimate; see `Spending`.
    """

    def __init__(
        self, *, tokens_per_minute: int | None = None, share_of_spending: float | None = None
    ) -> None:
        """Set the budget; with both limits, both must hold.

        Args:
            tokens_per_minute: How many tokens discarded replies may cost in any 60 s. A reply is
                begun if it would not exceed that by costing as much as the last one.
            share_of_spending: Share of all that the LLM services cost in the session, 0 to 1, that
                discarded replies may cost: of the money if the service has a `token_price`, of the
                tokens otherwise.

        Raises:
            ValueError: There is no limit, or one makes no sense.
        """
        if tokens_per_minute is None and share_of_spending is None:
            raise ValueError("tokens_per_minute, share_of_spending: give at least one")
        if tokens_per_minute is not None and tokens_per_minute < 0:
            raise ValueError(f"tokens_per_minute: {tokens_per_minute} is negative")
        if share_of_spending is not None:
            _check_share("share_of_spending", share_of_spending)
        self._tokens_per_minute = tokens_per_minute
        self._share = share_of_spending
        self._spending: Spending | None = None

    def watch(self, spending: Spending) -> None:
        """Be given the spending of the service."""
        self._spending = spending

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether there is anything left of the budget."""
        spending = self._spending
        if spending is None:
            return True
        if self._tokens_per_minute is not None:
            # What the next one costs is known when it is over; the last one is the best guess.
            expected = spending.wasted_in_last_minute + spending.last_tokens
            if expected > self._tokens_per_minute:
                return False
        return self._share is None or not spending.tokens or spending.wasted_share < self._share

    def resolved(self, report: SpeculationReport) -> None:
        """Nothing is learned from a single one."""


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {value} is not between 0 and 1")
