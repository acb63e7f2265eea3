"""What happened in a session, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cartesia_ink_plugins.core.link import Link
from cartesia_ink_plugins.core.manual import ManualSession
from cartesia_ink_plugins.core.session import TurnsSession


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a session stands; all durations are seconds of audio.

    `received = sent + pending + lost` at any time: every byte is accounted for.

    Attributes:
        received: Handed in by the application.
        sent: Sent to the server at least once.
        pending: Waits to be sent.
        lost: Given up, and reported in `AudioGap` events.
        replayed: Sent once more after a connection was lost.
        silence: Silence that was made to keep the stream continuous.
        connections: Connections that were opened.
        turns: Turns that were begun.
        irregular: How often the server broke the order of events, or sent what could not be read,
            by kind.
    """

    received: float
    sent: float
    pending: float
    lost: float
    replayed: float
    silence: float
    connections: int
    turns: int
    irregular: Mapping[str, int] = field(default_factory=dict)


def snapshot(session: TurnsSession) -> Snapshot:
    """Read the numbers of a turns session."""
    conversation = session.conversation
    return _read(session.link, conversation.turn, dict(conversation.irregular))


def manual_snapshot(session: ManualSession) -> Snapshot:
    """Read the numbers of a manual session; a final counts as a turn."""
    return _read(session.link, session.dictation.segments.number - 1, dict(session.irregular))


def _read(link: Link, turns: int, irregular: Mapping[str, int]) -> Snapshot:
    accounts, seconds = link.accounts, link.format.seconds
    return Snapshot(
        received=seconds(accounts.received),
        sent=seconds(accounts.sent),
        pending=seconds(accounts.received - accounts.sent - accounts.lost),
        lost=seconds(accounts.lost),
        replayed=seconds(accounts.replayed),
        silence=seconds(accounts.silence),
        connections=accounts.connections,
        turns=turns,
        irregular=irregular,
    )
