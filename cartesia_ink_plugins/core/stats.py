"""What happened in a session, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cartesia_ink_plugins.core.audio import AudioFormat


@dataclass(slots=True)
class ByteCounts:
    """Where every byte of audio went; `received = sent + lost + pending`."""

    received: int = 0
    sent: int = 0
    replayed: int = 0
    lost: int = 0
    silence: int = 0
    connections: int = 0


class Violations(dict[str, int]):
    """How often the server broke the protocol, by kind.

    Kinds are few, and hold no text of the server's.
    """

    def count(self, kind: str) -> bool:
        """Count one more; tell whether it is the first of its kind."""
        self[kind] = self.get(kind, 0) + 1
        return self[kind] == 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of a session; all durations are seconds of audio.

    `received = sent + pending + lost` at any time: every byte is accounted for.

    Attributes:
        received: Handed in by the application.
        sent: Sent to the server at least once.
        pending: Waits to be sent.
        lost: Given up, and reported in `AudioGap` events.
        replayed: Sent once more after a connection was lost.
        silence: Silence that the session inserted to keep the stream continuous.
        connections: Connections that were opened.
        turns: Turns that were begun; on the manual endpoint, finals.
        protocol_violations: How often the server broke the order of events, or sent what could
            not be read, by kind.
    """

    received: float
    sent: float
    pending: float
    lost: float
    replayed: float
    silence: float
    connections: int
    turns: int
    protocol_violations: Mapping[str, int] = field(default_factory=dict)

    @property
    def billed(self) -> float:
        """Seconds of audio that the server received: sent, replayed, and silence."""
        return self.sent + self.replayed + self.silence


NO_NUMBERS = Snapshot(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
"""Those of a session in which nothing has happened."""


@dataclass(frozen=True, slots=True)
class Unrecognized:
    """What another session can continue from, when this one is given up.

    Attributes:
        text: The text of the open turn or segment, up to where `audio` begins.
        audio: All audio that was handed in since then.
    """

    text: str
    audio: bytes


def snapshot(
    counts: ByteCounts, format: AudioFormat, *, turns: int, violations: Violations
) -> Snapshot:
    """Read the numbers of a session."""
    return Snapshot(
        received=format.seconds(counts.received),
        sent=format.seconds(counts.sent),
        pending=format.seconds(counts.received - counts.sent - counts.lost),
        lost=format.seconds(counts.lost),
        replayed=format.seconds(counts.replayed),
        silence=format.seconds(counts.silence),
        connections=counts.connections,
        turns=turns,
        protocol_violations=dict(violations),
    )


class UsageMeter:
    """Seconds of audio that the server received since they were last reported."""

    __slots__ = ("_reported",)

    def __init__(self, reported: float = 0.0) -> None:
        """Count from a number of billed seconds that were reported already."""
        self._reported = reported

    def take(self, snapshot: Snapshot) -> float:
        """Return the seconds since the last call; 0 when there are none."""
        seconds = snapshot.billed - self._reported
        self._reported = snapshot.billed
        return max(0.0, seconds)
