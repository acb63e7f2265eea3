"""Everything that is said: the wire messages of the Ink API and the events the client makes.

A server message and the event an application sees are the same class. The decoder fills what was on
the wire; the session adds `timing`, which only a client can know. Unknown fields are ignored and
unknown types become `Unknown`, because both may be added to the API at any time.

Rules of the turn messages: https://docs.cartesia.ai/use-the-api/stt/turns/turns
Fields: https://docs.cartesia.ai/api-reference/stt/turns/websocket
Manual finalize: https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from cartesia_ink_plugins.core.transcripts import (
    Done,
    FlushDone,
    Transcript,
    Word,
    decode_transcript,
    encode_transcript,
)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a turn event happened, in the caller's audio and on the clock.

    Attributes:
        turn: Number of the turn in this session, from 1. A turn that survives a lost connection
            keeps its number.
        position: Seconds of the stream that the server had heard when it said so, judged by the
            round trip.
        speech_start: Wall-clock time (`time.time()` seconds) at which the turn's speech began,
            as heard in the audio itself; None when it could not be heard.
        speech_end: Wall-clock time of the last speech heard in the turn so far; None when unknown
            or when somebody is still speaking.
    """

    turn: int
    position: float
    speech_start: float | None = None
    speech_end: float | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection is open and its settings are accepted."""

    type: ClassVar[str] = "connected"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TurnStart:
    """The user began to speak: the moment to interrupt the bot."""

    type: ClassVar[str] = "turn.start"
    request_id: str | None = None
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class TurnUpdate:
    """The words of the turn so far; cumulative and append-only."""

    type: ClassVar[str] = "turn.update"
    transcript: str
    request_id: str | None = None
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class TurnEagerEnd:
    """The user may be done: the moment to begin a reply that can still be withdrawn."""

    type: ClassVar[str] = "turn.eager_end"
    transcript: str
    request_id: str | None = None
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class TurnResume:
    """The user was not done: withdraw the reply begun at the eager end."""

    type: ClassVar[str] = "turn.resume"
    request_id: str | None = None
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """The user is done: these are the final words of the turn (empty after mere noise)."""

    type: ClassVar[str] = "turn.end"
    transcript: str
    request_id: str | None = None
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """An error told by the server inside the connection.

    Attributes:
        status: As of HTTP: 4xx is the client's fault, 5xx the server's. 500 when it was absent.
        code: Machine-readable code such as `model_not_found`.
    """

    type: ClassVar[str] = "error"
    status: int
    message: str
    title: str | None = None
    code: str | None = None
    doc_url: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type this version does not know; harmless."""

    why: ClassVar[str] = "unknown type"
    kind: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not what the API promises.

    Attributes:
        why: What is wrong with it, without any of the user's words.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """An open connection ended; the session goes on.

    Attributes:
        reason: Why, in one line, for a log.
        code: WebSocket close code or status of the error message, when there was one.
        retry_in: Seconds until the next attempt; None when it waits for audio.
    """

    reason: str
    code: int | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class DialFailed:
    """An attempt to connect failed; another one follows.

    Attributes:
        reason: Why, in one line, for a log.
        status: HTTP status, when the server answered.
        retry_in: Seconds until the next attempt; None when it waits for audio.
        timed_out: Whether there was no answer in time.
    """

    reason: str
    status: int | None = None
    retry_in: float | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Audio that nobody will ever transcribe, because it had to be given up.

    Attributes:
        seconds: How much audio is missing.
        position: Where in the stream the gap begins, in seconds.
    """

    seconds: float
    position: float


@dataclass(frozen=True, slots=True)
class SettingsRejected:
    """The server refused a change of settings in mid-session; the former ones hold again."""

    error: ErrorMessage


@dataclass(frozen=True, slots=True)
class Interim:
    """The words since the last `Final`, so far; cumulative, append-only and never a broken word.

    Attributes:
        text: Verbatim, up to the last word that is known to be whole.
        timing: When; `turn` counts the finals.
        request_id: Of the connection.
    """

    text: str
    timing: Timing | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """All words between one `finalize` and the next.

    Attributes:
        text: Verbatim, the leading space included: the texts of all finals, joined without
            anything, are the whole text. Empty when nothing was said.
        is_complete: False when the server did not confirm in time that this is all; what it says
            later stands at the beginning of the next final.
        words: The words with their times in the stream, when the model gives them.
        duration: Seconds of audio that the model was told about, when it says so.
        language: What is spoken, when the model says so.
        timing: When; `turn` counts the finals from 1.
        request_id: Of the connection.
    """

    text: str
    is_complete: bool = True
    words: tuple[Word, ...] = ()
    duration: float | None = None
    language: str | None = None
    timing: Timing | None = None
    request_id: str | None = None


TurnEvent: TypeAlias = TurnStart | TurnUpdate | TurnEagerEnd | TurnResume | TurnEnd
ManualMessage: TypeAlias = Transcript | FlushDone | Done
Message: TypeAlias = Connected | TurnEvent | ManualMessage | ErrorMessage | Unknown | Malformed
LifeEvent: TypeAlias = Connected | Disconnected | DialFailed | ErrorMessage | AudioGap
Event: TypeAlias = LifeEvent | TurnEvent | SettingsRejected
ManualEvent: TypeAlias = LifeEvent | Interim | Final

_BARE: dict[str, type[Connected | TurnStart | TurnResume | FlushDone | Done]] = {
    cls.type: cls for cls in (Connected, TurnStart, TurnResume, FlushDone, Done)
}
_WITH_TEXT: dict[str, type[TurnUpdate | TurnEagerEnd | TurnEnd]] = {
    cls.type: cls for cls in (TurnUpdate, TurnEagerEnd, TurnEnd)
}


def decode(data: str | bytes) -> Message:
    """Read one server message.

    Never raises: what cannot be read becomes `Malformed`, what is not known becomes `Unknown`.

    Args:
        data: The payload of one WebSocket message; the API only sends text.

    Returns:
        The message. Transcripts are verbatim, including leading and trailing spaces.
    """
    if isinstance(data, bytes):
        return Malformed("binary message")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return Malformed("not JSON")
    if not isinstance(fields, dict):
        return Malformed("not a JSON object")
    kind = fields.get("type")
    if not isinstance(kind, str):
        return Malformed("no type")
    request_id = _text(fields, "request_id")
    if kind in _BARE:
        return _BARE[kind](request_id=request_id)
    if kind in _WITH_TEXT:
        transcript = fields.get("transcript")
        if not isinstance(transcript, str):
            return Malformed(f"{kind} without transcript")
        return _WITH_TEXT[kind](transcript, request_id=request_id)
    if kind == ErrorMessage.type:
        return _decode_error(fields, request_id)
    if kind == Transcript.type:
        return decode_transcript(fields, request_id) or Malformed("transcript without text")
    return Unknown(kind)


def _decode_error(fields: dict[str, Any], request_id: str | None) -> ErrorMessage:
    """Read both error shapes: `status_code` since 2026-03-01, a numeric `code` before it."""
    numbers = (fields.get("status_code"), fields.get("code"), 500)
    status = next(n for n in numbers if isinstance(n, int) and not isinstance(n, bool))
    return ErrorMessage(
        status=status,
        message=_text(fields, "message") or "",
        title=_text(fields, "title"),
        code=_text(fields, "error_code"),
        doc_url=_text(fields, "doc_url"),
        request_id=request_id,
    )


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def encode(message: Connected | TurnEvent | ManualMessage | ErrorMessage) -> str:
    """Write one server message as the API does: JSON text, absent fields left out."""
    fields: dict[str, Any] = {"type": message.type}
    match message:
        case TurnUpdate() | TurnEagerEnd() | TurnEnd():
            fields["transcript"] = message.transcript
        case Transcript():
            fields |= encode_transcript(message)
        case ErrorMessage():
            fields["title"] = message.title or "Error"
            fields["message"] = message.message
            fields["error_code"] = message.code
            fields["doc_url"] = message.doc_url
            fields["status_code"] = message.status
    fields["request_id"] = message.request_id
    return json.dumps({name: value for name, value in fields.items() if value is not None})
