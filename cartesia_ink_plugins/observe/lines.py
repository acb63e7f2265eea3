"""Moments as lines of `session.jsonl`; the format is described in docs/recording.md."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import urlsplit

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import Timing
from cartesia_ink_plugins.core.options import ConnectionOptions
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SessionStart, Span
from cartesia_ink_plugins.core.validation import websocket_url
from cartesia_ink_plugins.observe.wording import Wording

# Without secrets: headers are never recorded, and of the address only host and port.
_LEFT_OUT = frozenset({"extra_headers", "base_url", "allow_insecure"})
_DIGITS = 4  # of seconds: 0.1 ms, finer than a sample's place matters


def line_kind(kind: MomentKind) -> str:
    """Return how a line names a kind."""
    return kind.value.replace(" ", "_")


def options_fields(options: ConnectionOptions) -> dict[str, Any]:
    """Return the options of a connection without secrets."""
    values = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in _LEFT_OUT
    }
    turn = values.pop("turn", None)
    if turn is not None:
        values |= {field.name: getattr(turn, field.name) for field in fields(turn)}
    values["encoding"] = str(values["encoding"])
    values["keyterms"] = list(values["keyterms"])
    values["host"] = urlsplit(websocket_url(options.base_url, options.path)).netloc
    values["path"] = options.path
    return {name: value for name, value in values.items() if value is not None}


def payload_fields(moment: Moment, wording: Wording, epoch: float) -> dict[str, Any]:
    """Return the payload of a moment as fields of its line.

    Args:
        moment: The moment.
        wording: What is recorded in place of the user's words.
        epoch: Wall-clock time of the recording's start, in seconds since 1970.
    """
    payload = moment.payload
    match payload:
        case None:
            return {}
        case SessionStart():
            options = options_fields(payload.options)
            return {"session_id": payload.session_id, "options": options}
        case ConnectionOptions():
            return {"options": options_fields(payload)}
        case RejectedError():
            return {
                "message": wording.text(str(payload)),
                "status": payload.status,
                "code": payload.code,
                "request_id": payload.request_id,
            }
        case Span():
            return rounded({"start": payload.start, "end": payload.end, "seconds": payload.seconds})
        case str() | bytes() if moment.kind is MomentKind.RECEIVED:
            return {"message": wording.message(payload)}
        case str() if moment.kind is MomentKind.COMMAND:
            return {"message": json.loads(payload) if payload.startswith("{") else payload}
        case str():
            return {"request_id": payload}
        case float():
            return {"epoch": payload}
    if not is_dataclass(payload):
        return {"payload": wording.value(str(payload))}
    values = {field.name: getattr(payload, field.name) for field in fields(payload)}
    timing = values.pop("timing", None)
    if isinstance(timing, Timing):
        values["position"] = timing.position
        for name in ("speech_start", "speech_end"):
            at = getattr(timing, name)
            values[name] = None if at is None else at - epoch
    extra = values.pop("extra", None)
    if moment.kind in (MomentKind.EVENT, MomentKind.LOST):
        values = {"event": event_name(payload)} | values
    if extra:
        values["extra"] = dict(extra)
    return rounded(
        {name: _plain(value, wording, name) for name, value in values.items() if value is not None}
    )


def event_name(event: object) -> str:
    """Return the API's name of an event, or its class in the same style, as `audio_gap`."""
    name = getattr(type(event), "type", None)
    if isinstance(name, str):
        return name
    parts = type(event).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in parts).lstrip("_")


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Round seconds to what matters."""
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _plain(value: Any, wording: Wording, name: str) -> Any:
    """Return a value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), wording, field.name)
            for field in fields(value)
        }
    if isinstance(value, tuple | list):
        return [_plain(member, wording, name) for member in value]
    if value is None or isinstance(value, str | int | float | dict):
        return wording.value(value, name)
    return wording.text(str(value))
