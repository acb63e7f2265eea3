"""One orderly run of turns, made of what several connections said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartesia_ink_plugins.core.conversation import Conversation, join, join_overlapping
from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from tests.core.world import check_order

NOW = Timing(turn=0, position=0.0)


def shown(events: Sequence[TurnEvent]) -> list[TurnEvent]:
    """Events without their stamps."""
    return [
        type(event)(event.transcript)
        if isinstance(event, TurnUpdate | TurnEagerEnd | TurnEnd)
        else type(event)()
        for event in events
    ]


def say(conversation: Conversation, *events: TurnEvent, replaying: bool = False) -> list[TurnEvent]:
    """Let the wire say something; return what the application sees of it."""
    seen: list[TurnEvent] = []
    for event in events:
        seen += conversation.receive(event, NOW, replaying=replaying)
    return shown(seen)


def in_turn(*, text: str = "", checkpoint: str | None = None) -> Conversation:
    """A conversation whose first turn is open, with text, perhaps a pause before some of it."""
    conversation = Conversation()
    say(conversation, TurnStart())
    conversation.add_checkpoint(0)
    if checkpoint is not None:
        say(conversation, TurnEagerEnd(checkpoint))
        conversation.add_checkpoint(100)
        say(conversation, TurnResume())
    if text:
        say(conversation, TurnUpdate(text))
    return conversation


class TestJoin:
    @pytest.mark.parametrize(
        ("before", "after", "whole"),
        [
            ("", "Hello", "Hello"),
            ("Hello", "", "Hello"),
            ("Hello", "there", "Hello there"),
            ("Hello", " there", "Hello there"),
            ("Hello ", "there", "Hello there"),
            ("Hello", ", there", "Hello, there"),
            ("Hello", ".", "Hello."),
            ("", " Hello", " Hello"),
            ("Is it", "?", "Is it?"),
            ("Hello\n", "there", "Hello\nthere"),
        ],
    )
    def test_one_space_at_a_seam_and_all_else_verbatim(
        self, before: str, after: str, whole: str
    ) -> None:
        assert join(before, after) == whole

    @given(st.text(), st.text())
    def test_nothing_is_lost_and_nothing_but_one_space_is_added(
        self, before: str, after: str
    ) -> None:
        assert join(before, after) in (before + after, f"{before} {after}")

    @pytest.mark.parametrize(
        ("before", "after", "whole"),
        [
            ("a table for", "for two", "a table for two"),
            ("a table for", "table for two people", "a table for two people"),
            ("a table for two", "Table, for two people.", "a table for two people."),
            ("a table for two", "for two", "a table for two"),
            ("a table for two", "table", "a table for two"),
            ("a table for two", "people", "a table for two people"),
            ("a table", "", "a table"),
            ("", "a table", "a table"),
        ],
    )
    def test_words_that_are_known_are_not_said_twice(
        self, before: str, after: str, whole: str
    ) -> None:
        assert join_overlapping(before, after) == whole

    @given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=8), st.data())
    def test_a_replay_of_known_words_never_loses_any(
        self, words: list[str], data: st.DataObject
    ) -> None:
        first = data.draw(st.integers(0, len(words)))
        known = data.draw(st.integers(first, len(words)))
        before, after = " ".join(words[:known]), " ".join(words[first:])
        assert join_overlapping(before, after).startswith(before)


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
        assert say(Conversation(), *wire) == wire

    def test_events_carry_the_turns_number_and_the_connections_id(self) -> None:
        conversation = Conversation()
        seen = []
        for event in (TurnStart("r"), TurnEnd("a", "r"), TurnStart("r")):
            seen += conversation.receive(event, Timing(0, 1.5, 7.0), replaying=False)
        assert [(e.request_id, e.timing) for e in seen] == [
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(2, 1.5, 7.0)),
        ]

    def test_an_update_that_says_nothing_new_is_not_shown(self) -> None:
        conversation = in_turn(text="Hey")
        assert say(conversation, TurnUpdate("Hey")) == []

    def test_an_update_never_shrinks(self) -> None:
        conversation = in_turn(text="Hey you")
        assert say(conversation, TurnUpdate("Hey")) == []
        assert conversation.irregular == {"turn.update that takes words back": 1}

    def test_an_empty_end_does_not_take_words_back(self) -> None:
        conversation = in_turn(text="Hey you")
        assert say(conversation, TurnEnd("")) == [TurnEnd("Hey you")]

    def test_the_end_has_the_last_word(self) -> None:
        conversation = in_turn(text="Hey for")
        assert say(conversation, TurnEnd("Hey four")) == [TurnEnd("Hey four")]


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
        self, wire: list[TurnEvent], seen: list[TurnEvent], irregular: dict[str, int]
    ) -> None:
        conversation = Conversation()
        assert say(conversation, *wire) == seen
        assert conversation.irregular == irregular

    def test_late_words_after_an_eager_end_are_shown_and_no_irregularity(self) -> None:
        conversation = in_turn()
        wire: list[TurnEvent] = [TurnEagerEnd("Hey"), TurnUpdate("Hey you"), TurnEnd("Hey you")]
        assert say(conversation, *wire) == wire
        assert conversation.irregular == {}

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
                conversation.reconnected()
            else:
                seen += conversation.receive(event, NOW, replaying=False)
        seen += conversation.end_with_known_text(NOW)
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
        conversation.reconnected()
        assert conversation.is_carried
        assert say(conversation, TurnStart(), replaying=True) == []
        assert not conversation.is_carried
        assert say(conversation, TurnUpdate("I'd like a table")) == [TurnUpdate("I'd like a table")]
        assert say(conversation, TurnEnd("I'd like a table.")) == [TurnEnd("I'd like a table.")]
        assert conversation.turn == 1

    def test_interim_text_does_not_shrink_while_it_is_said_again(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.reconnected()
        seen = say(conversation, TurnStart(), TurnUpdate("I'd"), TurnUpdate("I'd like a"))
        assert seen == []
        assert conversation.text == "I'd like a table"

    def test_text_before_a_pause_is_kept_and_the_rest_said_again(self) -> None:
        conversation = in_turn(checkpoint="I'd like a table", text="I'd like a table for")
        conversation.reconnected()
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 100
        seen = say(conversation, TurnStart(), TurnUpdate("for two"), TurnEnd("for two."))
        assert seen == [
            TurnUpdate("I'd like a table for two"),
            TurnEnd("I'd like a table for two."),
        ]

    def test_an_eager_end_that_is_said_again_is_not_shown_again(self) -> None:
        conversation = in_turn()
        say(conversation, TurnEagerEnd("Yes."))
        conversation.reconnected()
        assert conversation.is_eager
        assert say(conversation, TurnStart(), TurnEagerEnd("Yes.")) == []
        assert say(conversation, TurnEnd("Yes.")) == [TurnEnd("Yes.")]

    def test_more_words_after_an_eager_end_withdraw_it_first(self) -> None:
        conversation = in_turn()
        say(conversation, TurnEagerEnd("Yes."))
        conversation.reconnected()
        seen = say(conversation, TurnStart(), TurnUpdate("Yes. But"))
        assert seen == [TurnResume(), TurnUpdate("Yes. But")]
        seen = say(conversation, TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no"))
        assert seen == [TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no")]

    def test_a_turn_that_the_replay_ends_too_early_goes_on(self) -> None:
        conversation = in_turn(text="I'd like a table for two")
        conversation.reconnected()
        seen = say(conversation, TurnStart(), TurnEnd("I'd like a"), replaying=True)
        assert seen == []
        assert conversation.is_carried
        seen = say(conversation, TurnStart(), TurnEnd("table for two people"))
        assert seen == [TurnEnd("I'd like a table for two people")]

    def test_words_that_are_not_heard_again_are_kept(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.reconnected()
        assert say(conversation, TurnStart(), TurnEnd("")) == [TurnEnd("I'd like a table")]

    def test_a_turn_that_nobody_takes_up_ends_with_the_known_text(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.reconnected()
        assert shown(conversation.end_with_known_text(NOW)) == [TurnEnd("I'd like a table")]
        assert conversation.end_with_known_text(NOW) == []

    def test_what_follows_a_known_end_is_another_turn(self) -> None:
        conversation = in_turn(text="Yes.")
        conversation.reconnected()
        conversation.end_with_known_text(NOW)
        assert say(conversation, TurnStart(), TurnEnd("No.")) == [TurnStart(), TurnEnd(" No.")]
        assert conversation.turn == 2

    def test_between_turns_only_the_space_before_the_next_turn_is_missing(self) -> None:
        conversation = Conversation()
        say(conversation, TurnStart(), TurnEnd("One."), TurnStart(), TurnEnd(" Two."))
        conversation.reconnected()
        seen = say(conversation, TurnStart(), TurnEnd("Three."), TurnStart(), TurnEnd(" Four."))
        assert seen == [TurnStart(), TurnEnd(" Three."), TurnStart(), TurnEnd(" Four.")]

    def test_a_server_that_puts_no_space_before_its_turns_gets_none(self) -> None:
        conversation = Conversation()
        say(conversation, TurnStart(), TurnEnd("One."), TurnStart(), TurnEnd("Two."))
        conversation.reconnected()
        assert say(conversation, TurnStart(), TurnEnd("Three.")) == [TurnStart(), TurnEnd("Three.")]

    def test_several_losses_in_one_turn(self) -> None:
        conversation = in_turn(checkpoint="one two", text="one two three")
        for _ in range(5):
            conversation.reconnected()
            assert say(conversation, TurnStart(), TurnUpdate("three")) == []
        conversation.reconnected()
        assert say(conversation, TurnStart(), TurnEnd("three four")) == [
            TurnEnd("one two three four")
        ]

    def test_a_turn_that_outgrew_the_ledger_goes_on_from_the_words_known(self) -> None:
        conversation = in_turn(text="one two three")
        conversation.reconnected(keep_known=True, overlaps=True)
        seen = say(conversation, TurnStart(), TurnUpdate("three four"), TurnEnd("three four five"))
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
        conversation.reconnected()
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 0

    def test_they_end_with_the_turn(self) -> None:
        conversation = in_turn(checkpoint="one", text="one two")
        say(conversation, TurnEnd("one two"))
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
            seen += conversation.receive(wire.event, NOW, replaying=replaying)
            furthest = max(furthest, wire.heard)
            if conversation.is_open and not was_open:
                conversation.add_checkpoint(wire.heard - 1)
            elif isinstance(wire.event, TurnEagerEnd):
                conversation.add_checkpoint(wire.heard)
            elif was_open and not conversation.is_open:
                start = wire.heard
        checkpoint = conversation.checkpoint
        conversation.reconnected()
        if checkpoint is not None:
            start = checkpoint.position
            if checkpoint.text and start in ends:
                # All was said before the pause, and it is the one after the turn.
                seen += conversation.end_with_known_text(NOW)
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
