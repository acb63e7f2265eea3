"""However late messages are: no word is lost, and text that was shown stays."""

from __future__ import annotations

from typing import Any

import pytest

from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.server.faults import At, Fault, Outage, Reset, Silence
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.core.turns.conversation import Conversation
from tests.core.world import Stall, Timed, Trouble, World, check_order

SCRIPT = Script(
    Turn("one two three", after=1.6),
    Turn(["four", 0.5, "five six seven eight nine"], after=1.6),
)
(_, FIRST_END), (SECOND_START, SECOND_END) = SCRIPT.spans


def held(*faults: Trouble, script: Script = SCRIPT, **arguments: Any) -> World:
    """Play a script, whose words must come once and in its turns."""
    world = World(script, faults, tail=30.0, **arguments).run()
    check_order(world.events)
    assert world.finals == script.transcripts
    return world


class TestAStallBetweenTwoPings:
    @pytest.mark.parametrize("lost_at", [0.3, 0.9, 1.24, 1.6, 2.0])
    @pytest.mark.parametrize("seconds", [0.7, 1.5, 2.2])
    def test_after_it_the_pause_that_ended_a_turn_is_known(
        self, seconds: float, lost_at: float
    ) -> None:
        """The end of the first turn arrives behind the first word of the second."""
        held(Timed(FIRST_END + 0.45, Stall(seconds)), Timed(SECOND_START + lost_at, Reset()))

    @pytest.mark.parametrize("at", [0.1, 0.5, 1.0, 1.5])
    def test_nor_do_two_losses_in_one_turn_matter(self, at: float) -> None:
        held(
            Timed(FIRST_END + 0.45, Stall(1.5)),
            Timed(SECOND_START + at, Reset()),
            Timed(SECOND_START + at + 0.4, Reset()),
        )

    @pytest.mark.parametrize("at", [0.1, 0.3, 0.6, 0.9])
    def test_a_stall_after_an_eager_end_is_none_of_a_turn(self, at: float) -> None:
        start = SECOND_START + 0.2
        held(Timed(start + at, Stall(1.2)), Timed(start + at + 1.3, Reset()))


class TestAServerThatSaysNothingMore:
    """Its silence does not tell at which of two pauses the turn before had ended."""

    @pytest.mark.parametrize("stall_timeout", [5.0, 8.0, 10.0])
    def test_loses_no_word_behind_the_first_of_them(self, stall_timeout: float) -> None:
        held(
            Timed(FIRST_END + 0.45, Stall(1.9)),
            Timed(FIRST_END + 1.2, Silence()),
            resilience=Resilience(stall_timeout=stall_timeout),
        )

    def test_nor_when_it_catches_up_until_then(self) -> None:
        """It is sent 6 s of audio before it can be told that it is silent."""
        script = Script(*SCRIPT.turns, Turn("ten eleven twelve", gap=1.0, after=1.6))
        away = 12.0
        silent = away + SECOND_START / 2 + 0.3
        held(
            Timed(0.0, Outage(away)),
            Timed(silent - 0.6, Stall(0.8)),
            Timed(silent, Silence()),
            script=script,
        )


class TestAnEndOfATurnThatComesLate:
    """The server, or what stands before it, answers pings meanwhile."""

    @pytest.mark.parametrize("seconds", [0.4, 0.7, 1.3, 1.9])
    @pytest.mark.parametrize("lost_at", [0.5, 0.8, 1.4])
    def test_is_not_taken_for_a_later_pause(self, seconds: float, lost_at: float) -> None:
        """It arrives in a pause of the next turn, and that connection is lost soon after."""
        script = Script(Turn("zero", after=1.6), *SCRIPT.turns)
        late = Fault(Silence(seconds), At("turn.end", 2, before=True))
        start, _ = script.spans[2]
        held(late, Timed(start + lost_at, Reset()), script=script, hang_up_after=5.0)


class TestAServerThatTakesLong:
    """Each is a reading of the protocol that cannot be ruled out."""

    @pytest.mark.parametrize("delay", [3.2, 4.0, 4.8])
    @pytest.mark.parametrize("lost_at", [0.2, 1.0])
    def test_to_announce_a_turn(self, delay: float, lost_at: float) -> None:
        timing = ScriptTiming(start_delay=delay)
        say = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        script = Script(Turn(f"{say} fifteen sixteen seventeen", after=6.0), timing=timing)
        [(start, _)] = script.spans
        world = held(Timed(start + delay + lost_at, Reset()), script=script)
        assert len(world.dials) == 2

    @pytest.mark.parametrize("late", [False, True], ids=["with the end", "in an update"])
    @pytest.mark.parametrize("lost_at", [0.45, 0.55, 0.7, 0.85])
    def test_to_send_words_that_the_eager_end_lacked(self, lost_at: float, *, late: bool) -> None:
        timing = ScriptTiming(word_delay=0.6, eager_has_all=False, update_after_eager=late)
        turns = Turn("zero"), Turn("one two three four five six", after=3.0)
        script = Script(*turns, timing=timing)
        held(Timed(script.spans[1][1] + lost_at, Reset()), script=script)

    @pytest.mark.parametrize("lost_at", [0.45, 0.7])
    def test_and_without_a_connection_they_become_a_turn_of_their_own(self, lost_at: float) -> None:
        """The turn ends with what is known: nobody waits for a network that is gone."""
        timing = ScriptTiming(word_delay=0.6, eager_has_all=False)
        turns = Turn("zero"), Turn("one two three four five six", after=3.0)
        script = Script(*turns, timing=timing)
        world = World(script, [Timed(script.spans[1][1] + lost_at, Outage(8.0))], tail=30.0).run()
        check_order(world.events)
        assert "".join(world.finals) == "".join(script.transcripts)


class TestAnAnswerThatComesLate:
    """Two stalls in a row hold back the replay, and then what the server says of it."""

    @pytest.mark.parametrize("lost_at", [0.25, 0.4])
    def test_continues_a_turn_without_text(self, lost_at: float) -> None:
        """3 s of silence were sent by then, of which the server is not known to have any."""
        turns = Turn("one two three", after=1.6), Turn("four", after=6.0), Turn("five six")
        script = Script(*turns, timing=ScriptTiming(word_delay=0.6, eager_has_all=False))
        lost = script.spans[1][0] + lost_at
        stalls = Timed(lost + 0.16, Stall(1.6)), Timed(lost + 1.66, Stall(1.8))
        assert len(held(Timed(lost, Reset()), *stalls, script=script).dials) == 2


class TestShownText:
    """What another connection recognizes goes behind what was shown, and replaces none of it."""

    @staticmethod
    def continued(shown: str, *events: TurnEvent) -> list[TurnEvent]:
        """A turn was shown, and its connection lost; another one sends events."""
        conversation = Conversation()
        conversation.shown(TurnStart())
        conversation.add_checkpoint(0)
        conversation.shown(TurnUpdate(shown))
        conversation.connection_lost()
        return conversation.shown(TurnStart(), *events)

    @pytest.mark.parametrize(
        ("shown", "text", "whole"),
        [
            ("one two three", "one two three four", "one two three four"),
            ("one two three", "two three four", "one two three four"),
            ("one two three", "One, two, three, four", "one two three four"),
            ("won two three", "one two three four", "won two three four"),
            ("one two tree", "one two three four", "one two tree four"),
            ("the cat and the", "the cat and the dog", "the cat and the dog"),
            ("a cat and the", "the cat and the dog", "a cat and the dog"),
            ("one two three", "five six seven eight", "one two three eight"),
        ],
    )
    @pytest.mark.parametrize("kind", [TurnUpdate, TurnEagerEnd, TurnEnd])
    def test_is_extended(
        self, shown: str, text: str, whole: str, kind: type[TurnUpdate | TurnEagerEnd | TurnEnd]
    ) -> None:
        assert self.continued(shown, kind(text)) == [kind(whole)]

    @pytest.mark.parametrize("text", ["one", "won two", "one two three", "five six"])
    def test_is_not_sent_again_while_the_replay_is_behind(self, text: str) -> None:
        assert self.continued("one two three", TurnUpdate(text)) == []

    def test_and_what_follows_such_an_end_may_be_the_rest_of_it(self) -> None:
        """The new connection ended the turn at a pause within it, and says so late."""
        rest = TurnStart(), TurnUpdate("three"), TurnUpdate("three four"), TurnEnd("three four")
        end, new = TurnEnd("one two three"), TurnUpdate(" four")
        told = self.continued("one two three", TurnUpdate("one"), TurnEnd("one two"), *rest)
        assert told == [end, TurnStart(), new, TurnEnd(" four")]

    def test_or_something_else(self) -> None:
        other = TurnStart(), TurnUpdate(" five"), TurnEnd(" five")
        assert self.continued("one two three", TurnEnd("one two"), *other) == [
            TurnEnd("one two three"),
            *other,
        ]

    @pytest.mark.parametrize("text", ["one", "one two", "one two free"])
    def test_is_the_end_of_a_turn_of_which_less_is_recognized(self, text: str) -> None:
        assert self.continued("one two three", TurnEnd(text)) == [TurnEnd("one two three")]


class TestTextThatIsRepeated:
    """A replay may begin before the end of a turn that is over, if that end is not known."""

    @staticmethod
    def repeating(*events: TurnEvent, is_open: bool = False) -> list[TurnEvent]:
        """A turn is over, and perhaps another one open; another connection sends events."""
        conversation = Conversation()
        conversation.shown(TurnStart(), TurnEnd("one two three"))
        if is_open:
            conversation.shown(TurnStart(), TurnUpdate(" four"))
        conversation.connection_lost()
        conversation.expect_repeat()
        return conversation.shown(*events)

    def test_is_no_turn(self) -> None:
        known = TurnStart(), TurnUpdate("two"), TurnEagerEnd("two three"), TurnResume()
        assert self.repeating(*known, TurnEnd("two three")) == []

    def test_is_cut_off_where_the_turn_goes_on(self) -> None:
        events = TurnStart(), TurnUpdate("Three"), TurnUpdate("Three four"), TurnEnd("Three four")
        assert self.repeating(*events) == [TurnStart(), TurnUpdate(" four"), TurnEnd(" four")]

    def test_may_fill_several_turns(self) -> None:
        events = TurnStart(), TurnEnd("two"), TurnStart(), TurnEnd(" three")
        new = TurnStart(), TurnUpdate(" four"), TurnEnd(" four")
        assert self.repeating(*events, *new) == list(new)

    def test_is_nothing_that_differs(self) -> None:
        assert self.repeating(TurnStart(), TurnEnd("two four")) == [
            TurnStart(),
            TurnEnd(" two four"),
        ]

    def test_does_not_take_up_an_open_turn(self) -> None:
        events = TurnStart(), TurnEnd("three"), TurnStart(), TurnUpdate(" four five")
        assert self.repeating(*events, is_open=True) == [TurnUpdate(" four five")]
