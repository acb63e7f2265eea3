"""One orderly run of turns, made of what several connections sent."""

from __future__ import annotations

from enum import Enum

import pytest
from hypothesis import given
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
from cartesia_ink_plugins.core.turns.alignment import Overlap, SettledText
from tests.core.turns.conversation import NOW, Conversation, in_turn, without_times


class TestOneConnection:
    def test_events_in_order_pass_unchanged(self) -> None:
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

    def test_events_carry_the_number_of_the_turn_and_the_id_of_the_connection(self) -> None:
        conversation = Conversation()
        seen = []
        for event in (
            TurnStart(request_id="r"),
            TurnEnd("a", request_id="r"),
            TurnStart(request_id="r"),
        ):
            seen += conversation.receive(
                event, Timing(conversation.turn_of_next, 1.5, 7.0), is_replaying=False
            )
        assert [(e.request_id, e.timing) for e in seen] == [
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(1, 1.5, 7.0)),
            ("r", Timing(2, 1.5, 7.0)),
        ]

    def test_fields_that_this_version_does_not_know_pass_too(self) -> None:
        conversation = in_turn(checkpoint="Hey", text="Hey you")
        conversation.connection_lost()
        wire: list[TurnEvent] = [TurnStart(), TurnEnd("you there", extra={"confidence": 0.9})]
        [end] = conversation.shown(*wire)
        assert end == TurnEnd("Hey you there", extra={"confidence": 0.9})

    def test_an_update_without_new_text_is_not_shown(self) -> None:
        conversation = in_turn(text="Hey")
        assert conversation.shown(TurnUpdate("Hey")) == []

    def test_an_update_with_less_text_is_not_shown(self) -> None:
        conversation = in_turn(text="Hey you")
        assert conversation.shown(TurnUpdate("Hey")) == []
        assert conversation.violations == {"turn.update that removes text": 1}

    def test_an_empty_end_removes_no_text(self) -> None:
        conversation = in_turn(text="Hey you")
        assert conversation.shown(TurnEnd("")) == [TurnEnd("Hey you")]

    def test_nor_does_the_next_turn_get_a_space_for_it(self) -> None:
        """A space is added where a connection begins, and nowhere else."""
        conversation = in_turn(text="Hey")
        conversation.shown(TurnEnd(""), TurnStart())
        assert conversation.shown(TurnUpdate("you")) == [TurnUpdate("you")]

    def test_each_start_text_and_end_reaches_further_than_all_before(self) -> None:
        conversation = Conversation()
        reached = [conversation.reached]
        for _ in range(2):
            for event in (TurnStart(), TurnUpdate("Hey"), TurnUpdate("Hey you"), TurnEnd("Hey")):
                conversation.shown(event)
                reached.append(conversation.reached)
        assert reached[1:] == sorted(set(reached[1:]))
        assert reached[1] > (0, False, 0)

    def test_the_text_of_the_end_replaces_that_of_the_updates(self) -> None:
        conversation = in_turn(text="Hey for")
        assert conversation.shown(TurnEnd("Hey four")) == [TurnEnd("Hey four")]


class Disturbance(Enum):
    """What may come between two events of the server."""

    LOSS = "the connection is lost"
    LOSS_OF_AUDIO = "the connection is lost, and the audio of the checkpoint is not held any more"
    END_OF_AUDIO = "the audio shows that the turn is over"


class TestProtocolViolations:
    """A server that breaks the order is survived and counted; the application sees none of it."""

    @pytest.mark.parametrize(
        ("wire", "seen", "violations"),
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
    def test_the_order_is_repaired_and_the_violation_counted(
        self, wire: list[TurnEvent], seen: list[TurnEvent], violations: dict[str, int]
    ) -> None:
        conversation = Conversation()
        assert conversation.shown(*wire) == seen
        assert conversation.violations == violations

    def test_turns_that_were_not_announced_are_counted(self) -> None:
        conversation = Conversation()
        for number, text in enumerate(("one", "two", "three"), 1):
            started = conversation.shown(TurnUpdate(text))
            assert started == [TurnStart(), TurnUpdate(text)]
            assert conversation.turn == number
            conversation.shown(TurnEnd(text))
        assert conversation.turn == 3

    def test_text_of_the_next_connection_continues_the_turn_without_an_announcement(self) -> None:
        conversation = in_turn(text="one two")
        conversation.connection_lost()
        assert conversation.shown(TurnUpdate("one")) == []
        assert not conversation.is_awaiting_replay
        assert conversation.shown(TurnUpdate("one two three")) == [TurnUpdate("one two three")]
        assert conversation.turn == 1

    def test_late_text_after_an_eager_end_is_shown_and_no_violation(self) -> None:
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
                st.sampled_from(Disturbance),
            ),
            max_size=30,
        ),
        st.booleans(),
    )
    def test_whatever_comes_starts_and_ends_alternate(
        self, wire: list[TurnEvent | Disturbance], is_replaying: bool
    ) -> None:
        conversation = Conversation()
        seen: list[TurnEvent] = []
        for event in wire:
            match event:
                case Disturbance.LOSS:
                    conversation.connection_lost()
                case Disturbance.LOSS_OF_AUDIO:
                    conversation.connection_lost()
                    conversation.keep_known_text(overlaps=is_replaying)
                case Disturbance.END_OF_AUDIO:
                    seen += conversation.end_with_known_text(NOW, None)
                case _:
                    seen += conversation.receive(event, NOW, is_replaying=is_replaying)
        seen += conversation.end_with_known_text(NOW, None)
        edges = [type(event) for event in seen if isinstance(event, TurnStart | TurnEnd)]
        assert edges == [TurnStart, TurnEnd] * (len(edges) // 2)
        is_eager = is_open = False
        for event in seen:
            match event:
                case TurnStart():
                    is_open, is_eager = True, False
                case TurnEagerEnd():
                    is_eager = True
                case TurnResume():
                    assert is_eager, "a resume without an eager end"
                    is_eager = False
                case TurnEnd():
                    assert is_open
                    is_open = False
            assert is_open or isinstance(event, TurnEnd), "an event outside of a turn"


class TestLostConnection:
    def test_the_same_turn_goes_on_without_a_second_start(self) -> None:
        conversation = in_turn(text="I'd like a")
        conversation.connection_lost()
        assert conversation.is_awaiting_replay
        assert conversation.shown(TurnStart(), is_replaying=True) == []
        assert not conversation.is_awaiting_replay
        assert conversation.shown(TurnUpdate("I'd like a table")) == [
            TurnUpdate("I'd like a table")
        ]
        assert conversation.shown(TurnEnd("I'd like a table.")) == [TurnEnd("I'd like a table.")]
        assert conversation.turn == 1

    def test_text_does_not_shrink_while_it_is_recognized_again(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnUpdate("I'd"), TurnUpdate("I'd like a"))
        assert seen == []
        assert conversation.text == "I'd like a table"

    def test_text_before_a_checkpoint_is_kept_and_the_rest_recognized_again(self) -> None:
        conversation = in_turn(checkpoint="I'd like a table", text="I'd like a table for")
        conversation.connection_lost()
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 100
        seen = conversation.shown(TurnStart(), TurnUpdate("for two"), TurnEnd("for two."))
        assert seen == [
            TurnUpdate("I'd like a table for two"),
            TurnEnd("I'd like a table for two."),
        ]

    def test_the_same_eager_end_from_the_replay_is_not_shown_again(self) -> None:
        conversation = in_turn()
        conversation.shown(TurnEagerEnd("Yes."))
        conversation.connection_lost()
        assert conversation.is_eager
        assert conversation.shown(TurnStart(), TurnEagerEnd("Yes.")) == []
        assert conversation.shown(TurnEnd("Yes.")) == [TurnEnd("Yes.")]

    def test_more_text_after_an_eager_end_withdraws_it_first(self) -> None:
        conversation = in_turn()
        conversation.shown(TurnEagerEnd("Yes."))
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnUpdate("Yes. But"))
        assert seen == [TurnResume(), TurnUpdate("Yes. But")]
        seen = conversation.shown(TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no"))
        assert seen == [TurnEagerEnd("Yes. But no"), TurnEnd("Yes. But no")]

    def test_a_turn_that_ends_in_the_middle_of_the_replay_goes_on(self) -> None:
        conversation = in_turn(text="I'd like a table for two")
        conversation.connection_lost()
        seen = conversation.shown(TurnStart(), TurnEnd("I'd like a"), is_replaying=True)
        assert seen == []
        assert conversation.is_awaiting_replay
        seen = conversation.shown(TurnStart(), TurnEnd("table for two people"))
        assert seen == [TurnEnd("I'd like a table for two people")]

    def test_text_that_is_not_recognized_again_is_kept(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("")) == [TurnEnd("I'd like a table")]

    def test_a_turn_that_no_connection_takes_up_ends_with_the_known_text(self) -> None:
        conversation = in_turn(text="I'd like a table")
        conversation.connection_lost()
        assert without_times(conversation.end_with_known_text(NOW, None)) == [
            TurnEnd("I'd like a table")
        ]
        assert conversation.end_with_known_text(NOW, None) == []

    def test_what_follows_such_an_end_is_another_turn(self) -> None:
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

    def test_where_the_server_puts_no_space_before_its_turns_none_is_added(self) -> None:
        conversation = Conversation()
        conversation.shown(TurnStart(), TurnEnd("One."), TurnStart(), TurnEnd("Two."))
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("Three.")) == [
            TurnStart(),
            TurnEnd("Three."),
        ]

    def test_once_no_repeat_is_expected_the_same_words_are_new(self) -> None:
        conversation = in_turn(text="one two")
        conversation.shown(TurnEnd("one two"))
        conversation.connection_lost()
        conversation.expect_repeat()
        conversation.expect_no_repeat()
        assert conversation.shown(TurnStart(), TurnUpdate("two")) == [
            TurnStart(),
            TurnUpdate(" two"),
        ]

    def test_but_not_in_the_middle_of_a_turn_that_repeats(self) -> None:
        conversation = in_turn(text="one two")
        conversation.shown(TurnEnd("one two"))
        conversation.connection_lost()
        conversation.expect_repeat()
        assert conversation.shown(TurnStart(), TurnUpdate("one")) == []
        conversation.expect_no_repeat()
        assert conversation.shown(TurnUpdate("one two")) == []
        end = conversation.shown(TurnEnd("one two three"))
        assert end == [TurnStart(), TurnEnd(" three")]

    def test_several_losses_in_one_turn(self) -> None:
        conversation = in_turn(checkpoint="one two", text="one two three")
        for _ in range(5):
            conversation.connection_lost()
            assert conversation.shown(TurnStart(), TurnUpdate("three")) == []
        conversation.connection_lost()
        assert conversation.shown(TurnStart(), TurnEnd("three four")) == [
            TurnEnd("one two three four")
        ]

    def test_a_turn_longer_than_the_replay_buffer_goes_on_from_the_known_text(self) -> None:
        conversation = in_turn(text="one two three")
        conversation.connection_lost()
        conversation.keep_known_text(overlaps=True)
        seen = conversation.shown(TurnStart(), TurnUpdate("three four"), TurnEnd("three four five"))
        assert seen == [TurnUpdate("one two three four"), TurnEnd("one two three four five")]

    def test_a_pause_in_repeated_text_is_neither_an_eager_end_nor_a_checkpoint(self) -> None:
        conversation = in_turn(text="one two three")
        conversation.connection_lost()
        conversation.keep_known_text(overlaps=True)
        assert conversation.shown(TurnStart(), TurnUpdate("one two"), TurnEagerEnd("one two")) == []
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position != 50
        assert conversation.shown(TurnResume(), TurnUpdate("one two three")) == []
        assert conversation.shown(TurnEagerEnd("one two three four")) == [
            TurnEagerEnd("one two three four")
        ]
        conversation.add_checkpoint(60)
        assert conversation.checkpoint.position == 60


class TestAShortReplay:
    @staticmethod
    def expected() -> Conversation:
        """The last seconds of the turn are replayed; "a table for two people" is to be repeated."""
        conversation = in_turn(text="We want a table for two people")
        assert not conversation.overlap_is_pending
        assert not conversation.needs_longer_replay
        conversation.connection_lost()
        settled = SettledText(0, "We want a table")
        conversation.expect_overlap(Overlap(conversation.text, settled))
        conversation.shown(TurnStart())
        return conversation

    def test_is_not_shown_until_it_has_repeated_the_known_text(self) -> None:
        conversation = self.expected()
        assert conversation.shown(TurnUpdate("a table")) == []
        assert conversation.overlap_is_pending
        assert not conversation.needs_longer_replay
        assert conversation.shown(TurnUpdate("a table for two people at")) == [
            TurnUpdate("We want a table for two people at")
        ]
        assert not conversation.overlap_is_pending
        conversation.add_checkpoint(100)
        checkpoint = conversation.checkpoint
        assert checkpoint is not None
        assert checkpoint.text == "We want a table for two people at"

    @pytest.mark.parametrize(
        "event", [TurnEnd("a table for two"), TurnUpdate(" ".join(["word"] * 16))]
    )
    def test_that_does_not_repeat_it_is_not_enough(self, event: TurnEvent) -> None:
        conversation = self.expected()
        assert conversation.shown(event) == []
        assert conversation.overlap_is_pending
        assert conversation.needs_longer_replay
        conversation.connection_lost()
        assert not conversation.overlap_is_pending
        assert not conversation.needs_longer_replay


class TestCheckpoints:
    def test_there_is_none_outside_of_a_turn(self) -> None:
        conversation = Conversation()
        conversation.add_checkpoint(5)
        assert conversation.checkpoint is None

    def test_it_has_the_text_so_far(self) -> None:
        conversation = in_turn(text="one two")
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert (conversation.checkpoint.position, conversation.checkpoint.text) == (50, "one two")

    def test_the_last_can_be_revoked_but_never_the_onset(self) -> None:
        conversation = in_turn(checkpoint="one", text="one two")
        positions = []
        for _ in range(3):
            assert conversation.checkpoint is not None
            positions.append(conversation.checkpoint.position)
            conversation.revoke_checkpoint()
        assert positions == [100, 0, 0]

    def test_none_is_added_while_the_turn_awaits_its_replay(self) -> None:
        conversation = in_turn(text="one")
        conversation.connection_lost()
        conversation.add_checkpoint(50)
        assert conversation.checkpoint is not None
        assert conversation.checkpoint.position == 0

    def test_they_end_with_the_turn(self) -> None:
        conversation = in_turn(checkpoint="one", text="one two")
        conversation.shown(TurnEnd("one two"))
        assert conversation.checkpoint is None
