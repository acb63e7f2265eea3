"""The turn table: three states × five events → state.

The table is neutral: the client checks with it what a server sends and what the application
receives, the local server checks what it is about to send.

From https://docs.cartesia.ai/use-the-api/stt/turns/turns:

    Idle ──turn.start──▶ Speaking ──turn.update──▶ Speaking
    Speaking ──turn.eager_end──▶ EagerEnded ──turn.resume──▶ Speaking
    Speaking, EagerEnded ──turn.end──▶ Idle

Several eager_end/resume pairs in one turn are normal, and so is a turn that ends without any. An
update or a second eager_end while EagerEnded is not in the diagram but seen by some clients; it
changes no state.
"""

from __future__ import annotations

from enum import Enum

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.log import Log


class TurnState(Enum):
    """Whether the user is in a turn."""

    IDLE = "idle"
    SPEAKING = "speaking"
    EAGER_ENDED = "eager_ended"


TABLE: dict[TurnState, dict[type[TurnEvent], TurnState]] = {
    TurnState.IDLE: {
        TurnStart: TurnState.SPEAKING,
    },
    TurnState.SPEAKING: {
        TurnUpdate: TurnState.SPEAKING,
        TurnEagerEnd: TurnState.EAGER_ENDED,
        TurnEnd: TurnState.IDLE,
    },
    TurnState.EAGER_ENDED: {
        TurnUpdate: TurnState.EAGER_ENDED,
        TurnEagerEnd: TurnState.EAGER_ENDED,
        TurnResume: TurnState.SPEAKING,
        TurnEnd: TurnState.IDLE,
    },
}


class TurnMachine:
    """A position in the turn table.

    Attributes:
        name: Whose turn events they are.
        state: The current state; `advance` and `become` are the only ways to change it.
    """

    __slots__ = ("_log", "name", "state")

    def __init__(self, name: str = "turn", log: Log | None = None) -> None:
        """Start idle.

        Args:
            name: Whose turn events they are, for the log.
            log: Where transitions are logged; None logs none.
        """
        self.name = name
        self._log = log
        self.state = TurnState.IDLE

    def become(self, state: TurnState) -> None:
        """Be in a state, whatever came before."""
        if state is not self.state:
            if self._log is not None:
                self._log.debug("%s: %s -> %s", self.name, self.state.value, state.value)
            self.state = state

    def allows(self, event: type[TurnEvent]) -> bool:
        """Tell whether the event may come now."""
        return event in TABLE[self.state]

    def advance(self, event: type[TurnEvent]) -> TurnState:
        """Take one step.

        Raises:
            TurnOrderError: The event may not come in this state; the state is unchanged.
        """
        try:
            self.become(TABLE[self.state][event])
        except KeyError:
            raise TurnOrderError(f"{event.type} while {self.state.value}") from None
        return self.state
