"""The conversation: one orderly run of turns, made of what several connections said.

A connection may die in the middle of a turn. Its audio is replayed on another one, from a
*checkpoint*, where text and audio are known to agree, and the same turn goes on: its text is the
checkpoint's text followed by the new connection's. The application sees no second start, no
shrinking text, no text twice, and one end.

The stream of events this makes is stricter than the wire: starts and ends alternate, and whatever
else comes, comes between them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turns import TurnMachine, TurnState

logger = logging.getLogger(__name__)

_NO_SPACE_BEFORE = ".,;:!?)]}'\""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where text and audio agree: `text` covers all speech of the turn before `position`."""

    position: int
    text: str


def join(before: str, after: str) -> str:
    """Join text across a seam between two connections.

    The service puts a space between pieces itself, except at the beginning of a connection, so only
    there one is missing. Everything else is verbatim
    (https://docs.cartesia.ai/use-the-api/stt/best-practices).
    """
    if not before or before[-1].isspace():
        return before + after
    return before + with_space(after)


def with_space(text: str) -> str:
    """Text as it would stand after other text."""
    if not text or text[0].isspace() or text[0] in _NO_SPACE_BEFORE:
        return text
    return f" {text}"


def join_overlapping(before: str, after: str) -> str:
    """Join two texts of which the second may begin with words that end the first."""
    more = after.split()
    known, new = [_plain(word) for word in before.split()], [_plain(word) for word in more]
    if any(known[at : at + len(new)] == new for at in range(len(known))):
        return before
    for size in range(min(len(known), len(new)), 0, -1):
        if known[-size:] == new[:size]:
            rest = after
            for word in more[:size]:
                rest = rest[rest.index(word) + len(word) :]
            return before + rest
    return join(before, after)


def _plain(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold() or word


class Conversation:
    """Turns wire messages of successive connections into the application's turn events."""

    def __init__(self) -> None:
        """Begin before the first word."""
        self.turn = 0
        self.is_open = False
        self.irregular: dict[str, int] = {}
        self.checkpoints: list[Checkpoint] = []
        self._wire = TurnMachine("wire")
        self._eager = False
        self._carried = False
        self._replayed = False
        self._overlaps = False
        self._base = ""
        self._shown = ""
        self._heard = ""
        self._last_wire_text = ""
        self._spoken_before = False
        self._fresh = False
        self._spaced = True
        self._wire_turns = 0
        self._said: tuple[str | None, Timing | None] = None, None
        """By which connection, and when, what is told now was said."""

    @property
    def is_carried(self) -> bool:
        """Whether a turn is open whose connection died and which no other one took up yet."""
        return self._carried

    @property
    def is_eager(self) -> bool:
        """Whether the application was told of an eager end that still holds."""
        return self._eager

    @property
    def text(self) -> str:
        """The open turn's text as the application knows it."""
        return self._shown

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where a replay of the open turn begins."""
        return self.checkpoints[-1] if self.checkpoints else None

    def reconnected(self, *, keep_known: bool = False, overlaps: bool = False) -> None:
        """A connection was lost: what comes next is said by another one.

        Args:
            keep_known: The checkpoint's audio is no longer held: go on from the known text instead.
            overlaps: With `keep_known`: the replay begins in audio whose words are known already.
        """
        self._wire.state = TurnState.IDLE
        self._wire_turns = 0
        self._last_wire_text = ""
        self._fresh = True
        if self.is_open:
            self._carry(self._shown if keep_known else self._checkpoint_text(), overlaps=overlaps)

    def receive(self, event: TurnEvent, timing: Timing, *, replaying: bool) -> list[TurnEvent]:
        """Take one turn event from the wire.

        Args:
            event: As decoded.
            timing: Position and speech times; the turn's number is filled in here.
            replaying: The connection has not yet been sent all that its predecessor was.

        Returns:
            What the application is to see, in order; often just the event.
        """
        if not self._admit(event):
            return []
        self._said = event.request_id, self._stamp(timing)
        events: list[TurnEvent] = []
        match event:
            case TurnStart():
                self._wire_turns += 1
                if self._carried:
                    self._carried = False
                else:
                    events.append(self._start())
            case TurnUpdate():
                events += self._update(self._compose(event.transcript))
            case TurnEagerEnd():
                events += self._eager_end(self._compose(event.transcript))
            case TurnResume():
                events += self._resume()
            case TurnEnd():
                events += self._end(self._compose(event.transcript), replaying=replaying)
        return events

    def end_with_known_text(self, timing: Timing) -> list[TurnEvent]:
        """End the open turn with what is known, because nobody will say more."""
        if not self.is_open:
            return []
        end = TurnEnd(self._shown, timing=self._stamp(timing))
        self._close(self._shown)
        return [end]

    def add_checkpoint(self, position: int) -> None:
        """The text this connection has said covers all speech before a position."""
        if self.is_open and not self._carried:
            self.checkpoints.append(Checkpoint(position, self._heard))

    def revoke_checkpoint(self) -> None:
        """The last checkpoint was not one; the one before it, if there is one, holds again."""
        if len(self.checkpoints) > 1:
            self.checkpoints.pop()

    def _stamp(self, timing: Timing) -> Timing:
        """The time with the number of the turn that is open, or begins with what is told now."""
        turn = self.turn if self.is_open else self.turn + 1
        return Timing(turn, timing.position, timing.speech_start, timing.speech_end)

    def _admit(self, event: TurnEvent) -> bool:
        """Check the order of the wire; heal what can be healed, count what is irregular."""
        kind = type(event)
        if self._wire.state is TurnState.IDLE and not isinstance(event, TurnStart):
            text = getattr(event, "transcript", "")
            if not text.strip() or self._last_wire_text.startswith(text):
                self.count(f"{event.type} in no turn")
                return False
            self.count(f"{event.type} without turn.start")
            self._wire.advance(TurnStart)
            self._wire_turns += 1
        try:
            self._wire.advance(kind)
        except TurnOrderError as error:
            self.count(str(error))
            return False
        return True

    def count(self, what: str) -> None:
        """Count something the server should not have sent; log it the first time."""
        if what not in self.irregular:
            logger.info("irregular: %s", what)
        self.irregular[what] = self.irregular.get(what, 0) + 1

    def _compose(self, transcript: str) -> str:
        """The turn's whole text, from what this connection says of it."""
        self._last_wire_text = transcript
        self._heard = self._place(transcript)
        return self._heard

    def _place(self, transcript: str) -> str:
        first = self._fresh and self._wire_turns == 1
        if self._wire_turns > 1 and transcript:
            self._spaced = transcript[0].isspace()
        if self._base:
            if self._overlaps:
                return join_overlapping(self._base, transcript)
            return join(self._base, transcript)
        if first and self._spoken_before and self._spaced:
            return with_space(transcript)
        return transcript

    def _checkpoint_text(self) -> str:
        return self.checkpoints[-1].text if self.checkpoints else ""

    def _carry(self, base: str, *, overlaps: bool) -> None:
        """Keep the turn open until another turn of the wire takes it up."""
        self._carried = self._replayed = True
        self._overlaps = overlaps
        self._base = base

    def _start(self) -> TurnStart:
        self.turn += 1
        self.is_open = True
        return TurnStart(*self._said)

    def _opening(self) -> list[TurnEvent]:
        """The start of a turn that the wire forgot to announce."""
        if self._carried:
            self._carried = False
        return [] if self.is_open else [self._start()]

    def _update(self, text: str) -> list[TurnEvent]:
        events = self._opening()
        if len(text) < len(self._shown) and not self._replayed:
            self.count("turn.update that takes words back")
            return events
        if text == self._shown or (self._replayed and len(text) <= len(self._shown)):
            return events
        if self._eager and self._replayed:
            events += self._resume()
        self._shown = text
        return [*events, TurnUpdate(text, *self._said)]

    def _eager_end(self, text: str) -> list[TurnEvent]:
        events = self._opening()
        if self._replayed and len(text) < len(self._shown):
            return events
        if self._replayed and self._eager:
            if text == self._shown:
                return events
            events += self._resume()
        self._shown = text
        self._eager = True
        return [*events, TurnEagerEnd(text, *self._said)]

    def _resume(self) -> list[TurnEvent]:
        if not self._eager:
            return []
        self._eager = False
        return [TurnResume(*self._said)]

    def _end(self, text: str, *, replaying: bool) -> list[TurnEvent]:
        events = self._opening()
        if self._replayed and len(text) < len(self._shown) and self._shown.startswith(text):
            if replaying:
                # The new connection cut the turn earlier than its predecessor had heard.
                self._carry(text, overlaps=False)
                return events
            text = self._shown
        elif not text.strip():
            # Text is append-only: an empty end does not take words back.
            text = self._shown or text
        self._close(text)
        return [*events, TurnEnd(text, *self._said)]

    def _close(self, text: str) -> None:
        self.is_open = self._eager = self._carried = self._replayed = self._overlaps = False
        self._base = self._shown = self._heard = ""
        self._spoken_before = self._spoken_before or bool(text.strip())
        self.checkpoints.clear()
