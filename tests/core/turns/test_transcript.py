"""One orderly run of turns, made of what several connections sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.stats import Violations
from cartesia_ink_plugins.core.turns.transcript import (
    CONTINUITY_TABLE,
    Continuity,
    Step,
    TurnTranscript,
)
from tests.core.world import check_order

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


class TestOneConnection:
    def test_what_is_in_order_passes_as_it_is(self) -> None:
        wire: list[TurnEvent] = [
            TurnStart(),
            TurnUpdate("Hey"),
            TurnEagerEnd("Hey you"),
            TurnResume(),
            TurnUpdate("Hey you there"),
            TurnEagerEnd("Hey you there"),
            TurnEnd("Hey you there?"),
            TurnStart(),
            TurnEnd(" Yes."),
            TurnStart(),
            TurnEnd(""),
        ]
        assert Conversation().shown(*wire) == wire

    def test_events_carry_the_turns_number_and_the_connections_id(self) -> None:
        conversation = Conversation()
        seen = []
        for event in (TurnStart("r"), TurnEnd("a", "r"), TurnStart("r")):
            seen += conversation.receive(event, Timing(0, 1.5, 7.0), is_replaying=False)
        assert [(e.request_id, e.timing) for e in seen] == [
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(2, 1.5, 7.0)),
        ]

    def test_an_update_that_says_nothing_new_is_not_shown(self) -> None:
        conversation = in_turn(text="Hey")
        assert conversation.shown(TurnUpdate("Hey")) == []

    def test_an_update_never_shrinks(self) -> None:
        conversation = in_turn(text="Hey you")
        assert conversation.shown(TurnUpdate("Hey")) == []
        assert conversation.violations == {"turn.update that takes words back": 1}

    def test_an_empty_end_does_not_take_words_back(self) -> None:
        conversation = in_turn(text="Hey you")
        assert conversation.shown(TurnEnd("")) == [TurnEnd("Hey you")]

    def test_the_end_has_the_last_word(self) -> None:
        conversation = in_turn(text="Hey for")
        assert conversation.shown(TurnEnd("Hey four")) == [TurnEnd("Hey four")]


class TestIrregularOrders:
    """A server that breaks the order is survived and counted; the application sees none of it."""

    @pytest.mark.parametrize(
        ("wire", "seen", "irregular"),
        [
            ([TurnEnd("")], [], {"turn.end in no turn": 1}),
            ([TurnResume()], [], {"turn.resume in no turn": 1}),
            ([TurnUpdate(" ")], [], {"turn.update in no turn": 1}),
            (
                [TurnUpdate("Hey")],
                [TurnStart(), TurnUpdate("Hey")],
                {"turn.update without turn.start": 1},
            ),
            (
                [TurnEagerEnd("Hey")],
                [TurnStart(), TurnEagerEnd("Hey")],
                {"turn.eager_end without turn.start": 1},
            ),
            (
                [TurnEnd("Hey")],
                [TurnStart(), TurnEnd("Hey")],
                {"turn.end without turn.start": 1},
            ),
            (
                [TurnStart(), TurnStart(), TurnEnd("Hey")],
                [TurnStart(), TurnEnd("Hey")],
                {"turn.start while speaking": 1},
            ),
            (
                [TurnStart(), TurnResume(), TurnEnd("Hey")],
                [TurnStart(), TurnEnd("Hey")],
                {"turn.resume while speaking": 1},
            ),
            (
                [TurnStart(), TurnEnd("Hey you"), TurnUpdate("Hey")],
                [TurnStart(), TurnEnd("Hey you")],
                {"turn.update in no turn": 1},
            ),
            (
                [TurnStart(), TurnEnd("Hey"), TurnEnd("Hey")],
                [TurnStart(), TurnEnd("Hey")],
                {"turn.end in no turn": 1},
            ),
        ],
    )
    def test_what_becomes_of_it(
        self, wire: list[TurnEvent], seen: list[TurnEvent], protocol_violations: dict[str, int]
    ) -> None:
        conversation = Conversation()
        assert conversation.shown(*wire) == seen
        assert conversation.violations == protocol_violations

    def test_late_words_after_an_eager_end_are_shown_and_no_irregularity(self) -> None:
        conversation = in_turn()
        wire: list[TurnEvent] = [TurnEagerEnd("Hey"), TurnUpdate("Hey you"), TurnEnd("Hey you")]
        assert conversation.shown(*wire) == wire
        assert conversation.violations == {}

    @given(
        st.lists(
            st.one_of(
                st.just(TurnStart()),
                st.just(TurnResume()),
                st.builds(TurnUpdate, st.sampled_from(["", "a", "a b", " c"])),
                st.builds(TurnEagerEnd, st.sampled_from(["", "a", "a b"])),
                st.builds(TurnEnd, st.sampled_from(["", "a", "a b"])),
                st.none(),
            ),
            max_size=30,
        )
    )
    def test_whatever_comes_starts_and_ends_alternate(self, wire: list[TurnEvent | None]) -> None:
        conversation = Conversation()
        seen: list[TurnEvent] = []
        for event in wire:
            if event is None:
                conversation.connection_lost()
            else:
                seen += conversation.receive(event, NOW, is_replaying=False)
        seen += conversation.end_with_known_text(NOW, None)
        edges = [type(event) for event in seen if isinstance(event, TurnStart | TurnEnd)]
        assert edges == [TurnStart, TurnEnd] * (len(edges) // 2)
        eager = is_open = False
        for event in seen:
            match event:
                case TurnStart():
                    is_open, eager = True, False
                case TurnEagerEnd():
                    eager = True
                case TurnResume():
                    assert eager, "a resume without an eager end"
                    eager = False
                case TurnEnd():
                    assert is_open
                    is_open = False
            assert is_open or isinstance(event, TurnEnd), "something outside of a turn"


class TestLostConnection:
    def test_the_same_turn_goes_on_without_a_second_start(self) -> None:
        conversation = in_turn(text="I'd like a")
        conversation.connection_lost()
        assert conversation.is_awaiting_replay
        assert conversation.shown(TurnStart(), is_replaying=True) == []
        assert not conversation.is_awaiting_replay
        assert conversation.shown(TurnUpdate("I'd like a table")) == [TurnUpdate("I'd like a table")]
        assert conversation.shown(TurnEnd("I'd like a table.")) == [TurnEnd("I'd like a table.")]
        assert conversation.turn == 1

    def test_interim_text_does_not_shrink_while_it_is_said_again(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnUpdate("I'd"), TurnUpdate("I'd like a"))
        assert seen == []
        assert conversation.text == "I'd like a table"

    def test_text_before_a_pause_is_kept_and_the_rest_said_again(self) -> None:
        conversation = in_turn(checkpoint="I'd like a table", text="I'd like a table for")
        conversation.connection_lost()
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 100
        seen = conversation.shown(TurnStart(), TurnUpdate("for two"), TurnEnd("for two."))
        assert seen == [
            TurnUpdate("I'd like a table for two"),
            TurnEnd("I'd like a table for two."),
        ]

    def test_an_eager_end_that_is_said_again_is_not_shown_again(self) -> None:
        conversation = in_turn()
        conversation.shown(TurnEagerEnd("Yes."))
        conversation.connection_lost()
        assert conversation.is_eager
        assert conversation.shown(TurnStart(), TurnEagerEnd("Yes.")) == []
        assert conversation.shown(TurnEnd("Yes.")) == [TurnEnd("Yes.")]

    def test_more_words_after_an_eager_end_withdraw_it_first(self) -> None:
        conversation = in_turn()
        conversation.shown(TurnEagerEnd("Yes."))
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnUpdate("Yes. But"))
        assert seen == [TurnResume(), TurnUpdate("Yes. But")]
        seen = conversation.shown(TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no"))
        assert seen == [TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no")]

    def test_a_turn_that_the_replay_ends_too_early_goes_on(self) -> None:
        conversation = in_turn(text="I'd like a table for two")
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnEnd("I'd like a"), is_replaying=True)
        assert seen == []
        assert conversation.is_awaiting_replay
        seen = conversation.shown(TurnStart(), TurnEnd("table for two people"))
        assert seen == [TurnEnd("I'd like a table for two people")]

    def test_words_that_are_not_heard_again_are_kept(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("")) == [TurnEnd("I'd like a table")]

    def test_a_turn_that_nobody_takes_up_ends_with_the_known_text(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        assert without_times(conversation.end_with_known_text(NOW, None)) == [TurnEnd("I'd like a table")]
        assert conversation.end_with_known_text(NOW, None) == []

    def test_what_follows_a_known_end_is_another_turn(self) -> None:
        conversation = in_turn(text="Yes.")
        conversation.connection_lost()
        conversation.end_with_known_text(NOW, None)
        assert conversation.shown(TurnStart(), TurnEnd("No.")) == [TurnStart(), TurnEnd(" No.")]
        assert conversation.turn == 2

    def test_between_turns_only_the_space_before_the_next_turn_is_missing(self) -> None:
        conversation = Conversation()
        conversation.shown(TurnStart(), TurnEnd("One."), TurnStart(), TurnEnd(" Two."))
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnEnd("Three."), TurnStart(), TurnEnd(" Four."))
        assert seen == [TurnStart(), TurnEnd(" Three."), TurnStart(), TurnEnd(" Four.")]

    def test_a_server_that_puts_no_space_before_its_turns_gets_none(self) -> None:
        conversation = Conversation()
        conversation.shown(TurnStart(), TurnEnd("One."), TurnStart(), TurnEnd("Two."))
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("Three.")) == [TurnStart(), TurnEnd("Three.")]

    def test_several_losses_in_one_turn(self) -> None:
        conversation = in_turn(checkpoint="one two", text="one two three")
        for _ in range(5):
            conversation.connection_lost()
            assert conversation.shown(TurnStart(), TurnUpdate("three")) == []
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("three four")) == [
            TurnEnd("one two three four")
        ]

    def test_a_turn_that_outgrew_the_ledger_goes_on_from_the_words_known(self) -> None:
        conversation = in_turn(text="one two three")
        conversation.connection_lost()
        conversation.keep_known_text(overlaps=True)
        seen = conversation.shown(TurnStart(), TurnUpdate("three four"), TurnEnd("three four five"))
        assert seen == [TurnUpdate("one two three four"), TurnEnd("one two three four five")]


class TestCheckpoints:
    def test_none_outside_of_a_turn(self) -> None:
        conversation = Conversation()
        conversation.add_checkpoint(5)
        assert conversation.checkpoint is None

    def test_it_has_the_text_said_so_far(self) -> None:
        conversation = in_turn(text="one two")
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert (conversation.checkpoint.position, conversation.checkpoint.text) == (50, "one two")

    def test_one_that_was_wrong_is_taken_back_but_never_the_onset(self) -> None:
        conversation = in_turn(checkpoint="one", text="one two")
        positions = []
        for _ in range(3):
            assert conversation.checkpoint is not None
            positions.append(conversation.checkpoint.position)
            conversation.revoke_checkpoint()
        assert positions == [100, 0, 0]

    def test_none_while_the_turn_waits_for_a_connection(self) -> None:
        conversation = in_turn(text="one")
        conversation.connection_lost()
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 0

    def test_they_end_with_the_turn(self) -> None:
        conversation = in_turn(checkpoint="one", text="one two")
        conversation.shown(TurnEnd("one two"))
        assert conversation.checkpoint is None


# --- any split gives the same turns -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wire:
    """What a server says, and how many words of the conversation it has heard by then."""

    event: TurnEvent
    heard: int


Turns = list[list[int]]  # of each turn, the number of words in each of its phrases


def words_of(turns: Turns) -> list[list[list[str]]]:
    """Give every word a number, so that a word that is lost or said twice shows."""
    numbers = iter(range(10_000))
    return [[[f"w{next(numbers)}" for _ in range(size)] for size in turn] for turn in turns]


def serve(turns: Turns, start: int) -> Iterator[Wire]:
    """A connection that is sent the conversation from word `start` on."""
    heard, spoken = 0, False
    for turn in words_of(turns):
        text, eager = "", False
        for phrase in turn:
            for word in phrase:
                heard += 1
                if heard <= start:
                    continue
                if not text:
                    yield Wire(TurnStart(), heard)
                elif eager:
                    yield Wire(TurnResume(), heard)
                eager = False
                text += f" {word}" if text or spoken else word
                yield Wire(TurnUpdate(text), heard)
            if text:
                yield Wire(TurnEagerEnd(text), heard)
                eager = True
        if text:
            yield Wire(TurnEnd(text), heard)
            spoken = True


def converse(turns: Turns, lives: Sequence[int]) -> list[TurnEvent]:
    """Hold the conversation over connections that live for so many messages each, and a last one.

    Checkpoints are made as the session makes them, by an ear that is always right.
    """
    conversation, seen = Conversation(), list[TurnEvent]()
    ends = [sum(sum(turn) for turn in turns[: n + 1]) for n in range(len(turns))]
    start = furthest = 0
    for life in [*lives, None]:
        for wire in list(serve(turns, start))[:life]:
            was_open = conversation.is_open
            replaying = wire.heard < furthest
            seen += conversation.receive(wire.event, NOW, is_replaying=replaying)
            furthest = max(furthest, wire.heard)
            if conversation.is_open and not was_open:
                conversation.add_checkpoint(wire.heard - 1)
            elif isinstance(wire.event, TurnEagerEnd):
                conversation.add_checkpoint(wire.heard)
            elif was_open and not conversation.is_open:
                start = wire.heard
        checkpoint = conversation.checkpoint
        conversation.connection_lost()
        if checkpoint is not None:
            start = checkpoint.position
            if checkpoint.text and start in ends:
                # All was said before the pause, and it is the one after the turn.
                seen += conversation.end_with_known_text(NOW, None)
    return seen


conversations: st.SearchStrategy[Turns] = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4
)


def turns_of(events: Sequence[TurnEvent]) -> list[str]:
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
    assert turns_of(merged) == turns_of(whole)


@settings(max_examples=200)
@given(conversations, st.lists(st.integers(0, 12), max_size=8))
def test_so_does_any_split_into_many(turns: Turns, lives: list[int]) -> None:
    merged = converse(turns, lives)
    check_order(merged)
    assert turns_of(merged) == turns_of(converse(turns, []))
