"""The connection table, all of it."""

from __future__ import annotations

import logging
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.stream.connection_state import (
    TABLE,
    ConnectionMachine,
    ConnectionState,
)

LOG = logging.getLogger("test")
IDLE, BACKOFF, CONNECTING, OPEN, CLOSED = ConnectionState

WHOLE_TABLE: list[tuple[ConnectionState, ConnectionState, bool]] = [
    (IDLE, IDLE, False),
    (IDLE, BACKOFF, False),
    (IDLE, CONNECTING, True),
    (IDLE, OPEN, False),
    (IDLE, CLOSED, True),
    (BACKOFF, IDLE, False),
    (BACKOFF, BACKOFF, False),
    (BACKOFF, CONNECTING, True),
    (BACKOFF, OPEN, False),
    (BACKOFF, CLOSED, True),
    (CONNECTING, IDLE, True),
    (CONNECTING, BACKOFF, True),
    (CONNECTING, CONNECTING, False),
    (CONNECTING, OPEN, True),
    (CONNECTING, CLOSED, True),
    (OPEN, IDLE, True),
    (OPEN, BACKOFF, True),
    (OPEN, CONNECTING, False),
    (OPEN, OPEN, False),
    (OPEN, CLOSED, True),
    (CLOSED, IDLE, False),
    (CLOSED, BACKOFF, False),
    (CLOSED, CONNECTING, False),
    (CLOSED, OPEN, False),
    (CLOSED, CLOSED, False),
]
WAY_TO: dict[ConnectionState, list[ConnectionState]] = {
    IDLE: [],
    BACKOFF: [CONNECTING, BACKOFF],
    CONNECTING: [CONNECTING],
    OPEN: [CONNECTING, OPEN],
    CLOSED: [CLOSED],
}


def machine_in(state: ConnectionState) -> ConnectionMachine:
    machine = ConnectionMachine(LOG)
    for step in WAY_TO[state]:
        machine.become(step)
    assert machine.state is state
    return machine


def test_every_pair_of_states_is_written_down_here() -> None:
    assert [(before, after) for before, after, _ in WHOLE_TABLE] == list(
        product(ConnectionState, repeat=2)
    )
    assert set(TABLE) == set(ConnectionState)


@pytest.mark.parametrize(("before", "after", "is_allowed"), WHOLE_TABLE)
def test_the_whole_table(before: ConnectionState, after: ConnectionState, is_allowed: bool) -> None:
    machine = machine_in(before)
    if is_allowed:
        machine.become(after)
        assert machine.state is after
    else:
        with pytest.raises(AssertionError, match=f"{before.value} -> {after.value}"):
            machine.become(after)
        assert machine.state is before


@given(st.lists(st.sampled_from(ConnectionState), max_size=40))
def test_open_is_only_reached_by_connecting_and_closed_is_never_left(
    steps: list[ConnectionState],
) -> None:
    machine = ConnectionMachine(LOG)
    for step in steps:
        before = machine.state
        try:
            machine.become(step)
        except AssertionError:
            assert machine.state is before
        else:
            assert before is not CLOSED
            assert step is not OPEN or before is CONNECTING


def test_every_transition_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    machine = ConnectionMachine(LOG)
    for state in (CONNECTING, OPEN, BACKOFF, CLOSED):
        machine.become(state)
    assert [record.getMessage() for record in caplog.records] == [
        "connection: idle -> connecting",
        "connection: connecting -> open",
        "connection: open -> backoff",
        "connection: backoff -> closed",
    ]
