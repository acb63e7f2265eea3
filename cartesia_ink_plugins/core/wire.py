"""The wire format: server messages as JSON text, read and written.

`decode` fills the attributes of an event's class by their names, so an attribute that is added in
`events` is read with no other edit. It never raises: bytes of others give a value.

Fields: https://docs.cartesia.ai/api-reference/stt/turns/websocket and
https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from cartesia_ink_plugins.core.events import (
    NO_FIELDS,
    Connected,
    Done,
    ErrorMessage,
    FlushDone,
    Malformed,
    ManualMessage,
    Message,
    Transcript,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    Unknown,
    Word,
)
from cartesia_ink_plugins.core.json_text import encodable, json_object
from cartesia_ink_plugins.core.log import one_line

# Larger numbers are no times in seconds; an integer of JSON may exceed any float.
_MAX_SECONDS = 1e12

_TURN_MESSAGES: dict[str, type[TurnEvent]] = {
    cls.type: cls for cls in (TurnStart, TurnUpdate, TurnEagerEnd, TurnResume, TurnEnd)
}
_WIRE_FIELDS = {  # what a session adds is never read from the wire
    cls: tuple(f.name for f in fields(cls) if f.name not in ("timing", "extra"))
    for cls in _TURN_MESSAGES.values()
}
_BARE: dict[str, type[Connected | FlushDone | Done]] = {
    cls.type: cls for cls in (Connected, FlushDone, Done)
}


def decode(data: str | bytes) -> Message:
    """Read one server message.

    Never raises: a message that cannot be read becomes `Malformed`, an unknown one `Unknown`.

    Args:
        data: The payload of one WebSocket message; the API only sends text.

    Returns:
        The message. Transcripts are verbatim, including leading and trailing spaces.
    """
    if isinstance(data, bytes):
        return Malformed("binary message")
    message = json_object(data)
    if message is None:
        return Malformed("not a JSON object")
    kind = message.pop("type", None)
    if not isinstance(kind, str):
        return Malformed("no type")
    if kind in _TURN_MESSAGES:
        if "\\u" in data:  # only an escape can stand for half a character
            message = encodable(message)
        return _decode_turn(_TURN_MESSAGES[kind], message)
    if kind in _BARE:
        return _BARE[kind](request_id=_line(message, "request_id"))
    if kind == ErrorMessage.type:
        return _decode_error(message)
    if kind == Transcript.type:
        return decode_transcript(message) or Malformed("transcript without text")
    return Unknown(one_line(kind))


def _decode_turn(cls: type[TurnEvent], message: dict[str, Any]) -> TurnEvent | Malformed:
    """Read a turn message by the attributes of its class."""
    known = {name: message.pop(name) for name in _WIRE_FIELDS[cls] if name in message}
    known["request_id"] = _line(known, "request_id")
    if "transcript" in _WIRE_FIELDS[cls] and not isinstance(known.get("transcript"), str):
        return Malformed(f"{cls.type} without transcript")
    extra = MappingProxyType(message) if message else NO_FIELDS
    return cls(**known, extra=extra)


def wire_fields(event: TurnEvent) -> dict[str, Any]:
    """The message of an event, with all its fields, as the API would send it."""
    known = {name: getattr(event, name) for name in _WIRE_FIELDS[type(event)]}
    return {"type": event.type, **known, **event.extra}


def _decode_error(message: Mapping[str, Any]) -> ErrorMessage:
    """Read both shapes of an error: `status_code` since 2026-03-01, a numeric `code` before."""
    numbers = (message.get("status_code"), message.get("code"), 500)
    status = next(n for n in numbers if isinstance(n, int) and not isinstance(n, bool))
    return ErrorMessage(
        status=status,
        message=_line(message, "message") or "",
        title=_line(message, "title"),
        code=_line(message, "error_code"),
        doc_url=_line(message, "doc_url"),
        request_id=_line(message, "request_id"),
    )


def decode_transcript(message: Mapping[str, Any]) -> Transcript | None:
    """Read a delta; optional fields with a wrong type are left out. None without text.

    The text is as it came: it may end in half a character, whose other half is in the next delta.
    """
    text = message.get("text")
    if not isinstance(text, str):
        return None
    return Transcript(
        text,
        is_final=message.get("is_final") is not False,
        duration=_number(message.get("duration")),
        language=_line(message, "language"),
        words=_decode_word_times(message.get("words")),
        request_id=_line(message, "request_id"),
    )


def _decode_word_times(items: object) -> tuple[Word, ...]:
    """Read words with times; an item that is no such word is left out."""
    times = []
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            word, start, end = (
                _text(item, "word"),
                *map(_number, (item.get("start"), item.get("end"))),
            )
            if word is not None and start is not None and end is not None:
                times.append(Word(encodable(word), start, end))
    return tuple(times)


def encode(message: Connected | TurnEvent | ManualMessage | ErrorMessage) -> str:
    """Write one server message as the API does: JSON text, absent fields left out."""
    match message:
        case Connected() | FlushDone() | Done():
            body: dict[str, Any] = {"type": message.type}
        case Transcript():
            body = {
                "type": message.type,
                "text": message.text,
                "is_final": message.is_final,
                "duration": message.duration,
                "language": message.language,
                "words": encode_word_times(message.words),
            }
        case ErrorMessage():
            body = {
                "type": message.type,
                "title": message.title or "Error",
                "message": message.message,
                "error_code": message.code,
                "doc_url": message.doc_url,
                "status_code": message.status,
            }
        case _:
            body = wire_fields(message)
    body["request_id"] = body.pop("request_id", None) or message.request_id
    return json.dumps({name: value for name, value in body.items() if value is not None})


def encode_word_times(times: Sequence[Word]) -> list[dict[str, Any]] | None:
    """Write words with times as the API does; None when there are none."""
    return [{"word": w.word, "start": w.start, "end": w.end} for w in times] or None


def _text(message: Mapping[str, Any], name: str) -> str | None:
    value = message.get(name)
    return value if isinstance(value, str) else None


def _line(message: Mapping[str, Any], name: str) -> str | None:
    """Read what is printed as it is: one line, of bounded length. Transcripts are no such text."""
    value = message.get(name)
    return one_line(value) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MAX_SECONDS < value < _MAX_SECONDS else None
