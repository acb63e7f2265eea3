"""When to answer a predicted end of turn, and what became of the answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pipecat.metrics.metrics import ProcessingMetricsData
from pipecat.turns.user_stop import EagerMatchPolicy

from cartesia_ink_plugins.core.tap import SpeculationOutcome


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
    """One speculation that is over.

    Attributes:
        outcome: What became of it: kept when the final words were the predicted ones, withdrawn
            when the user went on, mismatched when the final words were others.
        lead: Seconds from the prediction to its outcome; for a kept one, how much earlier the LLM
            was started.
        counts: The speculations of the session so far, with this one.
    """

    outcome: SpeculationOutcome
    lead: float
    counts: SpeculationCounts


class SpeculationMetricsData(ProcessingMetricsData):
    """The outcome of one speculation, as Pipecat metrics.

    Parameters:
        outcome: `kept`, `withdrawn` or `mismatched`.
        lead: Seconds from the prediction to its outcome; `value` is the same.
        kept: Speculations of this session whose reply was used.
        withdrawn: Speculations of this session after which the user went on.
        mismatched: Speculations of this session that answered other words than the final ones.
    """

    outcome: str
    lead: float
    kept: int
    withdrawn: int
    mismatched: int


class SpeculationPolicy(Protocol):
    """Decides whether a predicted end of turn is answered."""

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether to begin a reply to `transcript`, which is not empty."""

    def resolved(self, report: SpeculationReport) -> None:
        """Learn what became of a speculation."""


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
    `probe`-th prediction is answered, until enough of those are kept again.
    """

    def __init__(self, *, min_kept: float = 0.5, window: int = 10, probe: int = 5) -> None:
        """Set the price limit.

        Args:
            min_kept: Share of speculations, 0 to 1, that has to be kept.
            window: How many of the last speculations are looked at.
            probe: While it does not pay, one of so many predictions is answered all the same.

        Raises:
            ValueError: `min_kept` is not between 0 and 1, or another argument is below 1.
        """
        if not 0 <= min_kept <= 1:
            raise ValueError(f"min_kept: {min_kept} is not between 0 and 1")
        if window < 1 or probe < 1:
            raise ValueError(f"window, probe: {window}, {probe}; both must be at least 1")
        self._min_kept = min_kept
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._probe = probe
        self._passed_over = 0

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether speculations have paid lately, or it is time to probe."""
        full = len(self._outcomes) == self._outcomes.maxlen
        if not full or sum(self._outcomes) >= self._min_kept * len(self._outcomes):
            return True
        self._passed_over += 1
        if self._passed_over < self._probe:
            return False
        self._passed_over = 0
        return True

    def resolved(self, report: SpeculationReport) -> None:
        """Remember whether it was kept."""
        self._outcomes.append(report.outcome is SpeculationOutcome.KEPT)


class SpeculationTracker:
    """Counts the speculations of a service, over all user aggregators that use its strategies."""

    def __init__(
        self,
        policy: SpeculationPolicy,
        match_policy: EagerMatchPolicy,
        report: Callable[[SpeculationReport], Awaitable[None]],
    ) -> None:
        """Count from zero.

        Args:
            policy: Decides which predictions are answered.
            match_policy: Whether a reply to some words also answers some other words.
            report: Tells the application what became of a speculation.
        """
        self.match_policy = match_policy
        self._policy = policy
        self._report = report
        self._counts = SpeculationCounts()

    def should_speculate(self, text: str) -> bool:
        """Tell whether to begin a reply to `text`."""
        return self._policy.should_speculate(text)

    async def resolved(self, outcome: SpeculationOutcome, began_at: float) -> None:
        """A reply that an LLM service had begun was kept, withdrawn or did not match.

        Args:
            outcome: What became of it.
            began_at: When the prediction came, on the clock of the event loop.
        """
        self._counts = self._counts.counting(outcome)
        lead = asyncio.get_running_loop().time() - began_at
        report = SpeculationReport(outcome, lead, self._counts)
        self._policy.resolved(report)
        await self._report(report)
