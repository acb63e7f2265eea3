"""How far the server had received the audio when it sent a message, from round-trip times."""

from __future__ import annotations

import logging

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.stream.server_position import ServerPosition
from cartesia_ink_plugins.core.tap import Taps

FORMAT = AudioFormat(Encoding.PCM_S32LE, 1000)


class Caller:
    """Sends audio over a connection that was opened at 0, and was sent a ping then."""

    def __init__(self) -> None:
        actions: list[object] = []
        self.sender = AudioSender(
            FORMAT, Resilience(), actions.append, Taps((), logging.getLogger("test"))
        )
        self.server = self.sender.server
        self.now = 0.0
        self.server.ping_sent(self.now)
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
    def likely(self) -> float:
        """In seconds of audio."""
        return FORMAT.seconds(self.server.likely(self.now))

    @property
    def at_least(self) -> float:
        """In seconds of audio."""
        return FORMAT.seconds(self.server.at_least(self.now))


def test_the_round_trip_tells_what_the_server_can_have_received() -> None:
    caller = Caller()
    caller.now += 0.3
    caller.server.pong_received(caller.now)
    caller.speak_for(2.0)
    assert caller.likely == pytest.approx(1.7, abs=0.1)


def test_audio_that_was_handed_in_late_and_at_one_time_can_have_been_received_too() -> None:
    """An application that was held up makes up for it; the server answers in between."""
    caller = Caller()
    caller.now += 0.001
    caller.server.pong_received(caller.now)
    caller.speak_for(1.0)
    caller.now += 0.2
    for _ in range(10):
        caller.now += 0.001
        caller.speak(0.02)
    assert caller.likely == pytest.approx(1.2, abs=0.07)


def test_a_ping_without_an_answer_tells_how_slow_the_network_may_be() -> None:
    caller = Caller()
    caller.speak_for(1.0)  # and since then nothing was answered
    assert caller.at_least < 0.1
    caller.server.pong_received(caller.now - 0.7)
    assert caller.at_least == pytest.approx(0.7, abs=0.1)


def test_the_shortest_recent_round_trip_is_the_likely_one_and_the_longest_the_safe_one() -> None:
    caller = Caller()
    caller.server.pong_received(0.1)
    for round_trip in (0.5, 0.3):
        caller.server.ping_sent(caller.now)
        caller.server.pong_received(caller.now + round_trip)
    caller.speak_for(2.0)
    assert caller.likely == pytest.approx(1.9, abs=0.06)
    assert caller.at_least == pytest.approx(1.5, abs=0.06)


def test_old_round_trips_are_forgotten() -> None:
    server = ServerPosition()
    server.connection_opened(0, 0.0)
    for round_trip in (0.9, *[0.1] * 5):
        server.ping_sent(0.0)
        server.pong_received(round_trip)
    for tenth in range(1, 21):
        server.audio_sent(tenth, tenth / 10)
    assert server.at_least(2.0) == 19


def test_a_pong_without_a_ping_tells_nothing() -> None:
    caller = Caller()
    caller.server.pong_received(0.1)
    caller.server.pong_received(5.0)
    caller.speak_for(1.0)
    assert caller.at_least == pytest.approx(0.9, abs=0.06)


def test_a_new_connection_begins_at_its_own_position_and_with_no_round_trip() -> None:
    server = ServerPosition()
    server.connection_opened(0, 0.0)
    server.ping_sent(0.0)
    server.pong_received(1.0)
    server.audio_sent(500, 1.0)
    server.connection_opened(300, 2.0)
    assert (server.likely(2.0), server.at_least(2.0)) == (300, 300)
    server.audio_sent(400, 2.1)
    assert server.likely(2.1) == 400
