"""A turn over several connections: the continuity table, and any split gives the same turns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.turns.transcript import CONTINUITY_TABLE, Continuity, Step
from tests.core.turns.conversation import NOW, Conversation, in_turn
from tests.core.world import check_order

ONE, AWAITING, CONTINUED = Continuity
WHOLE_TABLE: list[tuple[Continuity, Step, Continuity | None]] = [
    (ONE, Step.CONNECTION_LOST, AWAITING),
    (ONE, Step.TAKEN_UP, None),
    (ONE, Step.CUT_SHORT, None),
    (ONE, Step.TURN_ENDED, ONE),
    (AWAITING, Step.CONNECTION_LOST, AWAITING),
    (AWAITING, Step.TAKEN_UP, CONTINUED),
    (AWAITING, Step.CUT_SHORT, None),
    (AWAITING, Step.TURN_ENDED, ONE),
    (CONTINUED, Step.CONNECTION_LOST, AWAITING),
    (CONTINUED, Step.TAKEN_UP, None),
    (CONTINUED, Step.CUT_SHORT, AWAITING),
    (CONTINUED, Step.TURN_ENDED, ONE),
]


def open_turn_in(continuity: Continuity) -> Conversation:
    """A turn with text is open, and made of such connections."""
    conversation = in_turn(text="one two")
    if continuity is not ONE:
        conversation.connection_lost()
    if continuity is CONTINUED:
        conversation.shown(TurnStart())
    return conversation


def take(step: Step, conversation: Conversation) -> None:
    """Let happen what a step is named after."""
    match step:
        case Step.CONNECTION_LOST:
            conversation.connection_lost()
        case Step.TAKEN_UP:
            conversation.shown(TurnStart(), is_replaying=True)
        case Step.CUT_SHORT:
            conversation.shown(TurnEnd("one"), is_replaying=True)
        case Step.TURN_ENDED:
            conversation.shown(TurnEnd("one two"))


class TestContinuity:
    def test_every_state_and_every_step_is_written_down_here(self) -> None:
        assert [(before, step) for before, step, _ in WHOLE_TABLE] == list(
            product(Continuity, Step)
        )

    @pytest.mark.parametrize(("before", "step", "after"), WHOLE_TABLE)
    def test_the_whole_table(
        self, before: Continuity, step: Step, after: Continuity | None
    ) -> None:
        assert CONTINUITY_TABLE[before].get(step) is after

    @pytest.mark.parametrize(
        ("before", "step", "after"),
        [row for row in WHOLE_TABLE if row[2] is not None],
    )
    def test_every_allowed_step_is_reached_and_logged(
        self, before: Continuity, step: Step, after: Continuity, caplog: pytest.LogCaptureFixture
    ) -> None:
        conversation = open_turn_in(before)
        caplog.set_level(logging.DEBUG)
        if step is Step.TURN_ENDED and before is AWAITING:
            conversation.end_with_known_text(NOW, None)
        else:
            take(step, conversation)
        lines = [record.getMessage() for record in caplog.records]
        assert f"turn: {before.value} -> {after.value}" in lines
        assert conversation.is_awaiting_replay is (after is AWAITING)
        assert conversation.is_open is (step is not Step.TURN_ENDED)


# --- any split gives the same turns -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """An event of the server, and how many words of the conversation it had received by then."""

    event: TurnEvent
    received: int


Turns = list[list[int]]  # of each turn, the number of words in each of its phrases


def numbered(turns: Turns) -> list[list[list[str]]]:
    """Give every word a number, so that a word that is lost or doubled shows."""
    numbers = iter(range(10_000))
    return [[[f"w{next(numbers)}" for _ in range(size)] for size in turn] for turn in turns]


def serve(turns: Turns, start: int) -> Iterator[Sent]:
    """A connection that is sent the conversation from word `start` on."""
    received, has_text = 0, False
    for turn in numbered(turns):
        text, is_eager = "", False
        for phrase in turn:
            for word in phrase:
                received += 1
                if received <= start:
                    continue
                if not text:
                    yield Sent(TurnStart(), received)
                elif is_eager:
                    yield Sent(TurnResume(), received)
                is_eager = False
                text += f" {word}" if text or has_text else word
                yield Sent(TurnUpdate(text), received)
            if text:
                yield Sent(TurnEagerEnd(text), received)
                is_eager = True
        if text:
            yield Sent(TurnEnd(text), received)
            has_text = True


def converse(turns: Turns, sizes: Sequence[int]) -> list[TurnEvent]:
    """Hold the conversation over connections of so many events each, and a last one.

    Checkpoints are added as the session adds them, by a VAD that is always right.
    """
    conversation, seen = Conversation(), list[TurnEvent]()
    ends = [sum(sum(turn) for turn in turns[: n + 1]) for n in range(len(turns))]
    start = furthest = 0
    for size in [*sizes, None]:
        for sent in list(serve(turns, start))[:size]:
            was_open = conversation.is_open
            is_replaying = sent.received < furthest
            seen += conversation.receive(sent.event, NOW, is_replaying=is_replaying)
            furthest = max(furthest, sent.received)
            if conversation.is_open and not was_open:
                conversation.add_checkpoint(sent.received - 1)
            elif isinstance(sent.event, TurnEagerEnd):
                conversation.add_checkpoint(sent.received)
            elif was_open and not conversation.is_open:
                start = sent.received
        checkpoint = conversation.checkpoint
        conversation.connection_lost()
        if checkpoint is not None:
            start = checkpoint.position
            if checkpoint.text and start in ends:
                # The turn's text was complete before the pause, which is the one after the turn.
                seen += conversation.end_with_known_text(NOW, None)
    return seen


conversations: st.SearchStrategy[Turns] = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4
)


def texts(events: Sequence[TurnEvent]) -> list[str]:
    return [event.transcript for event in events if isinstance(event, TurnEnd)]


@settings(max_examples=200)
@given(conversations, st.data())
def test_any_split_into_two_connections_gives_the_same_turns(
    turns: Turns, data: st.DataObject
) -> None:
    whole = converse(turns, [])
    split = data.draw(st.integers(0, len(list(serve(turns, 0)))))
    merged = converse(turns, [split])
    check_order(merged)
    assert texts(merged) == texts(whole)


@settings(max_examples=200)
@given(conversations, st.lists(st.integers(0, 12), max_size=8))
def test_any_split_into_many_connections_gives_the_same_turns(
    turns: Turns, sizes: list[int]
) -> None:
    merged = converse(turns, sizes)
    check_order(merged)
    assert texts(merged) == texts(converse(turns, []))
