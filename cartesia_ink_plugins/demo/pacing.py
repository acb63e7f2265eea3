"""How fast the assistant thinks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The time a reply takes; the rules themselves need none.

    By default that of a very fast model, so that a demo shows what answering early is worth; a test
    may set both to zero.

    Attributes:
        first_token: Seconds until the first token.
        token: Seconds between two tokens.
    """

    first_token: float = 0.1
    token: float = 0.003
