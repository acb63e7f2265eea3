"""Cues: messages at fixed positions of the audio, in any order and also invalid ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    Connected,
    ErrorMessage,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.server.engine import Close, Outgoing, Raw

Line: TypeAlias = Outgoing | str | bytes
AT_CLOSE: Literal["close"] = "close"


@dataclass(frozen=True, slots=True, init=False)
class Cue:
    """Messages sent in one TCP segment at a position of a connection's audio; nothing is checked.

    Attributes:
        at: Seconds of audio received; 0 is right after `connected`, `"close"` is the client's
            `close`.
        messages: Messages get the connection's request_id; text and bytes are sent unchanged;
            `Close` closes the connection.
        connection: Number of the only connection that gets them, from 0; None is every one.
    """

    at: float | Literal["close"]
    messages: tuple[Outgoing, ...]
    connection: int | None

    def __init__(
        self, at: float | Literal["close"], *messages: Line, connection: int | None = None
    ) -> None:
        """Create a cue; see the attributes."""
        position: object = at
        if position != AT_CLOSE and not (isinstance(position, int | float) and position >= 0):
            raise UsageError(f"at: {at!r} is neither 'close' nor seconds of audio")
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "messages", tuple(_unchecked(line) for line in messages))
        object.__setattr__(self, "connection", connection)

    @classmethod
    def from_dict(cls, data: Any) -> Cue:
        """Parse a cue from JSON: `{"at": 1.5, "send": [...], "connection": 0}`.

        In `send` an object is a message, a string is sent unchanged, a number is a close code.

        Raises:
            UsageError: It has another form.
        """
        known = {"at", "send", "connection"}
        match data:
            case {"at": at, "send": list(send)} if data.keys() <= known:
                return cls(at, *map(_line, send), connection=data.get("connection"))
        raise UsageError(
            "script: a cue must be an object with at, send (a list) and optionally connection"
        )


def _unchecked(line: Line) -> Outgoing:
    match line:
        case Raw() | Close():
            return line
        case _:
            return Raw(line)


_MESSAGES: dict[str, type[Connected | TurnStart | TurnResume]] = {
    cls.type: cls for cls in (Connected, TurnStart, TurnResume)
}
_TEXT_MESSAGES: dict[str, type[TurnUpdate | TurnEagerEnd | TurnEnd]] = {
    cls.type: cls for cls in (TurnUpdate, TurnEagerEnd, TurnEnd)
}


def _line(item: Any) -> Line:
    """Parse one item of `send`; an object of an unknown type is sent unchanged."""
    match item:
        case str():
            return item
        case bool():
            raise UsageError(f"script: a cue cannot send {item!r}")
        case int():
            return Close(item)
        case {"type": str(kind)} if kind in _MESSAGES:
            return _MESSAGES[kind]()
        case {"type": str(kind), "transcript": str(text)} if kind in _TEXT_MESSAGES:
            return _TEXT_MESSAGES[kind](text)
        case {"type": "error", "status_code": int(status), "message": str(message)}:
            return ErrorMessage(status, message, item.get("title"), item.get("error_code"))
        case dict():
            return json.dumps(item)
        case _:
            raise UsageError(f"script: a cue cannot send {item!r}")
