"""The turn table, all of it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.errors import InkError, TurnOrderError
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turn_table import TABLE, TurnMachine, TurnState

IDLE, SPEAKING, EAGER = TurnState.IDLE, TurnState.SPEAKING, TurnState.EAGER_ENDED
KINDS: list[type[TurnEvent]] = [TurnStart, TurnUpdate, TurnEagerEnd, TurnResume, TurnEnd]

# https://docs.cartesia.ai/use-the-api/stt/turns/turns; (*) is only seen by some clients.
WHOLE_TABLE: list[tuple[TurnState, type[TurnEvent], TurnState | None]] = [
    (IDLE, TurnStart, SPEAKING),
    (IDLE, TurnUpdate, None),
    (IDLE, TurnEagerEnd, None),
    (IDLE, TurnResume, None),
    (IDLE, TurnEnd, None),
    (SPEAKING, TurnStart, None),
    (SPEAKING, TurnUpdate, SPEAKING),
    (SPEAKING, TurnEagerEnd, EAGER),
    (SPEAKING, TurnResume, None),
    (SPEAKING, TurnEnd, IDLE),
    (EAGER, TurnStart, None),
    (EAGER, TurnUpdate, EAGER),  # *
    (EAGER, TurnEagerEnd, EAGER),  # *
    (EAGER, TurnResume, SPEAKING),
    (EAGER, TurnEnd, IDLE),
]
WAY_TO: dict[TurnState, list[type[TurnEvent]]] = {
    IDLE: [],
    SPEAKING: [TurnStart],
    EAGER: [TurnStart, TurnEagerEnd],
}


def machine_in(state: TurnState) -> TurnMachine:
    machine = TurnMachine()
    for kind in WAY_TO[state]:
        machine.advance(kind)
    assert machine.state is state
    return machine


def test_every_state_and_every_event_is_written_down_here() -> None:
    assert {(state, kind) for state, kind, _ in WHOLE_TABLE} == {
        (state, kind) for state in TurnState for kind in KINDS
    }
    assert set(TABLE) == set(TurnState)


@pytest.mark.parametrize(("state", "kind", "after"), WHOLE_TABLE)
def test_the_whole_table(state: TurnState, kind: type[TurnEvent], after: TurnState | None) -> None:
    machine = machine_in(state)
    assert machine.allows(kind) is (after is not None)
    if after is None:
        with pytest.raises(TurnOrderError, match=f"{kind.type} while {state.value}"):
            machine.advance(kind)
        assert machine.state is state
    else:
        assert machine.advance(kind) is after
        assert machine.state is after


@given(st.lists(st.sampled_from(KINDS), max_size=40))
def test_starts_and_ends_alternate_whatever_is_tried(kinds: list[type[TurnEvent]]) -> None:
    machine = TurnMachine()
    taken = []
    for kind in kinds:
        if machine.allows(kind):
            machine.advance(kind)
            taken.append(kind)
        else:
            with pytest.raises(TurnOrderError):
                machine.advance(kind)
    edges = [kind for kind in taken if kind in (TurnStart, TurnEnd)]
    assert edges == [TurnStart, TurnEnd] * (len(edges) // 2) + [TurnStart] * (len(edges) % 2)
    assert (machine.state is IDLE) is (len(edges) % 2 == 0)


def test_a_step_that_is_not_allowed_is_an_error_of_this_package() -> None:
    with pytest.raises(InkError):
        TurnMachine().advance(TurnEnd)


def test_every_transition_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    machine = TurnMachine("turn 1", logging.getLogger("test"))
    for kind in (TurnStart, TurnUpdate, TurnEagerEnd, TurnEnd):
        machine.advance(kind)
    assert [record.getMessage() for record in caplog.records] == [
        "turn 1: idle -> speaking",
        "turn 1: speaking -> eager_ended",
        "turn 1: eager_ended -> idle",
    ]
