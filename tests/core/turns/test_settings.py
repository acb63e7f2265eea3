"""Changes of the options in mid-session, and what becomes of them."""

from __future__ import annotations

import json

import pytest

from cartesia_ink_plugins.core.errors import UsageError
from cartesia_ink_plugins.core.options import TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.turns.settings import PendingSettings

OPEN, CONNECTING, BACKOFF = (
    ConnectionState.OPEN,
    ConnectionState.CONNECTING,
    ConnectionState.BACKOFF,
)
LATER = TurnSettings(turn_end_threshold=0.2)


def changes() -> PendingSettings:
    return PendingSettings(TurnsOptions(turn=TurnSettings(turn_start_threshold=0.7)))


def test_an_open_connection_is_told_what_changed_and_no_more() -> None:
    (message,) = changes().configure(LATER, 0.0, OPEN)
    assert isinstance(message, str)
    assert json.loads(message) == {"type": "config", "turn": {"end_threshold": 0.2}}


def test_one_that_is_not_there_yet_is_told_all_when_it_opens() -> None:
    """The URL of the attempt may have been written before the change, or after it."""
    made = changes()
    assert made.configure(LATER, 0.0, CONNECTING) == []
    (message,) = made.opened(1.0)
    assert isinstance(message, str)
    assert json.loads(message)["turn"] == {"start_threshold": 0.7, "end_threshold": 0.2}
    assert made.opened(2.0) == []


def test_the_url_of_a_later_attempt_says_it_all() -> None:
    made = changes()
    assert made.configure(LATER, 0.0, BACKOFF) == []
    assert made.opened(1.0) == []
    assert "turn_end_threshold=0.2" in made.options.url()


def test_what_is_out_of_order_changes_nothing() -> None:
    made = changes()
    with pytest.raises(UsageError):
        made.configure(TurnSettings(turn_end_threshold=0.9), 0.0, OPEN)
    assert made.options == changes().options
    assert not made.revert(0.1, connected=True)


class TestRevert:
    def test_a_rejection_soon_after_a_change_takes_it_back_once(self) -> None:
        made = changes()
        made.configure(LATER, 0.0, OPEN)
        assert made.revert(1.0, connected=True)
        assert made.options == changes().options
        assert not made.revert(1.1, connected=True)

    def test_a_later_one_is_about_something_else(self) -> None:
        made = changes()
        made.configure(LATER, 0.0, OPEN)
        assert not made.revert(6.0, connected=True)
        assert made.options.turn.turn_end_threshold == 0.2

    def test_a_url_is_rejected_however_late(self) -> None:
        made = changes()
        made.configure(LATER, 0.0, BACKOFF)
        assert made.revert(60.0, connected=False)
        assert made.options == changes().options

    def test_a_url_that_was_accepted_is_not(self) -> None:
        made = changes()
        made.configure(LATER, 0.0, BACKOFF)
        made.accepted(opened_at=1.0)
        assert not made.revert(1.5, connected=True)

    def test_accepting_a_url_says_nothing_of_a_change_after_it(self) -> None:
        made = changes()
        made.configure(LATER, 2.0, OPEN)
        made.accepted(opened_at=1.0)
        assert made.revert(2.5, connected=True)


class TestKeyterms:
    def test_only_others_are_a_change(self) -> None:
        made = changes()
        assert made.expect(["a"])
        assert not made.expect(("a",))
        assert made.expect([])

    def test_too_many_change_nothing(self) -> None:
        made = changes()
        with pytest.raises(UsageError):
            made.expect(["a"] * 101)
        assert made.options.keyterms == ()
