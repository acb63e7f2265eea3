"""`POST /access-token`: a key in, a token out that is good for a short time.

https://docs.cartesia.ai/api-reference/auth/access-token
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field

from cartesia_ink_plugins.server.validate import Refused

LONGEST_LIFE = 3600


@dataclass(slots=True)
class Tokens:
    """The tokens that were given out."""

    _ends: dict[str, float] = field(default_factory=dict, repr=False)

    def issue(self, body: bytes, now: float) -> str:
        """Make a token.

        Args:
            body: The request, such as `{"grants": {"stt": true}, "expires_in": 60}`.
            now: Seconds on the clock that `is_good` is asked with.

        Raises:
            Refused: It asks for something that cannot be had.
        """
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused("Invalid body", "The body must be JSON.") from None
        match asked:
            case {"grants": {"stt": True}, **rest}:
                seconds = rest.get("expires_in", LONGEST_LIFE)
            case _:
                raise Refused("Invalid grants", "grants.stt must be true: here is only STT.")
        if type(seconds) is not int or not 1 <= seconds <= LONGEST_LIFE:
            raise Refused(
                "Invalid expires_in", f"expires_in must be 1 to {LONGEST_LIFE}, in whole seconds."
            )
        token = secrets.token_urlsafe(24)
        self._ends[token] = now + seconds
        return token

    def __contains__(self, credential: object) -> bool:
        """Whether a credential is such a token, good or not."""
        return credential in self._ends

    def is_good(self, token: str, now: float) -> bool:
        """Whether a token was given out and has not expired."""
        return now < self._ends.get(token, now)
