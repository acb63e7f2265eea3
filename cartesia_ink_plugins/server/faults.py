"""How a network and a service go wrong, as values.

A fault is an action at a place:

    Fault(Reset(), At("turn.update", 2))                 a reset after the second update
    Fault(Close(1011), At("audio", 3.5))                 when 3.5 s of audio have come
    Fault(Refuse(503, retry_after=2), At("connect"), times=3)
    Fault(Silence(6), At("turn.start", delay=0.2, spread=0.5))

It strikes once unless `times` says more (None: always), on whichever connection gets there, or only
on `connection`. Here nothing happens yet: `fault_plan` decides when faults strike, `proxy` plays
them, `fault_text` writes them in one line of text.
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
    """The upgrade is answered with an HTTP status.

    Attributes:
        status: Such as 401, 402, 403, 429, 500 or 503.
        retry_after: Seconds for a `Retry-After` header; None leaves it out.
    """

    status: int = 503
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The TCP connection is reset (RST): what is under way is lost."""


@dataclass(frozen=True, slots=True)
class Fin:
    """The server's side ends (FIN) without a close frame."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing more comes from the server; afterwards what was held back comes.

    At `connect` it is a slow or hung handshake, at `upgrade` a `connected` that is late or never
    comes, later an open connection that has gone silent.

    Attributes:
        seconds: How long.
        pongs: Whether pings are still answered.
    """

    seconds: float = FOREVER
    pongs: bool = True


@dataclass(frozen=True, slots=True)
class Deaf:
    """The server stops reading, until the buffers are full and sending stalls.

    Attributes:
        seconds: How long.
    """

    seconds: float = FOREVER


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Both directions go dead and nobody is told: a cable was pulled."""


@dataclass(frozen=True, slots=True)
class NoPongs:
    """Pings are not answered any more; all else works."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Everything takes longer, in both directions.

    Attributes:
        seconds: By how much.
        jitter: And by how much more at random, at most; the order stays.
    """

    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """The link carries no more than so many bytes a second in each direction.

    Attributes:
        rate: Bytes per second.
    """

    rate: float


@dataclass(frozen=True, slots=True)
class Slice:
    """What the server sends comes in pieces of so many bytes.

    Attributes:
        size: Bytes.
    """

    size: int = 1


@dataclass(frozen=True, slots=True)
class Join:
    """What the server sends within some time comes in one TCP segment.

    Attributes:
        seconds: The time.
    """

    seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class IgnoreClose:
    """The client's `close` is not heard."""


@dataclass(frozen=True, slots=True, init=False)
class Say:
    """The server says something, right or wrong.

    Attributes:
        lines: Messages get the request_id of the connection; text and bytes are sent as they are.
        what: Name of a line of `SAYINGS`, or what the lines are, for people.
    """

    lines: tuple[Line, ...]
    what: str

    def __init__(self, *lines: Line, what: str = "") -> None:
        """Say the lines; one that is a key of `SAYINGS` stands for what is found there."""
        if len(lines) == 1 and isinstance(lines[0], str) and lines[0] in SAYINGS:
            what, lines = lines[0], SAYINGS[lines[0]]
        object.__setattr__(self, "lines", lines)
        object.__setattr__(self, "what", what)


@dataclass(frozen=True, slots=True)
class CloseAll:
    """All connections are closed at once, as in a deploy of the service.

    Attributes:
        code: Close code.
    """

    code: int = 1012


@dataclass(frozen=True, slots=True)
class Outage:
    """All connections break and the service is away for a while.

    Attributes:
        seconds: How long.
        status: What attempts get meanwhile: an HTTP status, `0` for "connection refused", `-1` for
            no answer at all.
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

SAYINGS: dict[str, tuple[Line, ...]] = {
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
"""The points that have an amount; all others are counted."""

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
    """A place in the life of a connection.

    Attributes:
        point: `connect` is before the upgrade is answered, `upgrade` right after it; `seconds` is
            time since the upgrade, `audio` seconds of audio received, `bytes` bytes of audio
            received; `close` is when the client asks to close; the others are types of messages.
        amount: How many seconds or bytes; of the others, which one on the connection: 1 is the
            first.
        delay: Seconds from there.
        spread: Seconds at most that are added to the delay at random.
        before: Whether a message strikes before it is let through, instead of after it.
    """

    point: str = "connect"
    amount: float = 1
    delay: float = 0.0
    spread: float = 0.0
    before: bool = False

    def __post_init__(self) -> None:
        """Refuse places that do not exist."""
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
        action: What happens.
        at: Where.
        times: How often, on all connections together; None: whenever a connection gets there.
        connection: Number of the only connection, from 0, on which it happens; None: any.
    """

    action: Action
    at: At = At()
    times: int | None = 1
    connection: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot happen."""
        if self.times is not None and self.times < 1:
            raise UsageError("fault: must happen at least once")
        match self.action:
            case Refuse() if self.at.point != "connect":
                raise UsageError("fault: only at connect, the upgrade, can anything be refused")
            case Refuse(status=status) if not 400 <= status <= 599:
                raise UsageError(f"fault: {status} is no HTTP status from 400 to 599")
            case Refuse(retry_after=float() | int() as wait) if not wait >= 0:
                raise UsageError("fault: Retry-After must not be below 0 seconds")
            case Outage(status=status) if status not in (-1, 0) and not 400 <= status <= 599:
                raise UsageError(f"fault: {status} is neither 0, nor -1, nor an HTTP status")
            case Close(code=code) | CloseAll(code=code) if not 1000 <= code <= 4999:
                raise UsageError(f"fault: {code} is no close code from 1000 to 4999")
            case Throttle(rate=rate) if not rate > 0:
                raise UsageError("fault: a rate must be above 0 bytes a second")
            case Slice(size=size) if size < 1:
                raise UsageError("fault: a slice must be at least 1 byte")
            case Latency(seconds=seconds, jitter=jitter) if not (seconds >= 0 and jitter >= 0):
                raise UsageError("fault: latency must not be below 0 seconds")
            case (
                Silence(seconds=seconds)
                | Deaf(seconds=seconds)
                | Join(seconds=seconds)
                | Outage(seconds=seconds)
            ) if not seconds >= 0:
                raise UsageError("fault: cannot last less than 0 seconds")
