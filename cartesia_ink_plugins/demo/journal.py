"""What happened in a call, in order, on one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum


class Happening(Enum):
    """What can happen in a call."""

    CALLER_SPEAKS = "the caller begins a line"
    CALLER_SPOKE = "the caller has said a line"
    TURN_START = "turn.start"
    TURN_UPDATE = "turn.update"
    TURN_EAGER_END = "turn.eager_end"
    TURN_RESUME = "turn.resume"
    TURN_END = "turn.end"
    REPLY_BEGUN = "a reply is begun"
    REPLY_READY = "a reply is ready"
    SYNTHESIS = "a sentence is given to the voice"
    BOT_SPEAKS = "the bot is heard"
    BOT_SILENT = "the bot is quiet"
    BOT_SAID = "the bot has said a reply"
    BOT_INTERRUPTED = "the bot was interrupted in a reply"
    BOOKED = "the table is booked"


@dataclass(frozen=True, slots=True)
class Note:
    """One happening.

    Attributes:
        at: Seconds since the call began.
        what: The happening.
        text: The words in question, verbatim.
    """

    at: float
    what: Happening
    text: str = ""


class Journal:
    """Takes notes, and tells whoever watches."""

    def __init__(
        self, clock: Callable[[], float], watch: Callable[[Note], None] | None = None
    ) -> None:
        """Begin an empty journal.

        Args:
            clock: Seconds since the call began.
            watch: Called with every note as it is taken.
        """
        self._clock = clock
        self._watch = watch
        self.notes: list[Note] = []

    def note(self, what: Happening, text: str = "", *, at: float | None = None) -> None:
        """Write down that something happens now, or happened at a moment that is known better."""
        note = Note(self._clock() if at is None else at, what, text)
        self.notes.append(note)
        if self._watch is not None:
            self._watch(note)

    def of(self, *kinds: Happening) -> Iterator[Note]:
        """The notes of some kinds, in order of time."""
        return (note for note in sorted(self.notes, key=_at) if note.what in kinds)


def _at(note: Note) -> float:
    return note.at
