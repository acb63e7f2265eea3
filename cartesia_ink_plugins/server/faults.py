"""Faults of the network and of the service, as values.

A fault is an action at a place:

    Fault(Reset(), At("turn.update", 2))                 a reset after the second update
    Fault(Close(1011), At("audio", 3.5))                 after 3.5 s of audio
    Fault(Refuse(503, retry_after=2), At("connect"), times=3)
    Fault(Silence(6), At("turn.start", delay=0.2, spread=0.5))

It is injected once, or `times` times (None: always), on every connection that gets there, or only
on `connection`. `fault_plan` decides when faults are injected, `proxy` injects them, `fault_text`
parses and formats them as one line of text.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TypeAlias

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.events import (
    ErrorMessage,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.server.cues import Line
from cartesia_ink_plugins.server.engine import Close

FOREVER = math.inf


@dataclass(frozen=True, slots=True)
class Refuse:
    """The upgrade is rejected with an HTTP status.

    Attributes:
        status: HTTP status, such as 401, 402, 403, 429, 500 or 503.
        retry_after: Seconds of the `Retry-After` header; None omits it.
    """

    status: int = 503
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The TCP connection is reset (RST); data in flight is lost."""


@dataclass(frozen=True, slots=True)
class Fin:
    """The server closes its side (FIN) without a close frame."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The server sends nothing; afterwards it sends what was held back.

    At `connect` it is a slow or hung handshake, at `upgrade` a late or missing `connected`, later a
    silent connection.

    Attributes:
        seconds: Duration.
        pongs: Whether pings are still answered.
    """

    seconds: float = FOREVER
    pongs: bool = True


@dataclass(frozen=True, slots=True)
class Deaf:
    """The server stops reading, so that the buffers fill and sending blocks.

    Attributes:
        seconds: Duration.
    """

    seconds: float = FOREVER


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Neither direction delivers data, and neither peer is notified."""


@dataclass(frozen=True, slots=True)
class NoPongs:
    """Pings are no longer answered; everything else works."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Both directions are delayed; the order is kept.

    Attributes:
        seconds: Delay.
        jitter: Most random seconds added to the delay.
    """

    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """The bandwidth of each direction is limited.

    Attributes:
        rate: Bytes per second.
    """

    rate: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The server's data arrives in small segments.

    Attributes:
        size: Bytes of a segment.
    """

    size: int = 1


@dataclass(frozen=True, slots=True)
class Join:
    """The server's data of an interval arrives in one TCP segment.

    Attributes:
        seconds: Length of the interval.
    """

    seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class IgnoreClose:
    """The client's `close` is ignored."""


@dataclass(frozen=True, slots=True, init=False)
class Say:
    """The server sends messages, valid or not.

    Attributes:
        lines: Messages get the connection's request_id; text and bytes are sent unchanged.
        what: Key of `NAMED_MESSAGES`, or a description of the lines.
    """

    lines: tuple[Line, ...]
    what: str

    def __init__(self, *lines: Line, what: str = "") -> None:
        """Send lines, or those of a key of `NAMED_MESSAGES`."""
        if len(lines) == 1 and isinstance(lines[0], str) and lines[0] in NAMED_MESSAGES:
            what, lines = lines[0], NAMED_MESSAGES[lines[0]]
        object.__setattr__(self, "lines", lines)
        object.__setattr__(self, "what", what)


@dataclass(frozen=True, slots=True)
class CloseAll:
    """All connections are closed at once, as by a deploy of the service.

    Attributes:
        code: Close code.
    """

    code: int = 1012


@dataclass(frozen=True, slots=True)
class Outage:
    """All connections are reset and the service is unavailable for a while.

    Attributes:
        seconds: Duration.
        status: The answer to attempts meanwhile: an HTTP status, `0` for "connection refused", `-1`
            for no answer.
    """

    seconds: float
    status: int = 0


Action: TypeAlias = (
    Refuse
    | Reset
    | Fin
    | Close
    | Silence
    | Deaf
    | HalfOpen
    | NoPongs
    | Latency
    | Throttle
    | Slice
    | Join
    | IgnoreClose
    | Say
    | CloseAll
    | Outage
)

NAMED_MESSAGES: dict[str, tuple[Line, ...]] = {
    "malformed": ('{"type": "turn.update", "transcript": ',),
    "not-object": ('["turn.start"]', "null", "3"),
    "wrong-types": (
        '{"type": "turn.update", "transcript": 7}',
        '{"type": 7}',
        '{"type": "error", "status_code": "many", "message": null}',
    ),
    "no-transcript": ('{"type": "turn.update"}',),
    "unknown-type": ('{"type": "turn.sentiment", "sentiment": "curious"}',),
    "binary": (b"\x00\xff",),
    "huge": (json.dumps({"type": "turn.sentiment", "filler": "x" * 2_000_000}),),
    "flood": ('{"type": "turn.sentiment"}',) * 5_000,
    "start": (TurnStart(),),
    "update": (TurnUpdate("never said"),),
    "eager-end": (TurnEagerEnd("never said"),),
    "resume": (TurnResume(),),
    "end": (TurnEnd("never said"),),
    "empty-end": (TurnEnd(""),),
    "error-400": (ErrorMessage(400, "The request is not valid.", "Bad request"),),
    "error-500": (ErrorMessage(500, "Internal server error.", "Internal Server Error"),),
    "error-503": (ErrorMessage(503, "Try again later.", "Service unavailable"),),
    "fatal-400": (ErrorMessage(400, "The request is not valid.", "Bad request"), Close(1008)),
    "fatal-500": (ErrorMessage(500, "Internal server error."), Close(1011)),
}

MEASURES = ("seconds", "audio", "bytes")
"""The points with an amount; all others are counted."""

POINTS = (
    "connect",
    "upgrade",
    *MEASURES,
    "close",
    "connected",
    "turn.start",
    "turn.update",
    "turn.eager_end",
    "turn.resume",
    "turn.end",
    "error",
)


@dataclass(frozen=True, slots=True)
class At:
    """A place on a connection.

    Attributes:
        point: `connect` is before the upgrade is answered, `upgrade` right after it; `seconds` is
            the time since the upgrade, `audio` and `bytes` the audio received in seconds and
            bytes; `close` is the client's `close`; the others are message types.
        amount: Seconds or bytes; for the others, the occurrence on the connection, from 1.
        delay: Seconds after that place.
        spread: Most random seconds added to the delay.
        before: Whether the fault comes before the message is forwarded, instead of after it.
    """

    point: str = "connect"
    amount: float = 1
    delay: float = 0.0
    spread: float = 0.0
    before: bool = False

    def __post_init__(self) -> None:
        """Check the place."""
        if self.point not in POINTS:
            raise UsageError(f"fault: {self.point!r} is not one of {', '.join(POINTS)}")
        if not (self.amount >= 0 and self.delay >= 0 and self.spread >= 0):
            raise UsageError("fault: numbers must not be below 0")
        if self.point not in MEASURES and (self.amount < 1 or self.amount % 1):
            raise UsageError(f"fault: {self.point} is counted 1, 2, 3; not {self.amount:g}")


@dataclass(frozen=True, slots=True)
class Fault:
    """An action at a place.

    Attributes:
        action: The action.
        at: The place.
        times: Number of injections on all connections together; None is no limit.
        connection: Number of the only connection that has it, from 0; None is any.
    """

    action: Action
    at: At = At()
    times: int | None = 1
    connection: int | None = None

    def __post_init__(self) -> None:
        """Check the action."""
        if self.times is not None and self.times < 1:
            raise UsageError("fault: times must be 1 or more")
        match self.action:
            case Refuse() if self.at.point != "connect":
                raise UsageError("fault: refuse is possible only at connect")
            case Refuse(status=status) if not 400 <= status <= 599:
                raise UsageError(f"fault: {status} is not an HTTP status from 400 to 599")
            case Refuse(retry_after=float() | int() as wait) if not wait >= 0:
                raise UsageError("fault: Retry-After must not be below 0 seconds")
            case Outage(status=status) if status not in (-1, 0) and not 400 <= status <= 599:
                raise UsageError(f"fault: {status} is neither 0, nor -1, nor an HTTP status")
            case Close(code=code) | CloseAll(code=code) if not 1000 <= code <= 4999:
                raise UsageError(f"fault: {code} is not a close code from 1000 to 4999")
            case Throttle(rate=rate) if not rate > 0:
                raise UsageError("fault: rate must be above 0 bytes per second")
            case Slice(size=size) if size < 1:
                raise UsageError("fault: size must be at least 1 byte")
            case Latency(seconds=seconds, jitter=jitter) if not (seconds >= 0 and jitter >= 0):
                raise UsageError("fault: latency must not be below 0 seconds")
            case (
                Silence(seconds=seconds)
                | Deaf(seconds=seconds)
                | Join(seconds=seconds)
                | Outage(seconds=seconds)
            ) if not seconds >= 0:
                raise UsageError("fault: duration must not be below 0 seconds")
