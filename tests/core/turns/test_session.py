"""What a session of turns does on each message: the test is the server."""

from __future__ import annotations

from collections import deque

import pytest

from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    Disconnected,
    Done,
    ErrorMessage,
    Event,
    SettingsRejected,
    TurnEagerEnd,
    TurnEnd,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.stream.outbox import Drop
from cartesia_ink_plugins.core.turns.session import TurnsSession, merge_unread
from cartesia_ink_plugins.core.wire import encode
from tests.core.hand import Hand, connected, started, words
from tests.core.observers import Impatient, SettingsTap

LATER = TurnSettings(turn_end_threshold=0.2)


class TestMessages:
    def test_connected_gives_the_id_of_the_request(self) -> None:
        hand = started()
        hand.session.connection_opened(0.0, "of the upgrade")
        assert not hand.session.connection.is_accepted
        hand.receives(Connected("of the message"))
        assert hand.session.connection.is_accepted
        assert hand.session.connection.request_id == "of the message"
        assert hand.events == [Connected("of the message")]

    def test_a_server_that_says_none_has_that_of_the_upgrade(self) -> None:
        hand = started()
        hand.session.connection_opened(0.0, "of the upgrade")
        hand.receives(Connected())
        assert hand.events == [Connected("of the upgrade")]

    def test_a_turn_event_says_as_much(self) -> None:
        hand = started()
        hand.session.connection_opened(0.0, "request")
        hand.receives(TurnStart())
        assert hand.session.connection.is_accepted
        assert [type(event) for event in hand.events] == [Connected, TurnStart]

    @pytest.mark.parametrize("data", ["no JSON", '{"type":"of tomorrow"}', encode(Done())])
    def test_what_is_none_of_this_endpoint_is_counted_and_not_told(self, data: str) -> None:
        hand = connected()
        hand.receives(data)
        assert sum(hand.session.violations.values()) == 1
        assert hand.events == []


class TestSettings:
    def test_the_error_that_follows_a_change_takes_it_back(self) -> None:
        hand = connected()
        hand.session.configure(LATER, hand.now)
        hand.receives(ErrorMessage(400, "out of range"))
        assert [event for event in hand.events if isinstance(event, SettingsRejected)]
        assert hand.session.rejection is None
        assert hand.session.options.turn.turn_end_threshold is None

    def test_what_a_connection_was_accepted_with_is_not_taken_back(self) -> None:
        hand = connected()
        hand.silence(0.1)
        hand.close(1006)
        hand.session.configure(LATER, hand.now)
        hand.silence(1.0)
        hand.open()
        hand.receives(ErrorMessage(400, "out of range"))
        assert hand.session.options.turn.turn_end_threshold == 0.2
        assert hand.session.rejection is not None

    def test_observers_are_told_the_options_in_force(self) -> None:
        tap = SettingsTap()
        session = TurnsSession(TurnsOptions(), Resilience(), jitter=lambda: 0.5, taps=[tap])
        session.configure(LATER, 0.0)
        assert tap.told == [session.options]
        session.update_keyterms(["table"], 0.0)
        session.update_keyterms(["table"], 0.0)
        assert tap.told[1:] == [session.options]
        assert session.options.keyterms == ("table",)


def test_only_what_is_further_than_ever_begins_the_backoff_anew() -> None:
    hand, policy = connected(), Impatient()
    hand.session.connection.set_reconnect_policy(policy, None, hand.now)
    resets = []
    for event in (TurnStart(), TurnUpdate("one"), TurnUpdate("one"), TurnEnd("one"), TurnStart()):
        hand.receives(event)
        resets.append(policy.resets)
    assert resets == [1, 2, 2, 3, 4]


def test_what_the_replay_buffer_could_not_hold_is_told_with_the_next_connection() -> None:
    hand = connected(resilience=Resilience(replay_buffer_seconds=3.0))
    hand.silence(0.1)
    hand.close(1006)
    hand.silence(8.0)
    hand.forget()
    hand.open()
    gap, accepted = hand.events
    assert isinstance(gap, AudioGap)
    assert gap.seconds == pytest.approx(5.0, abs=0.2)
    assert isinstance(accepted, Connected)


def long_turn() -> Hand:
    """A turn of 15 s, of which only the last seconds are replayed after a loss."""
    hand, text = connected(), "one"
    hand.silence(1.0)
    hand.speak(words())
    hand.receives(TurnStart(), TurnUpdate(text))
    for number in range(5, 30, 5):
        hand.speak(words(8))
        text += "".join(f" word{number + n}" for n in range(5))
        hand.receives(TurnUpdate(text))
    hand.close(1006)
    hand.silence(0.02)
    hand.open()
    hand.forget()
    return hand


def test_a_short_replay_that_repeats_nothing_is_followed_by_the_whole_one() -> None:
    hand = long_turn()
    sent = hand.session.sender.sent
    hand.receives(TurnStart(), TurnEnd("something else"))
    assert Drop() in hand.actions
    [lost] = [event for event in hand.events if not isinstance(event, Connected)]
    assert isinstance(lost, Disconnected)
    assert lost.reason == "the replay did not repeat the known text"
    hand.silence(1.0)
    hand.session.connection_opened(hand.now, "request")
    assert hand.session.sender.sent < sent - hand.session.sender.format.size(3.0)


class TestUnread:
    """The queue of an application that reads nothing."""

    def test_a_prediction_that_was_withdrawn_before_anybody_read_it_is_an_update(self) -> None:
        queue = deque[Event]([TurnStart(), TurnUpdate("a")])
        for event in (TurnEagerEnd("a b"), TurnResume(), TurnEagerEnd("a b c"), TurnEnd("a b c.")):
            merge_unread(queue, event)
        assert list(queue) == [
            TurnStart(),
            TurnUpdate("a"),
            TurnUpdate("a b"),
            TurnUpdate("a b c"),
            TurnEnd("a b c."),
        ]

    def test_of_many_updates_only_the_newest_is_kept(self) -> None:
        queue = deque[Event]([TurnStart()])
        for number in range(1, 300):
            merge_unread(queue, TurnUpdate(f"{number}"))
        assert len(queue) == 100
        assert queue[-1] == TurnUpdate("299")
        merge_unread(queue, TurnEnd("the end"))
        assert list(queue)[-2:] == [TurnUpdate("98"), TurnEnd("the end")]
