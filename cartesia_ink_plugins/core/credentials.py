"""How a connection authenticates: an API key, an access token, or a provider of tokens.

See https://docs.cartesia.ai/get-started/authenticate-your-client-applications.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.redaction import Redactor
from cartesia_ink_plugins.core.validation import is_header_value

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a connection authenticates; exactly one of the three. No part of it is ever printed.

    Attributes:
        api_key: Sent in a header.
        access_token: A short-lived token, sent in the URL as the API requires.
        token_provider: Called before every connect, because tokens expire; returns an access token.
    """

    api_key: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    token_provider: TokenProvider | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Require exactly one."""
        given = [bool(self.api_key), bool(self.access_token), self.token_provider is not None]
        if not any(given):
            raise UsageError("api_key: none given; pass one or set CARTESIA_API_KEY")
        if sum(given) > 1:
            raise UsageError("api_key: give only one of api_key, access_token and token_provider")
        for name, secret in (("api_key", self.api_key), ("access_token", self.access_token)):
            if secret and not is_header_value(secret):
                raise UsageError(f"{name}: has characters that a header cannot carry")

    @classmethod
    def from_environment(cls) -> Credentials:
        """Use the API key in `CARTESIA_API_KEY`.

        Raises:
            UsageError: It is not set.
        """
        return cls(api_key=os.environ.get("CARTESIA_API_KEY"))

    def headers(self) -> dict[str, str]:
        """The headers of the upgrade request."""
        return {"X-API-Key": self.api_key} if self.api_key else {}

    def redactor(self) -> Redactor:
        """What takes these secrets out of text; tokens of a provider are added as they come."""
        return Redactor(self.api_key, self.access_token)

    async def token(self) -> str | None:
        """Return the access token for the next connect, if one is used.

        Raises:
            UsageError: The provider is no coroutine function, or returned no token.
        """
        if self.token_provider is None:
            return self.access_token
        answer: object = self.token_provider()
        if not inspect.isawaitable(answer):
            raise UsageError("token_provider: must be an async function")
        token: object = await answer
        if not (isinstance(token, str) and token.strip()):
            raise UsageError("token_provider: returned no token")
        if not is_header_value(token):
            raise UsageError("token_provider: returned characters that a header cannot carry")
        return token
