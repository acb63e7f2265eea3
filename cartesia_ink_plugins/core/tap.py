"""The tap: what happens in a session, told to observers.

A `Tap` is anything with a method `on(moment)`. The log, statistics, telemetry and recorders are
taps; none of them reaches into the core. A session takes any number of taps. Without one, nothing
is made for it. A tap that raises is logged and costs the session nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cartesia_ink_plugins.core.log import Log


class MomentKind(StrEnum):
    """What a moment is about; its payload is given behind each kind."""

    CONNECTING = "connecting"  # None
    OPENED = "opened"  # request id: str | None
    REJECTED = "rejected"  # RejectedError
    LOST = "lost"  # Disconnected | ConnectFailed
    SENT = "sent"  # Span: audio positions; one a message
    COMMAND = "command"  # text message to the server: str
    RECEIVED = "received"  # message of the server as it came: str | bytes
    EVENT = "event"  # an event as the application receives it
    REPLAY_BEGAN = "replay began"  # Span: from the replay's position to where sending had been
    REPLAY_ENDED = "replay ended"  # Span
    SILENCE = "silence"  # Span at one position: `seconds` of silence were inserted there
    GAP = "gap"  # AudioGap
    SETTINGS = "settings"  # the options in force
    SPECULATION = "speculation"  # what an adapter reports
    FINISHED = "finished"  # None


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


class Tap(Protocol):
    """An observer of a session."""

    def on(self, moment: Moment) -> None:
        """Receive a moment; must return soon."""


class Taps:
    """The taps of one session, and the numbers that every moment carries.

    Attributes:
        connection: Number of the present connection.
        turn: Number of the present turn.
        watches_audio: Whether a tap wants a moment for every message of audio.
    """

    __slots__ = ("_log", "_taps", "connection", "turn", "watches_audio")

    def __init__(self, taps: Iterable[Tap], log: Log) -> None:
        """Serve the given taps.

        Args:
            taps: In the order in which they are called.
            log: Where the exception of a tap is logged.
        """
        self._taps = list(taps)
        self._log = log
        self.connection = 0
        self.turn = 0
        self.watches_audio = any(getattr(tap, "watches_audio", True) for tap in self._taps)

    def on(self, now: float, kind: MomentKind, payload: object = None) -> None:
        """Tell all taps."""
        if not self._taps:
            return
        moment = Moment(now, kind, self.connection, self.turn, payload)
        for tap in self._taps:
            try:
                tap.on(moment)
            except Exception:
                self._log.exception("a tap failed on %s", kind.value)
