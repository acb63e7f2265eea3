"""What the LLM replies of a session cost, and how much of that was spent on discarded ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cartesia_ink_plugins.pipecat.inferences import Inference

# Seconds for which single replies are remembered; what lies further back is kept as a sum.
_MINUTE = 60.0


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


class Spending:
    """The tokens and the money of one session; grows while the session runs.

    An inference of which the LLM service reported no usage, as many do when they are stopped,
    counts with an estimate of what it read, from the length of the text. What it wrote is unknown.

    Attributes:
        tokens: Of all replies.
        last_tokens: Of the last reply.
        wasted_tokens: Of speculative replies that were withdrawn or did not match.
        estimated_tokens: How many of `tokens` are estimated.
        cost: Of all replies, at the given price; 0 without one.
        wasted_cost: Of those that were withdrawn or did not match.
    """

    def __init__(
        self, price: TokenPrice | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
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
        wasted, whole = self.wasted_tokens, self.tokens
        if self.cost:
            return self.wasted_cost / self.cost
        return wasted / whole if whole else 0.0

    @property
    def wasted_in_last_minute(self) -> int:
        """Tokens wasted in the last 60 s."""
        self._forget_old()
        return sum(tokens for _, tokens in self._recent)

    def spent(self, inference: Inference) -> None:
        """An inference is over."""
        self.tokens += inference.tokens
        self.last_tokens = inference.tokens
        if inference.prompt_tokens is None:
            self.estimated_tokens += inference.tokens
        self.cost += self.cost_of(inference) or 0.0

    def wasted(self, inference: Inference) -> None:
        """An inference that is over was withdrawn or did not match."""
        self.wasted_tokens += inference.tokens
        self.wasted_cost += self.cost_of(inference) or 0.0
        self._recent.append((self._now(), inference.tokens))
        self._forget_old()

    def cost_of(self, inference: Inference) -> float | None:
        """What an inference cost, by the estimate if nothing was reported; None without a price."""
        if self.price is None:
            return None
        read, written = inference.prompt_tokens, inference.completion_tokens
        if read is None:
            read = inference.estimated_prompt_tokens
        return read * self.price.prompt + (written or 0) * self.price.completion

    def _forget_old(self) -> None:
        while self._recent and self._recent[0][0] <= self._now() - _MINUTE:
            self._recent.popleft()
