"""The record of a connection, for tests; it has no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cartesia_ink_plugins.core.events import Message, TurnEnd
from cartesia_ink_plugins.core.wire import decode

MASK = "***"
MAX_KEPT = 10_000
"""Messages kept of each direction; an hour of speech has about as many."""
_SECRET_NAME = re.compile(
    r"auth|cookie|credential|(api|access)[-_]?key|password|secret|token|^key$", re.I
)
# The form of Cartesia's API keys.
_SECRET_VALUE = re.compile(r"sk_[A-Za-z]+_\w{8,}")


@dataclass(slots=True, kw_only=True, eq=False)
class ConnectionRecord:
    """One connection, or one rejected request.

    Attributes:
        number: Number of the connection, from 0; rejected ones count, too.
        request_id: The id in every message and in the `X-Request-Id` header.
        path: Path of the request.
        query: Parameters in order; secrets are masked.
        headers: Headers with names in lower case; secrets are masked.
        received: Text messages of the client, verbatim; the newest 10,000.
        sent: Messages to the client, verbatim; the newest 10,000.
        audio_bytes: Bytes of audio received.
        audio_seconds: Seconds of audio received.
        pings: Pings received.
        status: HTTP status of the answer; 101 for a connection.
        close_code: Close code, whoever closed; 1006 without a close frame; None while it is open.
        client_error: Why the server rejected something; None otherwise.
        protocol_violation: The engine's message that the turn table forbids; None otherwise.
    """

    number: int
    request_id: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    received: list[str] = field(default_factory=list)
    sent: list[str | bytes] = field(default_factory=list)
    audio_bytes: int = 0
    audio_seconds: float = 0.0
    pings: int = 0
    status: int | None = None
    close_code: int | None = None
    client_error: str | None = None
    protocol_violation: str | None = None

    def add_received(self, text: str) -> None:
        """Keep a message of the client."""
        self.received.append(text)
        del self.received[:-MAX_KEPT]

    def add_sent(self, messages: Iterable[str | bytes]) -> None:
        """Keep messages to the client."""
        self.sent.extend(messages)
        del self.sent[:-MAX_KEPT]

    @property
    def messages(self) -> list[Message]:
        """The messages to the client, decoded."""
        return [decode(message) for message in self.sent]

    @property
    def transcripts(self) -> list[str]:
        """The text of each `turn.end` that was sent."""
        return [m.transcript for m in self.messages if isinstance(m, TurnEnd)]

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self.status == 101 and self.close_code is None

    def parameter(self, name: str) -> str | None:
        """Return the value of a query parameter; the last one if there are several."""
        return dict(self.query).get(name)


def masked(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Replace values that are secrets by their name or by their form."""
    return [
        (name, MASK if _SECRET_NAME.search(name) else _SECRET_VALUE.sub(MASK, value))
        for name, value in pairs
    ]


def masked_path(path: str) -> str:
    """Replace API keys in a path."""
    return _SECRET_VALUE.sub(MASK, path)
