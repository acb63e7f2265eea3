"""Cues: messages at fixed places of the audio, whatever the protocol says about their order."""

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
CLOSING: Literal["close"] = "close"


@dataclass(frozen=True, slots=True, init=False)
class Cue:
    """Messages to be sent in one TCP segment at a place of a connection's audio.

    Nothing is checked: with cues every sequence of messages can be written down, the forbidden ones
    and the malformed ones too.

    Attributes:
        at: Seconds of audio that the connection has received when they are sent; 0 is right after
            `connected`. `"close"`: when the client asks to close.
        messages: Messages get the connection's request_id; text and bytes are sent as they are;
            `Close` closes the connection.
        connection: Number of the connection, from 0, that gets them; None means every one.
    """

    at: float | Literal["close"]
    messages: tuple[Outgoing, ...]
    connection: int | None

    def __init__(
        self, at: float | Literal["close"], *messages: Line, connection: int | None = None
    ) -> None:
        """Write a cue; see the attributes."""
        place: object = at
        if place != CLOSING and not (isinstance(place, int | float) and place >= 0):
            raise UsageError(f"at: {at!r} is neither 'close' nor seconds of audio")
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "messages", tuple(_unchecked(line) for line in messages))
        object.__setattr__(self, "connection", connection)

    @classmethod
    def from_dict(cls, data: Any) -> Cue:
        """Read a cue from JSON: `{"at": 1.5, "send": [...], "connection": 0}`.

        In `send` an object is a message, a string is sent as it is, a number is a close code.

        Raises:
            UsageError: It is not like that.
        """
        known = {"at", "send", "connection"}
        match data:
            case {"at": at, "send": list(send)} if data.keys() <= known:
                return cls(at, *map(_line, send), connection=data.get("connection"))
        raise UsageError(
            "script: a cue must be an object with at, send (a list) and, if need be, connection"
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
    """Read one item of `send`; an object that is no known message is sent as it is."""
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
