"""Assertions about turns; their messages show the difference."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from cartesia_ink_plugins.core.errors import TurnOrderError
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turn_table import TurnMachine, TurnState


def assert_heard(texts: Iterable[str], expected: Sequence[str]) -> None:
    """Assert that each turn was transcribed once, word for word.

    Args:
        texts: The final transcripts of the bot. Spaces around a turn and empty turns are ignored,
            because frameworks treat them differently.
        expected: The expected transcripts, such as `script.transcripts`.

    Raises:
        AssertionError: With the difference, turn by turn.
    """
    wrong = difference(expected, list(texts))
    if wrong:
        raise AssertionError(f"the turns differ:\n{wrong}")


def assert_turn_order(events: Iterable[object], *, ended: bool = True) -> None:
    """Assert that turn events are in an order of the API and that no text was revised.

    Args:
        events: Events of a client or messages of a server; other than turn events are ignored.
        ended: Whether the last turn must have ended.

    Raises:
        AssertionError: With the events up to the invalid one.
    """
    machine = TurnMachine()
    told: list[str] = []
    text = ""
    for event in events:
        match event:
            case TurnStart() | TurnResume():
                told.append(event.type)
            case TurnUpdate() | TurnEagerEnd() | TurnEnd():
                told.append(f"{event.type} {event.transcript!r}")
                if not event.transcript.startswith(text):
                    raise AssertionError(_told("text was revised", told))
                text = "" if isinstance(event, TurnEnd) else event.transcript
            case _:
                continue
        try:
            machine.advance(type(event))
        except TurnOrderError as error:
            raise AssertionError(_told(str(error), told)) from None
    if ended and machine.state is not TurnState.IDLE:
        raise AssertionError(_told("the last turn has not ended", told))


def difference(expected: Sequence[str], got: Sequence[str]) -> str:
    """Return the difference of two lists of turns; empty if there is none."""
    wanted, had = ([turn.strip() for turn in turns if turn.strip()] for turns in (expected, got))
    if wanted == had:
        return ""
    lines = difflib.unified_diff(wanted, had, "said", "heard", n=2, lineterm="")
    return "\n".join(f"  {line}" for line in lines)


def _told(problem: str, told: list[str]) -> str:
    return "\n".join([f"{problem}:", *(f"  {line}" for line in told[:-1]), f"> {told[-1]}"])
