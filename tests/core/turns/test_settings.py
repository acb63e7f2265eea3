"""Settings that change in mid-session, and what the server makes of them."""

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


def settings() -> PendingSettings:
    return PendingSettings(TurnsOptions(turn=TurnSettings(turn_start_threshold=0.7)))


def test_an_open_connection_is_sent_what_changed_and_no_more() -> None:
    message = settings().configure(LATER, 0.0, OPEN)
    assert isinstance(message, str)
    assert json.loads(message) == {"type": "config", "turn": {"end_threshold": 0.2}}


def test_a_connection_that_is_being_opened_is_sent_everything_once_it_is_open() -> None:
    """The URL of the attempt may have been written before the change, or after it."""
    pending = settings()
    assert pending.configure(LATER, 0.0, CONNECTING) is None
    message = pending.connection_opened(1.0)
    assert message is not None
    assert json.loads(message)["turn"] == {"start_threshold": 0.7, "end_threshold": 0.2}
    assert pending.connection_opened(2.0) is None


def test_the_url_of_a_later_attempt_has_everything() -> None:
    pending = settings()
    assert pending.configure(LATER, 0.0, BACKOFF) is None
    assert pending.connection_opened(1.0) is None
    assert "turn_end_threshold=0.2" in pending.options.url()


def test_no_change_is_not_sent() -> None:
    pending = settings()
    assert pending.configure(TurnSettings(), 0.0, OPEN) is None
    assert not pending.revert(0.1, is_accepted=True)


def test_settings_out_of_order_change_nothing() -> None:
    pending = settings()
    with pytest.raises(UsageError):
        pending.configure(TurnSettings(turn_end_threshold=0.9), 0.0, OPEN)
    assert pending.options == settings().options
    assert not pending.revert(0.1, is_accepted=True)


class TestRevert:
    def test_a_rejection_soon_after_a_change_reverts_it_once(self) -> None:
        pending = settings()
        pending.configure(LATER, 10.0, OPEN)
        assert pending.revert(14.9, is_accepted=True)
        assert pending.options == settings().options
        assert not pending.revert(14.9, is_accepted=True)

    def test_a_later_error_is_about_something_else(self) -> None:
        pending = settings()
        pending.configure(LATER, 0.0, OPEN)
        assert not pending.revert(6.0, is_accepted=True)
        assert pending.options.turn.turn_end_threshold == 0.2

    @pytest.mark.parametrize(("wait", "end_threshold"), [(4.0, None), (6.0, 0.2)])
    def test_a_rejection_takes_back_all_changes_that_were_not_accepted_yet(
        self, wait: float, end_threshold: float | None
    ) -> None:
        """What the server has not rejected for five seconds, it has accepted."""
        pending = settings()
        pending.configure(LATER, 10.0, OPEN)
        pending.configure(TurnSettings(turn_end_threshold=0.3), 10.0 + wait, OPEN)
        assert pending.revert(11.0 + wait, is_accepted=True)
        assert pending.options.turn.turn_end_threshold == end_threshold

    def test_a_change_that_was_sent_late_may_be_rejected_from_then_on(self) -> None:
        pending = settings()
        pending.configure(LATER, 0.0, CONNECTING)
        pending.connection_opened(20.0)
        pending.accepted(opened_at=20.0)
        assert pending.revert(24.9, is_accepted=True)

    def test_the_settings_in_a_url_may_be_rejected_however_late(self) -> None:
        pending = settings()
        pending.configure(LATER, 0.0, BACKOFF)
        assert pending.revert(60.0, is_accepted=False)
        assert pending.options == settings().options

    def test_the_settings_in_a_url_that_was_accepted_are_not_reverted(self) -> None:
        pending = settings()
        pending.configure(LATER, 0.0, BACKOFF)
        pending.accepted(opened_at=1.0)
        assert not pending.revert(1.5, is_accepted=True)

    def test_a_url_that_was_accepted_says_nothing_of_a_change_after_it(self) -> None:
        pending = settings()
        pending.configure(LATER, 2.0, OPEN)
        pending.accepted(opened_at=1.0)
        assert pending.revert(2.5, is_accepted=True)


class TestKeyterms:
    def test_the_same_keyterms_are_no_change(self) -> None:
        pending = settings()
        assert pending.update_keyterms(["a"])
        assert not pending.update_keyterms(("a",))
        assert pending.update_keyterms([])

    def test_too_many_keyterms_change_nothing(self) -> None:
        pending = settings()
        with pytest.raises(UsageError):
            pending.update_keyterms(["a"] * 101)
        assert pending.options.keyterms == ()
