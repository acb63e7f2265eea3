"""A transcript of turns that a test sends the events of a server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.stats import Violations
from cartesia_ink_plugins.core.turns.transcript import TurnTranscript

LOG = logging.getLogger("test")
NOW = Timing(turn=0, position=0.0)


class Conversation(TurnTranscript):
    """A transcript that is sent events, and its violations."""

    def __init__(self) -> None:
        self.violations = Violations()
        super().__init__(LOG, self._count)

    def _count(self, kind: str) -> None:
        self.violations.count(kind)

    def shown(self, *events: TurnEvent, is_replaying: bool = False) -> list[TurnEvent]:
        """Let the server send events; return what the application receives, without times."""
        seen: list[TurnEvent] = []
        for event in events:
            seen += self.receive(event, NOW, is_replaying=is_replaying)
        return without_times(seen)


def without_times(events: Sequence[TurnEvent]) -> list[TurnEvent]:
    return [replace(event, timing=None) for event in events]


def in_turn(*, text: str = "", checkpoint: str | None = None) -> Conversation:
    """The first turn is open, with text, perhaps with a pause before some of it."""
    conversation = Conversation()
    conversation.shown(TurnStart())
    conversation.add_checkpoint(0)
    if checkpoint is not None:
        conversation.shown(TurnEagerEnd(checkpoint))
        conversation.add_checkpoint(100)
        conversation.shown(TurnResume())
    if text:
        conversation.shown(TurnUpdate(text))
    return conversation
