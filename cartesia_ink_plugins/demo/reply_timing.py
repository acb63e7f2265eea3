"""The simulated latency of the assistant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplyTiming:
    """The time a reply takes, which the rules themselves do not need.

    The defaults are those of a very fast model, so that a demo shows the value of an early reply.

    Attributes:
        first_token: Seconds until the first token.
        token: Seconds between two tokens.
    """

    first_token: float = 0.1
    token: float = 0.003
