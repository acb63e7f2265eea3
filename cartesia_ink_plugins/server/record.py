"""What happened on a connection, for tests to look at. Nothing in it is a secret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cartesia_ink_plugins.core.events import Message, TurnEnd
from cartesia_ink_plugins.core.wire import decode

_SECRET = frozenset({"authorization", "x-api-key", "access_token", "cookie", "proxy-authorization"})
MASK = "***"


@dataclass(slots=True, kw_only=True, eq=False)
class ConnectionRecord:
    """One connection, or the attempt at one.

    Attributes:
        number: Counts the connections of a server from 0, refused ones too.
        request_id: The id on every message and in the `X-Request-Id` header.
        path: Path of the request.
        query: Parameters in their order; secrets are masked.
        headers: Headers with names in lower case; secrets are masked.
        received: Text messages of the client, verbatim.
        sent: Messages to the client, verbatim.
        audio_bytes: Bytes of audio received.
        audio_seconds: Seconds of audio received.
        pings: Pings received.
        status: HTTP status of the answer; 101 for a connection.
        close_code: How the connection ended, whoever closed it; 1006 without a close frame; None
            while it is open.
        complaint: What the client did wrong, when the server refused something; None otherwise.
        violation: A message that the engine wanted to send though the turn table forbids it.
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
    complaint: str | None = None
    violation: str | None = None

    @property
    def messages(self) -> list[Message]:
        """What was sent, decoded."""
        return [decode(message) for message in self.sent]

    @property
    def transcripts(self) -> list[str]:
        """The text of each `turn.end` that was sent."""
        return [m.transcript for m in self.messages if isinstance(m, TurnEnd)]

    @property
    def is_open(self) -> bool:
        """Whether the connection was accepted and has not ended."""
        return self.status == 101 and self.close_code is None

    def parameter(self, name: str) -> str | None:
        """The value of a query parameter; the last one if there are several."""
        return dict(self.query).get(name)


def masked(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Replace the values that are secrets."""
    return [(name, MASK if name.lower() in _SECRET else value) for name, value in pairs]
