"""One way to the server: it dials, keeps the pace, notices death, and every byte is accounted for.

The bytes of these tests say which they are: each 32-bit sample is its own number.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.core.link import Dial, Drop, Link, LinkState, Ping
from cartesia_ink_plugins.core.options import Resilience

NUMBERED = AudioFormat(Encoding.PCM_S32LE, 1000)
RATE = NUMBERED.sample_rate


class Caller:
    """Hands in audio that is numbered, and reads what was sent."""

    def __init__(self, resilience: Resilience | None = None) -> None:
        self.link = Link(NUMBERED, resilience or Resilience(), lambda: 0.5)
        self.spoken = 0
        self.now = 0.0
        self.server_lives = True

    def speak(self, samples: int) -> None:
        numbers = np.arange(self.spoken, self.spoken + samples, dtype="<i4")
        self.spoken += samples
        self.link.take(numbers.tobytes(), self.now)

    def speak_for(self, seconds: float, chunk: float = 0.02) -> None:
        """Speak in real time."""
        for _ in range(round(seconds / chunk)):
            self.now += chunk
            self.speak(int(chunk * RATE))

    def wait(self, seconds: float) -> str | None:
        """Let time pass; return why the connection had to be given up, if it had to."""
        end = self.now + seconds
        while self.link.deadline() <= end:
            self.now = max(self.now, self.link.deadline())
            reason = self.link.tick(self.now)
            if reason:
                return reason
            if self.server_lives and Ping() in self.link.actions:
                self.link.actions.remove(Ping())
                self.link.pong(self.now)
        self.now = end
        return None

    def open(self, at: int = 0) -> None:
        """Take up the attempt, from sample `at` on."""
        self.link.opened(NUMBERED.sample_width * at, self.now)

    def sent(self) -> list[int]:
        """The numbers that were sent since this was last asked."""
        actions, self.link.actions = self.link.actions, []
        pcm = b"".join(action for action in actions if isinstance(action, bytes))
        return [int(number) for number in np.frombuffer(pcm, "<i4")]


def connected(resilience: Resilience | None = None) -> Caller:
    caller = Caller(resilience)
    caller.link.dial(caller.now)
    caller.open()
    caller.sent()
    return caller


class TestDialling:
    def test_the_first_audio_dials(self) -> None:
        caller = Caller()
        assert caller.link.actions == []
        caller.speak(10)
        assert caller.link.actions == [Dial()]

    def test_there_is_one_attempt_at_a_time(self) -> None:
        caller = Caller()
        for _ in range(5):
            caller.speak(10)
            caller.link.dial(caller.now)
        assert caller.link.actions == [Dial()]

    def test_an_attempt_that_hangs_is_given_up(self) -> None:
        caller = Caller(Resilience(dial_timeout=3.0))
        caller.speak(10)
        assert caller.wait(2.9) is None
        assert caller.wait(0.2) == "no answer to the handshake"

    def test_after_a_loss_it_dials_again_when_the_delay_is_over(self) -> None:
        caller = connected()
        caller.link.lost(0.25, caller.now)
        caller.speak(10)
        assert caller.link.state is LinkState.WAITING
        caller.wait(0.24)
        assert Dial() not in caller.link.actions
        caller.wait(0.02)
        assert caller.link.actions == [Dial()]

    def test_without_a_delay_it_rests_until_there_is_audio(self) -> None:
        caller = connected()
        caller.link.lost(None, caller.now)
        caller.wait(1000.0)
        assert caller.link.actions == []
        caller.speak(10)
        assert caller.link.actions == [Dial()]

    def test_once_closed_nothing_is_sent_any_more(self) -> None:
        caller = connected()
        caller.link.close()
        assert caller.link.actions == [Drop()]
        caller.wait(100.0)
        caller.link.dial(caller.now)
        assert caller.link.actions == [Drop()]
        assert caller.link.deadline() == float("inf")


class TestPace:
    def test_live_audio_leaves_at_once_and_as_it_came(self) -> None:
        caller = connected()
        for number in range(50):
            caller.now += 0.02
            caller.speak(20)
            assert caller.sent() == list(range(20 * number, 20 * number + 20))

    def test_what_was_said_before_the_connection_opened_comes_first(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        caller.open()
        caller.wait(2.0)
        assert caller.sent() == list(range(1000))

    @pytest.mark.parametrize("rate", [1.0, 2.0, 3.0])
    def test_a_backlog_is_spread_out(self, rate: float) -> None:
        caller = Caller(Resilience(catch_up_rate=rate))
        caller.speak(10_000)
        caller.open()
        assert len(caller.sent()) <= 0.2 * RATE
        caller.wait(1.0)
        assert len(caller.sent()) <= rate * RATE * 1.0 + 1
        caller.wait(10 / rate)
        assert caller.link.backlog == 0

    def test_live_audio_queues_behind_a_backlog(self) -> None:
        caller = Caller()
        caller.speak_for(4.0)
        caller.open()
        for _ in range(500):
            caller.wait(0.02)
            caller.speak(20)
        caller.wait(0.1)
        assert caller.sent() == list(range(caller.spoken))
        assert caller.link.backlog == 0

    def test_large_pieces_are_cut_and_small_ones_are_not_held_up(self) -> None:
        caller = Caller()
        caller.speak(10_000)
        caller.open()
        caller.wait(20.0)
        pieces = [len(a) for a in caller.link.actions if isinstance(a, bytes)]
        assert max(pieces) <= NUMBERED.size(0.1)

    @pytest.mark.parametrize("encoding", Encoding)
    def test_only_whole_samples_are_sent(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding, 11_025)
        link = Link(audio, Resilience(catch_up_rate=1.0), lambda: 0.5)
        link.take(bytes(audio.size(1.5) + 7 * audio.sample_width), 0.0)
        link.opened(0, 0.0)
        for step in range(200):
            link.pump(step * 0.0137)
        pieces = [action for action in link.actions if isinstance(action, bytes)]
        assert len(pieces) > 10
        for piece in pieces:
            audio.check(len(piece))

    def test_made_silence_has_no_position(self) -> None:
        caller = connected()
        caller.speak_for(0.1)
        sent = caller.link.sent
        caller.link.send_silence(0.1)
        assert caller.link.sent == sent
        assert caller.link.accounts.silence == NUMBERED.size(0.1)


class TestBackpressure:
    def test_a_blocked_socket_is_sent_nothing_and_nothing_is_lost(self) -> None:
        caller = connected()
        caller.link.block(caller.now)
        caller.speak_for(2.0)
        assert caller.sent() == []
        caller.link.unblock(caller.now)
        caller.wait(2.0)
        assert caller.sent() == list(range(2000))

    def test_a_socket_that_stays_blocked_is_given_up(self) -> None:
        caller = connected()
        caller.link.block(caller.now)
        assert caller.wait(6.0) == "the server takes no audio"

    def test_a_new_connection_is_not_blocked(self) -> None:
        caller = connected()
        caller.link.block(caller.now)
        caller.link.lost(0.0, caller.now)
        caller.wait(0.1)
        caller.open()
        caller.sent()
        caller.speak(10)
        assert caller.sent() == list(range(10))


class TestDeath:
    def test_pings_that_are_not_answered_within_six_seconds_are_death(self) -> None:
        caller = connected()
        caller.server_lives = False
        assert caller.wait(6.0) == "no answer to a ping"

    def test_pings_that_are_answered_are_life(self) -> None:
        caller = connected()
        assert caller.wait(60.0) is None

    def test_the_round_trip_tells_what_the_server_can_have_heard(self) -> None:
        caller = connected()
        caller.now += 0.3
        caller.link.pong(caller.now)  # the ping was sent when the connection opened
        caller.speak_for(2.0)
        heard = NUMBERED.seconds(caller.link.heard_by_server(caller.now))
        assert heard == pytest.approx(1.7, abs=0.1)

    def test_what_was_handed_in_late_and_at_one_time_can_have_been_heard_too(self) -> None:
        """An application that was held up makes up for it; the server answers in between."""
        caller = connected()
        caller.now += 0.001
        caller.link.pong(caller.now)
        caller.speak_for(1.0)
        caller.now += 0.2
        for _ in range(10):
            caller.now += 0.001
            caller.speak(20)
        heard = NUMBERED.seconds(caller.link.heard_by_server(caller.now))
        assert heard == pytest.approx(1.2, abs=0.07)

    def test_a_ping_that_waits_for_its_answer_tells_how_slow_the_way_may_be(self) -> None:
        caller = connected()
        caller.speak_for(1.0)  # and since then nothing was answered
        assert NUMBERED.seconds(caller.link.heard_at_least(caller.now)) < 0.1
        caller.link.pong(caller.now - 0.7)
        least = NUMBERED.seconds(caller.link.heard_at_least(caller.now))
        assert least == pytest.approx(0.7, abs=0.1)


class TestOverflow:
    def test_what_the_ledger_cannot_hold_is_a_gap_told_once(self) -> None:
        caller = Caller(Resilience(ledger_seconds=2.0))
        caller.speak_for(5.0)
        assert caller.link.take_gap() == [AudioGap(seconds=3.0, position=0.0)]
        assert caller.link.take_gap() == []
        caller.open()
        caller.wait(5.0)
        assert caller.sent() == list(range(3000, 5000))

    def test_a_gap_after_audio_that_was_sent_begins_where_that_ended(self) -> None:
        caller = connected(Resilience(ledger_seconds=2.0))
        caller.speak_for(1.0)
        caller.link.lost(100.0, caller.now)
        caller.speak_for(3.0)
        assert caller.link.take_gap() == [AudioGap(seconds=1.0, position=1.0)]

    def test_audio_that_was_sent_before_is_no_gap(self) -> None:
        caller = connected(Resilience(ledger_seconds=2.0))
        caller.speak_for(3.0)
        caller.link.lost(0.0, caller.now)
        caller.wait(0.1)
        caller.open(at=0)
        assert caller.link.take_gap() == []
        caller.sent()
        assert caller.link.accounts.replayed > 0

    def test_at_the_very_end_what_was_never_sent_is_a_gap(self) -> None:
        caller = Caller()
        caller.speak_for(1.5)
        caller.link.give_up_backlog()
        assert caller.link.take_gap() == [AudioGap(seconds=1.5, position=0.0)]


class EveryByte(RuleBasedStateMachine):
    """Whatever happens, each sample was sent, or is told as lost, or still waits."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = Caller(Resilience(ledger_seconds=3.0))
        self.link = self.caller.link
        self.arrived: set[int] = set()
        self.missing: set[int] = set()
        self.expected: int | None = None

    @rule(samples=st.integers(1, 1500))
    def speak(self, samples: int) -> None:
        self.caller.speak(samples)

    @rule(seconds=st.floats(0.001, 1.0))
    def time_passes(self, seconds: float) -> None:
        if self.caller.wait(seconds):
            self.link.lost(0.1, self.caller.now)
            self.expected = None

    @precondition(lambda self: self.link.state is LinkState.DIALLING)
    @rule(back=st.floats(0, 1))
    def open(self, back: float) -> None:
        self.collect()
        width = NUMBERED.sample_width
        reached = self.link.reached // width
        start = self.link.ledger.start // width
        at = max(0, reached - int(back * max(0, reached - start)))
        self.expected = None
        self.caller.open(at)

    @precondition(lambda self: self.link.state is LinkState.OPEN)
    @rule(delay=st.none() | st.floats(0, 0.5))
    def lose(self, delay: float | None) -> None:
        self.collect()
        self.link.lost(delay, self.caller.now)
        self.expected = None

    @precondition(lambda self: self.link.state is LinkState.OPEN)
    @rule(blocked=st.booleans())
    def block(self, blocked: bool) -> None:
        if blocked:
            self.link.block(self.caller.now)
        else:
            self.link.unblock(self.caller.now)

    @rule(share=st.floats(0, 1))
    def settle(self, share: float) -> None:
        """Only what was sent can be settled."""
        start = self.link.ledger.start
        self.link.ledger.settle(start + int(share * max(0, self.link.sent - start)))

    @invariant()
    def every_sample_is_accounted_for(self) -> None:
        self.collect()
        width, accounts = NUMBERED.sample_width, self.link.accounts
        pending = accounts.received - accounts.sent - accounts.lost
        assert accounts.received == self.caller.spoken * width
        assert accounts.sent == len(self.arrived) * width
        assert accounts.lost == len(self.missing) * width
        assert not self.arrived & self.missing
        waiting = set(range(self.caller.spoken)) - self.arrived - self.missing
        assert pending == len(waiting) * width
        assert waiting == set(range(self.link.reached // width, self.caller.spoken))

    def collect(self) -> None:
        """Look at what was sent, in order, and at what was told as lost."""
        for number in self.caller.sent():
            assert self.expected is None or number >= self.expected, "audio went backwards"
            skipped = range(self.expected if self.expected is not None else number, number)
            assert all(lost in self.missing or self._will_be(lost) for lost in skipped)
            self.expected = number + 1
            self.arrived.add(number)
        for gap in self.link.take_gap():
            first = round(gap.position * RATE)
            self.missing |= set(range(first, first + round(gap.seconds * RATE)))

    def _will_be(self, number: int) -> bool:
        """What is skipped on a connection was heard before, or is told as a gap right after."""
        return number in self.arrived or number < self.link.ledger.start // NUMBERED.sample_width


TestEveryByte = EveryByte.TestCase


def test_small_pieces_can_be_gathered_into_messages_and_none_stays_behind() -> None:
    pcm16 = AudioFormat()
    link = Link(pcm16, Resilience(coalesce=0.04), lambda: 0.0)
    link.dial(0.0)
    link.opened(0, 0.0)
    link.actions.clear()
    piece = bytes(pcm16.size(0.02))
    for number in range(5):
        link.take(piece, 0.02 * number)
    assert [action for action in link.actions if isinstance(action, bytes)] == [piece * 2] * 2
    link.flush(0.1)
    assert link.actions[-1] == piece
