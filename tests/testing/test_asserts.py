"""Assertions that say what is wrong."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.events import (
    Connected,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.testing import Script, assert_heard, assert_turn_order


def test_spaces_around_turns_and_empty_turns_do_not_matter() -> None:
    assert_heard(["One.", "Two. "], ["One.", "", " Two."])


def test_what_differs_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"(?s)-One two\..*\+One\..*\+two\."):
        assert_heard(["One.", "two."], Script("One two.").transcripts)


def test_a_good_order() -> None:
    assert_turn_order(
        [
            Connected(),
            TurnStart(),
            TurnUpdate("a"),
            TurnEagerEnd("a"),
            TurnResume(),
            TurnUpdate("a b"),
            TurnEnd("a b c"),
            TurnStart(),
            TurnEnd(""),
        ]
    )


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([TurnStart(), TurnStart()], "turn.start while speaking"),
        ([TurnEnd("x")], "turn.end while idle"),
        ([TurnStart(), TurnUpdate("a b"), TurnUpdate("a c")], "text was revised"),
        ([TurnStart()], "the last turn has not ended"),
    ],
)
def test_a_wrong_order_is_shown_with_what_came_before(events: list[object], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        assert_turn_order(events)
    assert_turn_order([TurnStart()], ended=False)
