"""The tap: what happens in a session, told to observers.

A `Tap` is anything with a method `on(moment)`. The log, statistics, telemetry and recorders are
taps; none of them reaches into the core. A session takes any number of taps. A tap may name what it
wants: what nobody wants is not made. A tap that raises is logged and costs the session nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from cartesia_ink_plugins.core.log import Log
from cartesia_ink_plugins.core.options import ConnectionOptions
from cartesia_ink_plugins.core.stats import Snapshot


class MomentKind(StrEnum):
    """What a moment is about; its payload is given behind each kind.

    The last group is what the framework around a session did; an adapter reports it with
    `client.report`.
    """

    STARTED = "started"  # SessionStart; the first moment of a session
    CLOCK = "clock"  # float: the `epoch` of `SessionStart` anew; the wall clock may have been set
    CONNECTING = "connecting"  # None
    OPENED = "opened"  # request id: str | None
    REJECTED = "rejected"  # RejectedError
    LOST = "lost"  # Disconnected | ConnectFailed
    AUDIO = "audio"  # InputAudio: handed in by the application; about 10 a second
    SENT = "sent"  # SentAudio; one a message
    COMMAND = "command"  # text message to the server: str
    RECEIVED = "received"  # message of the server as it came: str | bytes
    EVENT = "event"  # an event as the application receives it
    REPLAY_BEGAN = "replay began"  # Span: from the replay's position to where sending had been
    REPLAY_ENDED = "replay ended"  # Span
    SILENCE = "silence"  # Span at one position: `seconds` of silence were inserted there
    GAP = "gap"  # AudioGap
    SETTINGS = "settings"  # the options in force
    FINISHED = "finished"  # None; the last moment of a session

    INTERRUPTION = "interruption"  # None: the user interrupted the bot
    SPECULATION_BEGAN = "speculation began"  # None: a reply was begun before the turn ended
    SPECULATION_ENDED = "speculation ended"  # Speculation
    LLM_STARTED = "llm started"  # None: the LLM was asked for a reply
    LLM_OUTPUT = "llm output"  # None: the first text of a reply
    TTS_OUTPUT = "tts output"  # None: the first audio of a reply
    BOT_STARTED = "bot started"  # None: the bot began to speak
    BOT_STOPPED = "bot stopped"  # None: the bot stopped speaking
    BOT_AUDIO = "bot audio"  # BotAudio; one a frame, of a call whose sound is recorded


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the audio stream.

    Attributes:
        start: Seconds of the stream at which it begins.
        end: Seconds of the stream at which it ends.
        seconds: Its length in seconds; of inserted silence, which has no positions, the length.
    """

    start: float
    end: float
    seconds: float


@dataclass(frozen=True, slots=True)
class InputAudio(Span):
    """Audio that was handed in, and ended at the time of its moment.

    Attributes:
        data: The bytes, in the encoding of the options.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class SentAudio(Span):
    """One message of audio.

    Attributes:
        data: The bytes that were sent, in the encoding of the options; not a copy.
    """

    data: bytes


class Tracing(Protocol):
    """How the framework around a session traces; an adapter gives it to the client.

    Contexts and tracers are those of OpenTelemetry, which the core does not know.
    """

    def turn_context(self) -> object | None:
        """Return the context of the user's turn; None when there is none."""

    def tracer(self) -> object | None:
        """Return what the framework makes its spans with; None for the one of the process."""

    def attributes(self) -> Mapping[str, str]:
        """Return what the framework knows of the call, as attributes of a span."""


@dataclass(frozen=True, slots=True)
class SessionStart:
    """What a session begins with.

    Attributes:
        session_id: Begins every log line of the session.
        options: What the first connection asks for.
        epoch: Wall-clock time at which the session's monotonic clock was 0, in seconds since 1970.
        snapshot: Returns the numbers of the session at any time, from any thread; None when the
            moments are those of a recording.
        tracing: Returns how the framework traces, at any time; None likewise.
    """

    session_id: str
    options: ConnectionOptions
    epoch: float
    snapshot: Callable[[], Snapshot] | None = field(default=None, repr=False, compare=False)
    tracing: Callable[[], Tracing | None] | None = field(default=None, repr=False, compare=False)


class SpeculationOutcome(StrEnum):
    """What became of a reply that was begun before the turn ended."""

    KEPT = "kept"
    WITHDRAWN = "withdrawn"
    MISMATCHED = "mismatched"


@dataclass(frozen=True, slots=True)
class Speculation:
    """A reply that was begun before the turn ended, and is decided.

    Attributes:
        outcome: Kept when the final words were the predicted ones, withdrawn when the user went
            on, mismatched when the final words were others.
        lead: Seconds from the prediction to its outcome; for a kept one, how much earlier the LLM
            was started.
        prompt_tokens: Tokens that the LLM has read for it, as it reported; None if it did not.
        completion_tokens: Tokens that the LLM has written for it, likewise.
        estimated_prompt_tokens: As `prompt_tokens`, but estimated from the length of the text; None
            where the LLM reported them, or is still writing.
    """

    outcome: SpeculationOutcome
    lead: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated_prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class BotAudio:
    """A frame of what the bot says.

    Attributes:
        data: 16-bit samples, mono.
        sample_rate: In Hz.
    """

    data: bytes
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened in a session.

    Attributes:
        time: Seconds on the session's monotonic clock.
        kind: What happened.
        connection: Number of the connection in the session, from 1; 0 before the first.
        turn: Number of the turn that is open or was the last, from 1; 0 before the first.
        payload: See `MomentKind`.
    """

    time: float
    kind: MomentKind
    connection: int
    turn: int
    payload: object = None


Wanted: TypeAlias = MomentKind | type
"""A kind of moments; or the class of an event, for the moments `EVENT` of such events."""


class Tap(Protocol):
    """An observer of a session.

    It may have an attribute `kinds`, which is read when a session begins: the kinds of moments, or
    classes of events, that it wants. Without it, a tap wants all.
    """

    def on(self, moment: Moment) -> None:
        """Receive a moment; must return soon."""


class Taps:
    """The taps of one session, and the numbers that every moment carries.

    Attributes:
        connection: Number of the present connection.
        turn: Number of the present turn.
    """

    __slots__ = ("_kinds", "_log", "_wanting", "connection", "turn")

    def __init__(self, taps: Iterable[Tap], log: Log) -> None:
        """Serve the given taps.

        Args:
            taps: In the order in which they are called.
            log: Where the exception of a tap is logged.
        """
        self._kinds: list[tuple[Tap, Container[Wanted]]] = [
            (tap, getattr(tap, "kinds", tuple(MomentKind))) for tap in taps
        ]
        self._wanting: dict[Wanted, list[Tap]] = {}
        self._log = log
        self.connection = 0
        self.turn = 0

    def want(self, kind: MomentKind) -> bool:
        """Whether a tap wants moments of a kind: if not, their payload need not be made."""
        return any(kind in kinds for _, kinds in self._kinds)

    def on(self, now: float, kind: MomentKind, payload: object = None) -> None:
        """Tell the taps that want such moments."""
        wanted: Wanted = type(payload) if kind is MomentKind.EVENT else kind
        taps = self._wanting.get(wanted)
        if taps is None:
            taps = [tap for tap, kinds in self._kinds if kind in kinds or wanted in kinds]
            self._wanting[wanted] = taps
        if not taps:
            return
        moment = Moment(now, kind, self.connection, self.turn, payload)
        for tap in taps:
            try:
                tap.on(moment)
            except Exception:
                self._log.exception("a tap failed on %s", kind.value)
