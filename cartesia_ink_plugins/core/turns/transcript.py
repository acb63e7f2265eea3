"""The turn transcript: one orderly run of turns, made of what several connections sent.

A connection may be lost in the middle of a turn. Its audio is replayed on another one, from a
*checkpoint*, where text and audio are known to agree, and the same turn goes on: its text is the
checkpoint's text followed by the new connection's. The application sees no second start, no
shrinking text, no text twice, and one end.

Two turn tables are at work: one checks what the server sends on the present connection, one is what
the application has been told. `Continuity` says which connections the open turn is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import (
    TextEvent,
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.log import Log
from cartesia_ink_plugins.core.text import Seam, join_at, with_space
from cartesia_ink_plugins.core.turn_table import TurnMachine, TurnState
from cartesia_ink_plugins.core.turns.alignment import Overlap, Repeat, extended, is_behind, rest_of

_MAX_REPEAT = 400  # characters of former turns that a replay may repeat: some 20 s of speech


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where text and audio agree: `text` covers all speech of the turn before `position`."""

    position: int
    text: str


class Continuity(Enum):
    """Which connections the open turn is made of."""

    ONE_CONNECTION = "one connection"
    AWAITING_REPLAY = "awaiting replay"
    CONTINUED = "continued"


class Step(Enum):
    """What changes the continuity."""

    CONNECTION_LOST = "connection lost"
    TAKEN_UP = "taken up"  # the new connection announced a turn
    CUT_SHORT = "cut short"  # the new connection ended the turn before all of it was replayed
    TURN_ENDED = "turn ended"


CONTINUITY_TABLE: dict[Continuity, dict[Step, Continuity]] = {
    Continuity.ONE_CONNECTION: {
        Step.CONNECTION_LOST: Continuity.AWAITING_REPLAY,
        Step.TURN_ENDED: Continuity.ONE_CONNECTION,
    },
    Continuity.AWAITING_REPLAY: {
        Step.CONNECTION_LOST: Continuity.AWAITING_REPLAY,
        Step.TAKEN_UP: Continuity.CONTINUED,
        Step.TURN_ENDED: Continuity.ONE_CONNECTION,
    },
    Continuity.CONTINUED: {
        Step.CONNECTION_LOST: Continuity.AWAITING_REPLAY,
        Step.CUT_SHORT: Continuity.AWAITING_REPLAY,
        Step.TURN_ENDED: Continuity.ONE_CONNECTION,
    },
}


class TurnTranscript:
    """Turns the server's turn events into those of the application.

    Attributes:
        turn: Number of the turn that is open or was the last, from 1; 0 before the first.
        checkpoints: Of the open turn, in order; a replay begins at the last.
    """

    def __init__(self, log: Log, count_violation: Callable[[str], None]) -> None:
        """Begin before the first turn.

        Args:
            log: Where transitions are logged.
            count_violation: Called with the kind of a message that breaks the order of events.
        """
        self.turn = 0
        self.checkpoints: list[Checkpoint] = []
        self._log = log
        self._count_violation = count_violation
        self._server = TurnMachine("server's turn", log)
        self._application = TurnMachine("application's turn", log)
        self._continuity = Continuity.ONE_CONNECTION
        # The open turn: text of former connections, how the present one joins it, and the results.
        self._base = ""
        self._seam = Seam.NONE
        self._overlap: Overlap | None = None  # of a short replay
        self._repeat = Repeat("")  # of turns that are over
        self._former_text = ""  # of turns that are over; its end
        self.overlap_is_pending = False
        """Whether the present connection has sent text of a short replay that joins nothing yet."""
        self.needs_longer_replay = False
        """Whether a short replay did not repeat the known text."""
        self._server_text = ""  # as the present connection has it, with the base
        self._text = ""  # as the application has it
        # The present connection, and how text is spaced at its beginning.
        self._is_first_connection = True
        self._connection_has_text = False  # of a turn that is over
        self._last_message_text = ""
        self._follows_text = False
        self._server_spaces_turns = True

    @property
    def is_open(self) -> bool:
        """Whether the application is in a turn."""
        return self._application.state is not TurnState.IDLE

    @property
    def turn_of_next(self) -> int:
        """Number of the turn that the next event belongs to: the open one, or a new one."""
        return self.turn if self.is_open else self.turn + 1

    @property
    def reached(self) -> tuple[int, bool, int]:
        """What the application was told; it only ever grows: turn, whether it ended, characters."""
        return self.turn, not self.is_open, len(self._text)

    @property
    def is_awaiting_replay(self) -> bool:
        """Whether a turn is open whose connection was lost and that no other one took up yet."""
        return self._continuity is Continuity.AWAITING_REPLAY

    @property
    def is_eager(self) -> bool:
        """Whether the application was told of an eager end that is still valid."""
        return self._application.state is TurnState.EAGER_ENDED

    @property
    def text(self) -> str:
        """The open turn's text as the application has it."""
        return self._text

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where a replay of the open turn begins."""
        return self.checkpoints[-1] if self.checkpoints else None

    def connection_lost(self) -> None:
        """What follows comes from another connection, which is sent audio from the checkpoint."""
        self._server.become(TurnState.IDLE)
        self._is_first_connection = False
        self._connection_has_text, self._last_message_text = False, ""
        self._overlap, self._repeat = None, Repeat("")
        self.overlap_is_pending = self.needs_longer_replay = False
        if self.is_open:
            base = self.checkpoint.text if self.checkpoint else ""
            self._await_replay(Step.CONNECTION_LOST, base, Seam.NEW_CONNECTION)

    def expect_overlap(self, overlap: Overlap) -> None:
        """The next connection is sent only the last seconds, and repeats known text."""
        self._overlap = overlap

    @property
    def is_repeating(self) -> bool:
        """Whether the server is in a turn all of whose text so far may be known."""
        return self._repeat.is_pending

    def expect_repeat(self, *, of_open_turn: bool = False) -> None:
        """What follows may repeat text of turns that are over, before it goes on.

        Args:
            of_open_turn: Whether the open turn is about to end with the known text.
        """
        self._repeat = Repeat(self._former_text + (self._text if of_open_turn else ""))

    def expect_no_repeat(self) -> None:
        """What follows is new, unless the server is in the middle of a turn."""
        if not self._repeat.is_pending:
            self._repeat = Repeat("")

    def keep_known_text(self, *, overlaps: bool) -> None:
        """The checkpoint's audio is no longer held: the replay continues the known text.

        Args:
            overlaps: Whether the replay begins in audio whose words are known already.
        """
        if self.is_open:
            seam = Seam.OVERLAP if overlaps else Seam.NEW_CONNECTION
            self._await_replay(Step.CONNECTION_LOST, self._text, seam)

    def receive(self, event: TurnEvent, timing: Timing, *, is_replaying: bool) -> list[TurnEvent]:
        """Take one turn event of the server.

        Args:
            event: As decoded.
            timing: Of the event, with the number of `turn_of_next`.
            is_replaying: The event may still be about audio that another connection was sent.

        Returns:
            What the application receives, in order; often just the event.
        """
        if not self._is_in_order(event):
            return []
        events: list[TurnEvent] = []
        for new in self._repeat.new(event):
            events += self._receive(new, timing, is_replaying=is_replaying)
        if isinstance(event, TurnEnd) and event.transcript.strip():
            self._connection_has_text = True
        return events

    def _receive(self, event: TurnEvent, timing: Timing, *, is_replaying: bool) -> list[TurnEvent]:
        match event:
            case TurnStart():
                return self._start(event, timing)
            case TurnResume():
                return self._resume(event, timing)
        if (text := self._composed(event)) is None:
            return []
        match event:
            case TurnUpdate():
                return self._update(event, text, timing)
            case TurnEagerEnd():
                return self._eager_end(event, text, timing)
            case TurnEnd():
                return self._end(event, text, timing, is_replaying=is_replaying)

    def end_with_known_text(self, timing: Timing, request_id: str | None) -> list[TurnEvent]:
        """End the open turn with the text that is known, because no more will follow."""
        if not self.is_open:
            return []
        end = TurnEnd(self._text, request_id=request_id, timing=timing)
        self._close(self._text)
        return [end]

    def add_onset(self, position: int) -> None:
        """The turn that just began has no text before a position, whatever it began with."""
        self.checkpoints.append(Checkpoint(position, ""))

    def add_checkpoint(self, position: int) -> None:
        """The text of the present connection covers all speech before a position."""
        if self.is_open and not self.is_awaiting_replay and not self._is_in_overlap():
            self.checkpoints.append(Checkpoint(position, self._server_text))

    def revoke_checkpoint(self) -> None:
        """The last checkpoint was wrong; the one before it, if there is one, is valid again."""
        if len(self.checkpoints) > 1:
            self.checkpoints.pop()

    # --- what the server sends ----------------------------------------------------------------

    def _is_in_order(self, event: TurnEvent) -> bool:
        """Check the order of the server's events; repair what can be, count every violation."""
        if self._server.state is TurnState.IDLE and not isinstance(event, TurnStart):
            text = getattr(event, "transcript", "")
            if not text.strip() or self._last_message_text.startswith(text):
                self._count_violation(f"{event.type} in no turn")
                return False
            self._count_violation(f"{event.type} without turn.start")
            self._server.advance(TurnStart)
        try:
            self._server.advance(type(event))
        except TurnOrderError as error:
            self._count_violation(str(error))
            return False
        return True

    def _composed(self, event: TextEvent) -> str | None:
        """The turn's whole text; None while a short replay has not repeated the known text."""
        self._last_message_text = event.transcript
        if self._overlap is None:
            self._server_text = self._joined(event.transcript)
            return self._server_text
        text = self._overlap.join(event.transcript)
        self.overlap_is_pending = text is None
        if text is None:
            is_end = isinstance(event, TurnEnd)
            self.needs_longer_replay = is_end or self._overlap.is_missing(event.transcript)
            return None
        self._server_text = text
        return text

    def _joined(self, transcript: str) -> str:
        """The text of the present connection behind that of the former ones."""
        if self._connection_has_text and transcript:
            self._server_spaces_turns = transcript[0].isspace()
        if self._base:
            return join_at(self._seam, self._base, transcript)
        is_begun = self._is_first_connection or self._connection_has_text
        is_spaced = not is_begun and self._follows_text and self._server_spaces_turns
        return with_space(transcript) if is_spaced else transcript

    # --- what the application receives --------------------------------------------------------

    def _is_in_overlap(self) -> bool:
        """Whether the present connection has only repeated known text, which tells no position."""
        return self._seam is Seam.OVERLAP and self._server_text == self._base

    def _start(self, event: TurnStart, timing: Timing) -> list[TurnEvent]:
        if self.is_awaiting_replay:
            self._step(Step.TAKEN_UP)
            return []
        self.turn += 1
        self._application.advance(TurnStart)
        return [replace(event, timing=timing)]

    def _missing_start(self, event: TextEvent, timing: Timing) -> list[TurnEvent]:
        """The start of a turn that the server did not announce."""
        if self.is_awaiting_replay:
            self._step(Step.TAKEN_UP)
        if self.is_open:
            return []
        self.turn += 1
        self._application.advance(TurnStart)
        return [TurnStart(request_id=event.request_id, timing=timing)]

    def _update(self, event: TurnUpdate, text: str, timing: Timing) -> list[TurnEvent]:
        events = self._missing_start(event, timing)
        is_continued = self._continuity is Continuity.CONTINUED
        if is_continued:
            text = extended(self._text, text)
        elif len(text) < len(self._text):
            self._count_violation("turn.update that removes text")
            return events
        if text == self._text:
            return events
        if is_continued:
            events += self._withdraw_eager_end(event, timing)
        self._text = text
        return [*events, replace(event, transcript=text, timing=timing)]

    def _eager_end(self, event: TurnEagerEnd, text: str, timing: Timing) -> list[TurnEvent]:
        events = self._missing_start(event, timing)
        if self._continuity is Continuity.CONTINUED:
            if is_behind(text, self._text) or self._is_in_overlap():
                return events
            text = extended(self._text, text)
            if self.is_eager and text == self._text:
                return events
            events += self._withdraw_eager_end(event, timing)
        self._text = text
        self._application.advance(TurnEagerEnd)
        return [*events, replace(event, transcript=text, timing=timing)]

    def _resume(self, event: TurnResume, timing: Timing) -> list[TurnEvent]:
        if not self.is_eager:
            return []
        self._application.advance(TurnResume)
        return [replace(event, timing=timing)]

    def _withdraw_eager_end(self, event: TextEvent, timing: Timing) -> list[TurnEvent]:
        """Resume, when the new connection goes on behind an eager end of the former one."""
        return self._resume(TurnResume(request_id=event.request_id), timing)

    def _end(
        self, event: TurnEnd, text: str, timing: Timing, *, is_replaying: bool
    ) -> list[TurnEvent]:
        events = self._missing_start(event, timing)
        if self._continuity is Continuity.CONTINUED:
            if is_behind(text, self._text):
                # The new connection ended the turn before the point its predecessor had reached.
                if is_replaying:
                    self._await_replay(Step.CUT_SHORT, text, Seam.NEW_CONNECTION)
                    return events
                # Long after the replay it most likely recognized less. If not, the rest follows.
                self._repeat = Repeat(rest_of(self._text, text))
            text = extended(self._text, text)
        elif not text.strip():
            # Text is append-only: an empty end removes nothing.
            text = self._text or text
        self._close(text)
        return [*events, replace(event, transcript=text, timing=timing)]

    # --- state --------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        after = CONTINUITY_TABLE[self._continuity][step]
        self._log.debug("turn: %s -> %s", self._continuity.value, after.value)
        self._continuity = after

    def _await_replay(self, step: Step, base: str, seam: Seam) -> None:
        """Keep the turn open until the next turn of the server continues it."""
        self._step(step)
        self._base, self._seam = base, seam

    def _close(self, text: str) -> None:
        self._application.advance(TurnEnd)
        self._step(Step.TURN_ENDED)
        self._base = self._text = self._server_text = ""
        self._seam, self._overlap = Seam.NONE, None
        self._follows_text = self._follows_text or bool(text.strip())
        self._former_text = (self._former_text + text)[-_MAX_REPEAT:]
        self.checkpoints.clear()
