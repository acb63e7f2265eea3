"""How far the server had received the audio when it sent a message, from pings and answers."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stream.outbox import Ping
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.stream.server_position import ServerPosition
from cartesia_ink_plugins.core.tap import Taps

FORMAT = AudioFormat(Encoding.PCM_S32LE, 1000)


class Caller:
    """Sends audio over a connection that was opened at 0, and was sent a ping then."""

    def __init__(self) -> None:
        self.actions: list[object] = []
        self.sender = AudioSender(
            FORMAT, Resilience(), self.actions.append, Taps((), logging.getLogger("test"))
        )
        self.server = self.sender.server
        self.now = 0.0
        self.server.ping_sent(0, self.now)
        self.sender.connection_opened(0, self.now)

    def speak(self, seconds: float) -> None:
        self.sender.audio_received(FORMAT.silence(seconds))
        self.sender.pump(self.now)

    def speak_for(self, seconds: float) -> None:
        """Speak in real time."""
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.speak(0.02)

    @property
    def pings(self) -> list[Ping]:
        """What was sent among the audio."""
        return [action for action in self.actions if isinstance(action, Ping)]

    def ping(self) -> int:
        """Send a ping behind what was said; return its number."""
        return self.server.ping_sent(self.sender.sent, self.now)

    def round_trip(self, seconds: float) -> None:
        """The first ping is answered after so long."""
        self.now += seconds
        self.server.pong_received(FIRST, self.now)

    @property
    def likely(self) -> float:
        """In seconds of audio."""
        return FORMAT.seconds(self.server.likely(self.now))

    @property
    def bounds(self) -> tuple[float, float]:
        """In seconds of audio."""
        server = self.server
        at_most = server.at_most(self.sender.sent, self.now)
        return FORMAT.seconds(server.at_least), FORMAT.seconds(at_most)


FIRST = 1  # number of the ping that was sent when the connection was opened


def test_the_round_trip_tells_what_the_server_can_have_received() -> None:
    caller = Caller()
    caller.round_trip(0.3)
    caller.speak_for(2.0)
    assert caller.likely == pytest.approx(1.7, abs=0.1)


def test_audio_that_was_handed_in_late_and_at_one_time_can_have_been_received_too() -> None:
    """An application that was held up makes up for it; the server answers in between."""
    caller = Caller()
    caller.round_trip(0.001)
    caller.speak_for(1.0)
    caller.now += 0.2
    for _ in range(10):
        caller.now += 0.001
        caller.speak(0.02)
    assert caller.likely == pytest.approx(1.2, abs=0.07)


def test_the_shortest_recent_round_trip_is_the_likely_one() -> None:
    caller = Caller()
    caller.server.pong_received(FIRST, 0.1)
    for round_trip in (0.5, 0.3):
        number = caller.ping()
        caller.server.pong_received(number, caller.now + round_trip)
    caller.speak_for(2.0)
    assert caller.likely == pytest.approx(1.9, abs=0.06)


def test_positions_are_known_for_as_long_as_a_round_trip_may_take() -> None:
    """Three seconds, however small the messages are."""
    caller = Caller()
    caller.round_trip(2.5)
    caller.speak_for(4.0)
    assert caller.likely == pytest.approx(1.5, abs=0.1)


def test_a_round_trip_is_measured_from_its_ping() -> None:
    caller = Caller()
    caller.speak_for(2.0)
    number = caller.ping()
    caller.speak_for(0.3)
    caller.server.pong_received(number, caller.now)
    caller.speak_for(1.0)
    assert caller.likely == pytest.approx(3.0, abs=0.06)


def test_old_round_trips_are_forgotten() -> None:
    server = ServerPosition()
    server.connection_opened(0, 0.0)
    for round_trip in (0.1, *[0.9] * 5):
        server.pong_received(server.ping_sent(0, 0.0), round_trip)
    for tenth in range(1, 21):
        server.audio_sent(tenth, tenth / 10)
    assert server.likely(2.0) == 11


class TestBounds:
    """A connection keeps the order: what is between two answers is between two pings."""

    def test_a_message_behind_an_answer_is_about_all_audio_before_the_ping(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        number = caller.ping()
        caller.speak_for(2.0)
        caller.server.pong_received(number, caller.now)
        assert caller.bounds == pytest.approx((1.0, 3.0))

    def test_a_message_ahead_of_an_answer_is_about_no_audio_behind_the_ping(self) -> None:
        """Whatever the clock says: the network, or we, may have been held up in between."""
        caller = Caller()
        caller.server.pong_received(FIRST, caller.now)
        caller.speak_for(1.0)
        caller.ping()
        caller.speak_for(2.0)
        assert caller.bounds == pytest.approx((0.0, 1.0))
        assert caller.likely == pytest.approx(1.0)

    def test_one_answer_may_stand_for_several_pings(self) -> None:
        caller = Caller()
        for _ in range(3):
            caller.speak_for(1.0)
            number = caller.ping()
        caller.server.pong_received(number, caller.now)
        assert caller.bounds == pytest.approx((3.0, 3.0))

    @pytest.mark.parametrize("number", [FIRST, 0, -1, 99])
    def test_an_answer_to_no_ping_tells_nothing(self, number: int) -> None:
        caller = Caller()
        caller.server.pong_received(FIRST, caller.now)
        caller.speak_for(1.0)
        caller.ping()
        caller.speak_for(1.0)
        caller.server.pong_received(number, caller.now)
        assert caller.bounds == pytest.approx((0.0, 1.0))

    def test_where_no_ping_is_answered_the_missing_answer_tells_nothing(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        assert caller.bounds == pytest.approx((0.0, 1.0))

    def test_nor_does_one_that_is_missing_for_longer_than_a_connection_lives_without(self) -> None:
        caller = Caller()
        caller.server.pong_received(FIRST, caller.now)
        caller.ping()
        caller.speak_for(10.1)
        assert caller.bounds == pytest.approx((0.0, 10.1))

    def test_it_counts_from_the_ping_and_not_from_the_beginning(self) -> None:
        caller = Caller()
        caller.server.pong_received(FIRST, caller.now)
        caller.speak_for(6.0)
        caller.ping()
        caller.speak_for(5.0)
        assert caller.bounds == pytest.approx((0.0, 6.0))

    def test_what_was_lost_with_the_connection_is_not_missing(self) -> None:
        """A server that died may have received more than it could say."""
        caller = Caller()
        caller.server.pong_received(FIRST, caller.now)
        caller.ping()
        caller.speak_for(1.0)
        assert FORMAT.seconds(caller.server.at_loss(caller.now)) == pytest.approx(1.0, abs=0.06)


class TestPings:
    def test_are_sent_among_the_audio_while_a_transcript_is_pending(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        assert caller.pings == []
        caller.sender.needs_position = True
        caller.speak_for(2.0)
        assert 7 <= len(caller.pings) <= 9
        assert len({ping.number for ping in caller.pings}) == len(caller.pings)

    def test_are_not_sent_without_end_where_nothing_is_answered(self) -> None:
        caller = Caller()
        caller.sender.needs_position = True
        caller.speak_for(60.0)
        assert len(caller.pings) < 64


class TestLoss:
    def test_a_server_that_was_sent_audio_a_round_trip_ago_had_received_some(self) -> None:
        caller = Caller()
        caller.round_trip(0.3)
        caller.speak_for(0.2)
        assert not caller.server.has_audio_at_loss(caller.now)
        caller.speak_for(0.4)
        assert caller.server.has_audio_at_loss(caller.now)

    def test_on_a_later_connection_only_its_own_audio_counts(self) -> None:
        caller = Caller()
        caller.speak_for(2.0)
        caller.sender.connection_lost()
        caller.sender.connection_opened(FORMAT.size(1.0), caller.now, hold_back=10.0)
        assert not caller.server.has_audio_at_loss(caller.now)

    def test_the_answers_that_a_connection_owed_are_not_those_of_the_next(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        number = caller.ping()
        caller.sender.connection_lost()
        caller.sender.connection_opened(FORMAT.size(1.0), caller.now)
        caller.speak_for(1.0)
        caller.server.pong_received(number, caller.now)
        assert caller.likely == pytest.approx(2.0, abs=0.06)


def test_a_ping_ahead_of_the_first_audio_is_answered_before_any() -> None:
    """It is sent when the connection opens, wherever its audio begins."""
    server = ServerPosition()
    number = server.ping_sent(100, 0.0)
    server.connection_opened(500, 0.0)
    server.audio_sent(900, 0.5)
    server.pong_received(number, 0.1)
    assert server.at_least == 500


def test_a_new_connection_begins_at_its_own_position_and_with_no_round_trip() -> None:
    server = ServerPosition()
    server.connection_opened(0, 0.0)
    server.pong_received(server.ping_sent(0, 0.0), 1.0)
    server.audio_sent(500, 1.0)
    server.connection_lost()
    server.connection_opened(300, 2.0)
    assert (server.likely(2.0), server.at_least) == (300, 300)
    server.audio_sent(400, 2.1)
    assert server.likely(2.1) == 400
