"""`POST /access-token`: issues a short-lived token for an API key.

https://docs.cartesia.ai/api-reference/auth/access-token
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field

from cartesia_ink_plugins.server.validate import RequestRejectedError

MAX_TOKEN_SECONDS = 3600  # as documented


@dataclass(slots=True)
class Tokens:
    """The issued tokens."""

    _expires_at: dict[str, float] = field(default_factory=dict, repr=False)

    def issue(self, body: bytes, now: float) -> str:
        """Issue a token.

        Args:
            body: The request, such as `{"grants": {"stt": true}, "expires_in": 60}`.
            now: Seconds, on the clock of `is_valid`.

        Raises:
            RequestRejectedError: The request is invalid.
        """
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            raise RequestRejectedError("Invalid body", "The body must be JSON.") from None
        match request:
            case {"grants": {"stt": True}, **rest}:
                seconds = rest.get("expires_in", MAX_TOKEN_SECONDS)
            case _:
                raise RequestRejectedError(
                    "Invalid grants", "grants.stt must be true: only STT is supported."
                )
        if type(seconds) is not int or not 1 <= seconds <= MAX_TOKEN_SECONDS:
            raise RequestRejectedError(
                "Invalid expires_in",
                f"expires_in must be 1 to {MAX_TOKEN_SECONDS}, in whole seconds.",
            )
        token = secrets.token_urlsafe(24)
        self._expires_at[token] = now + seconds
        return token

    def __contains__(self, credential: object) -> bool:
        """Whether a credential is an issued token, valid or expired."""
        return credential in self._expires_at

    def is_valid(self, token: str, now: float) -> bool:
        """Whether a token was issued and has not expired."""
        return now < self._expires_at.get(token, now)
