"""The events of a call, in order, on one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum


class CallEvent(Enum):
    """An event of a call."""

    CALLER_SPEAKS = "the caller begins a line"
    CALLER_SPOKE = "the caller has finished a line"
    TURN_START = "turn.start"
    TURN_UPDATE = "turn.update"
    TURN_EAGER_END = "turn.eager_end"
    TURN_RESUME = "turn.resume"
    TURN_END = "turn.end"
    REPLY_BEGUN = "a reply is begun"
    REPLY_READY = "a reply is ready"
    SYNTHESIS = "a sentence is synthesized"
    BOT_SPEAKS = "the bot is audible"
    BOT_SILENT = "the bot is silent"
    BOT_FINISHED = "the bot has finished a reply"
    BOT_INTERRUPTED = "the bot was interrupted in a reply"
    BOOKED = "the table is booked"


@dataclass(frozen=True, slots=True)
class Note:
    """One entry of the journal.

    Attributes:
        at: Seconds since the call began.
        what: The event.
        text: Its text, verbatim.
    """

    at: float
    what: CallEvent
    text: str = ""


class Journal:
    """Keeps the events of a call and reports each to a callback."""

    def __init__(
        self, clock: Callable[[], float], watch: Callable[[Note], None] | None = None
    ) -> None:
        """Create an empty journal.

        Args:
            clock: Returns seconds since the call began.
            watch: Called with every note.
        """
        self._clock = clock
        self._watch = watch
        self.notes: list[Note] = []

    def note(self, what: CallEvent, text: str = "", *, at: float | None = None) -> None:
        """Add an event, now or at a known time."""
        note = Note(self._clock() if at is None else at, what, text)
        self.notes.append(note)
        if self._watch is not None:
            self._watch(note)

    def of(self, *kinds: CallEvent) -> Iterator[Note]:
        """Return the notes of some kinds, by time."""
        return (note for note in sorted(self.notes, key=_at) if note.what in kinds)


def _at(note: Note) -> float:
    return note.at
