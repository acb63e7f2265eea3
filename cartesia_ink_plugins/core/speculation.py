"""Which predicted ends of turns are answered ahead, and what that costs.

The adapters have one `Speculations` for each service: it asks the policy before a reply is begun,
and is told what each inference of the LLM used and what became of each reply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from cartesia_ink_plugins.core.tap import Speculation, SpeculationOutcome

_MINUTE = 60.0  # seconds for which single replies are remembered; older ones are kept as a sum
# Of English text, in the tokenizers in use.
_CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What a token costs, in any currency; discounts for cached tokens are not taken into account.

    Attributes:
        prompt: One token that the LLM reads, such as `0.40e-6`.
        completion: One token that the LLM writes.

    Raises:
        ValueError: A price is negative.
    """

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        if not (self.prompt >= 0 and self.completion >= 0):
            raise ValueError(f"token_price: {self} has a negative price")


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """The tokens of one inference of an LLM.

    Attributes:
        prompt: Read, as the LLM reported; None if it did not.
        completion: Written, as the LLM reported; None if it did not.
        estimated_prompt: Read, estimated from the length of the text; None if the LLM reported.
    """

    prompt: int | None = None
    completion: int | None = None
    estimated_prompt: int | None = None

    @property
    def total(self) -> int:
        """All of them: those reported, or else those estimated."""
        return (self.prompt or 0) + (self.completion or 0) + (self.estimated_prompt or 0)


class PromptEstimate:
    """Estimates what an LLM reads, from the last prompt of which it has reported the tokens."""

    def __init__(self) -> None:
        """Know no prompt yet."""
        self._tokens = self._characters = 0

    def of(self, characters: int) -> int:
        """Return the tokens of a prompt with so many characters of text."""
        more = (characters - self._characters) / _CHARACTERS_PER_TOKEN
        return max(0, round(self._tokens + more))

    def usage(self, characters: int, prompt: int = 0, completion: int = 0) -> TokenUsage:
        """Return the tokens of an inference, and learn from what the LLM has reported.

        Args:
            characters: Of text that the LLM had to read.
            prompt: Tokens read, as it reported; 0, which none reads, if it did not.
            completion: Tokens written, as it reported.
        """
        if prompt:
            self._characters, self._tokens = characters, prompt
            return TokenUsage(prompt, completion)
        return TokenUsage(None, completion or None, self.of(characters))


@dataclass(frozen=True, slots=True)
class SpeculationCounts:
    """How the speculations of a service ended so far."""

    kept: int = 0
    withdrawn: int = 0
    mismatched: int = 0

    def counting(self, outcome: SpeculationOutcome) -> SpeculationCounts:
        """These counts and one more."""
        return replace(self, **{outcome.value: getattr(self, outcome.value) + 1})


@dataclass(frozen=True, slots=True)
class SpeculationReport(Speculation):
    """One speculation whose outcome is known.

    A kept one may be reported before the LLM has written it all; then its tokens are unknown. A
    discarded one is reported when the LLM has stopped.

    Attributes:
        counts: The speculations of the service so far, with this one.
        cost: What it cost at the `token_price` of the service; without the completion where only an
            estimate is known. None without a price, and while the LLM is still writing.
    """

    counts: SpeculationCounts = field(default_factory=SpeculationCounts)
    cost: float | None = None


class Spending:
    """The tokens and the money of one service; grows while it runs.

    An inference of which the LLM reported no usage, as many do when they are stopped, counts with
    an estimate of what it read, from the length of the text. What it wrote is unknown.

    Attributes:
        tokens: Of all replies.
        last_tokens: Of the last reply.
        wasted_tokens: Of speculative replies that were withdrawn or did not match.
        estimated_tokens: How many of `tokens` are estimated.
        cost: Of all replies, at the given price; 0 without one.
        wasted_cost: Of those that were withdrawn or did not match.
    """

    def __init__(self, price: TokenPrice | None, now: Callable[[], float]) -> None:
        """Begin at zero.

        Args:
            price: Of a token.
            now: A clock, in seconds.
        """
        self.price = price
        self.tokens = self.last_tokens = 0
        self.wasted_tokens = self.estimated_tokens = 0
        self.cost = self.wasted_cost = 0.0
        self._now = now
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def wasted_share(self) -> float:
        """Which share of all spending was wasted, 0 to 1: of the money, or else of the tokens."""
        if self.cost:
            return self.wasted_cost / self.cost
        return self.wasted_tokens / self.tokens if self.tokens else 0.0

    @property
    def wasted_in_last_minute(self) -> int:
        """Tokens wasted in the last 60 s."""
        self._forget_old()
        return sum(tokens for _, tokens in self._recent)

    def spent(self, usage: TokenUsage) -> None:
        """An inference is over."""
        self.tokens += usage.total
        self.last_tokens = usage.total
        self.estimated_tokens += usage.estimated_prompt or 0
        self.cost += self.cost_of(usage) or 0.0

    def wasted(self, usage: TokenUsage) -> None:
        """An inference that is over was withdrawn or did not match."""
        self.wasted_tokens += usage.total
        self.wasted_cost += self.cost_of(usage) or 0.0
        self._recent.append((self._now(), usage.total))
        self._forget_old()

    def cost_of(self, usage: TokenUsage) -> float | None:
        """What an inference cost, by the estimate if nothing was reported; None without a price."""
        if self.price is None:
            return None
        read = usage.total - (usage.completion or 0)
        return read * self.price.prompt + (usage.completion or 0) * self.price.completion

    def _forget_old(self) -> None:
        while self._recent and self._recent[0][0] <= self._now() - _MINUTE:
            self._recent.popleft()


class SpeculationPolicy(Protocol):
    """Decides whether a predicted end of turn is answered."""

    def should_speculate(self, transcript: str) -> bool:
        """Tell whether to begin a reply to `transcript`, which is not empty."""

    def resolved(self, report: SpeculationReport) -> None:
        """Learn what became of a speculation."""


@runtime_checkable
class WatchesSpending(Protocol):
    """A policy that also looks at what the LLMs cost."""

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
            max_wasted: Share of all spending, 0 to 1, that discarded replies may cost: of the money
                if the service has a `token_price`, of the tokens otherwise. None for no limit.

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

    Tokens that an LLM did not report count with an estimate; see `Spending`.
    """

    def __init__(
        self, *, tokens_per_minute: int | None = None, share_of_spending: float | None = None
    ) -> None:
        """Set the budget; with both limits, both must hold.

        Args:
            tokens_per_minute: How many tokens discarded replies may cost in any 60 s. A reply is
                begun if it would not exceed that by costing as much as the last one.
            share_of_spending: As `max_wasted` of `SpeculateWhileKept`.

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


class Speculations:
    """The speculations of one service.

    Attributes:
        spending: Of its LLMs.
    """

    def __init__(
        self,
        policy: SpeculationPolicy | None,
        price: TokenPrice | None,
        now: Callable[[], float],
    ) -> None:
        """Begin at zero.

        Args:
            policy: Decides which predictions are answered; without one, all are.
            price: Of a token.
            now: A clock, in seconds.
        """
        self.spending = Spending(price, now)
        self._policy = policy or AlwaysSpeculate()
        self._counts = SpeculationCounts()
        self.should_speculate = self._policy.should_speculate
        if isinstance(policy, WatchesSpending):
            policy.watch(self.spending)

    def resolved(
        self, outcome: SpeculationOutcome, lead: float, usage: TokenUsage | None
    ) -> SpeculationReport:
        """Count a reply that was begun, tell the policy of it, and return the report.

        Args:
            outcome: What became of it.
            lead: Seconds from the prediction to the outcome.
            usage: Its tokens; None while the LLM is still writing, or where nothing of it is known.
        """
        self._counts = self._counts.counting(outcome)
        if usage is not None and outcome is not SpeculationOutcome.KEPT:
            self.spending.wasted(usage)
        tokens = usage or TokenUsage()
        report = SpeculationReport(
            outcome,
            lead,
            tokens.prompt,
            tokens.completion,
            tokens.estimated_prompt,
            self._counts,
            self.spending.cost_of(usage) if usage is not None else None,
        )
        self._policy.resolved(report)
        return report


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {value} is not between 0 and 1")
