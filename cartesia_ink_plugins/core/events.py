"""The events of the API and of the clients.

A server message and the event an application receives are instances of the same class. `wire` fills
the fields that were in the message; a session adds `timing`, which only a client can know. A field
of a turn message that has no attribute here is kept in `extra`, so a field that is added to the API
reaches every application. Message types that this version does not know become `Unknown`.

Turn messages: https://docs.cartesia.ai/use-the-api/stt/turns/turns
Their fields: https://docs.cartesia.ai/api-reference/stt/turns/websocket
Manual endpoint: https://docs.cartesia.ai/api-reference/stt/manual/websocket
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias, TypeVar

from cartesia_ink_plugins.core.options import TurnSettings

NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


# --- what the server sends --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """When a turn event happened, in the caller's audio and on the clock.

    Attributes:
        turn: Number of the turn in this session, from 1. A turn that survives a lost connection
            keeps its number.
        position: Seconds of the stream that the server had received when it sent the event,
            estimated from the round-trip time.
        speech_start: Wall-clock time (`time.time()` seconds) at which the turn's speech began,
            measured in the audio; None when it is unknown.
        speech_end: Wall-clock time of the last speech of the turn so far; None when it is unknown
            or when the user is still speaking.
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
class _TurnMessage:
    """The fields of every turn event.

    Attributes:
        request_id: Id of the connection.
        timing: When it happened; added by the session.
        extra: Fields of the message that this version does not know.
    """

    request_id: str | None = field(default=None, kw_only=True)
    timing: Timing | None = field(default=None, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=lambda: NO_FIELDS, kw_only=True, hash=False)


@dataclass(frozen=True, slots=True)
class TurnStart(_TurnMessage):
    """The user began to speak: the moment to interrupt the bot."""

    type: ClassVar[str] = "turn.start"


@dataclass(frozen=True, slots=True)
class TurnUpdate(_TurnMessage):
    """The text of the turn so far; cumulative and append-only."""

    type: ClassVar[str] = "turn.update"
    transcript: str


@dataclass(frozen=True, slots=True)
class TurnEagerEnd(_TurnMessage):
    """The user may have finished: the moment to begin a reply that can still be withdrawn."""

    type: ClassVar[str] = "turn.eager_end"
    transcript: str


@dataclass(frozen=True, slots=True)
class TurnResume(_TurnMessage):
    """The user goes on speaking: withdraw the reply that was begun at the eager end."""

    type: ClassVar[str] = "turn.resume"


@dataclass(frozen=True, slots=True)
class TurnEnd(_TurnMessage):
    """The user has finished: the final text of the turn, empty after mere noise."""

    type: ClassVar[str] = "turn.end"
    transcript: str


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """An error that the server reports inside the connection.

    Attributes:
        status: As in HTTP: 4xx is the client's fault, 5xx the server's. 500 when it was absent.
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
class Word:
    """One word with its times.

    Attributes:
        word: Verbatim, usually with the space before it.
        start: Seconds into the audio at which it begins.
        end: Seconds into the audio at which it ends.
    """

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """More text of the manual endpoint: a delta that may begin and end inside a word.

    Attributes:
        text: To be appended verbatim to the text before it.
        is_final: False for a hypothesis that the next message may replace; no model sends any yet.
        duration: Seconds of audio it covers, when the model reports it.
        language: Language code, when the model reports it.
        words: The words with their times, when the model reports them.
    """

    type: ClassVar[str] = "transcript"
    text: str
    is_final: bool = True
    duration: float | None = None
    language: str | None = None
    words: tuple[Word, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class FlushDone:
    """The answer to `finalize`: the text of all audio before it has been sent."""

    type: ClassVar[str] = "flush_done"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to `close` on the manual endpoint: all text has been sent."""

    type: ClassVar[str] = "done"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that this version does not know; harmless."""

    reason: ClassVar[str] = "unknown type"
    kind: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that does not follow the API.

    Attributes:
        reason: What is wrong with it, without any text of the user.
    """

    reason: str


# --- what a client adds -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disconnected:
    """An open connection ended; the session goes on.

    Attributes:
        reason: One line for a log.
        code: WebSocket close code, or status of the error message, when there was one.
        retry_in: Seconds until the next attempt; None when the session waits for audio.
    """

    reason: str
    code: int | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """An attempt to connect failed; another one follows.

    Attributes:
        reason: One line for a log.
        status: HTTP status, when the server answered.
        retry_in: Seconds until the next attempt; None when the session waits for audio.
        timed_out: Whether there was no answer in time.
    """

    reason: str
    status: int | None = None
    retry_in: float | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Connecting fails in a way that waiting does not mend; told once, and the session goes on.

    Attributes:
        reason: The cause, in one line, such as a certificate that is not trusted.
        check: What to look at, such as `base_url`.
        seconds: For how long nothing else has come of an attempt.
    """

    reason: str
    check: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AudioGap:
    """Audio that will never be transcribed, because it had to be given up.

    Attributes:
        seconds: Length of the missing audio.
        position: Where the gap begins, in seconds of the stream.
    """

    seconds: float
    position: float


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """Events before this one were dropped, because the application did not read them in time.

    Attributes:
        count: How many; turns are dropped whole.
    """

    count: int


@dataclass(frozen=True, slots=True)
class SettingsRejected:
    """The server rejected a change of settings in mid-session; the former ones are in force.

    Attributes:
        error: What the server sent.
        turn: The settings in force, a `TurnSettings`.
    """

    error: ErrorMessage
    turn: TurnSettings


@dataclass(frozen=True, slots=True)
class Interim:
    """The text since the last `Final`: cumulative, append-only, and never with a broken word.

    Attributes:
        text: Verbatim, up to the last word that is known to be complete.
        timing: When; `turn` counts the finals.
        request_id: Id of the connection.
    """

    text: str
    timing: Timing | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """The text between one `finalize` and the next.

    Attributes:
        text: Verbatim, with the leading space: the concatenation of all finals is the whole text.
            Empty when nobody spoke.
        is_complete: False when the server did not confirm in time that this is all; text that
            arrives later is at the beginning of the next final.
        words: The words with their times in the stream, when the model reports them.
        duration: Seconds of audio that the model reports to have covered, when it does.
        language: Language code, when the model reports it.
        timing: When; `turn` counts the finals from 1.
        request_id: Id of the connection.
    """

    text: str
    is_complete: bool = True
    words: tuple[Word, ...] = ()
    duration: float | None = None
    language: str | None = None
    timing: Timing | None = None
    request_id: str | None = None


TurnEvent: TypeAlias = TurnStart | TurnUpdate | TurnEagerEnd | TurnResume | TurnEnd
TextEvent: TypeAlias = TurnUpdate | TurnEagerEnd | TurnEnd
ManualMessage: TypeAlias = Transcript | FlushDone | Done
Message: TypeAlias = Connected | TurnEvent | ManualMessage | ErrorMessage | Unknown | Malformed
ConnectionEvent: TypeAlias = (
    Connected | Disconnected | ConnectFailed | Unreachable | ErrorMessage | AudioGap | EventsDropped
)
Event: TypeAlias = ConnectionEvent | TurnEvent | SettingsRejected
ManualEvent: TypeAlias = ConnectionEvent | Interim | Final

EventType = TypeVar("EventType", TurnStart, TurnUpdate, TurnEagerEnd, TurnResume, TurnEnd)


def converted(event: TurnEvent, kind: type[EventType]) -> EventType:
    """Return a turn event as another one, with every attribute that both have."""
    names = {field.name for field in fields(event)}
    return kind(**{f.name: getattr(event, f.name) for f in fields(kind) if f.name in names})
