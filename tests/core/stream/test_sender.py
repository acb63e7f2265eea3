"""Audio leaves in order and at the right pace, and every byte is accounted for.

The bytes of these tests say which they are: each 32-bit sample is its own number.
"""

from __future__ import annotations

import logging
import math
from typing import cast

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.events import AudioGap
from cartesia_ink_plugins.core.options import Resilience
from cartesia_ink_plugins.core.stream.outbox import Action
from cartesia_ink_plugins.core.stream.sender import AudioSender
from cartesia_ink_plugins.core.tap import Moment, MomentKind, SentAudio, Span, Taps

LOG = logging.getLogger("test")
NUMBERED = AudioFormat(Encoding.PCM_S32LE, 1000)
RATE = NUMBERED.sample_rate
WIDTH = NUMBERED.sample_width
WITHOUT_AUDIO = frozenset(MomentKind) - {MomentKind.SENT}


class Recorder:
    """A tap that keeps every moment."""

    def __init__(self, kinds: frozenset[MomentKind] = frozenset(MomentKind)) -> None:
        self.moments: list[Moment] = []
        self.kinds = kinds

    def on(self, moment: Moment) -> None:
        self.moments.append(moment)


class Caller:
    """Hands in audio that is numbered, pumps when it is due, and reads what was sent."""

    def __init__(self, resilience: Resilience | None = None, *taps: Recorder) -> None:
        self.actions: list[Action] = []
        self.sender = AudioSender(
            NUMBERED, resilience or Resilience(), self.actions.append, Taps(taps, LOG)
        )
        self.spoken = 0
        self.now = 0.0
        self.is_open = False

    def speak(self, samples: int) -> None:
        numbers = np.arange(self.spoken, self.spoken + samples, dtype="<i4")
        self.spoken += samples
        self.sender.audio_received(numbers.tobytes())
        if self.is_open:
            self.sender.pump(self.now)

    def speak_for(self, seconds: float, chunk: float = 0.02) -> None:
        """Speak in real time."""
        for _ in range(round(seconds / chunk)):
            self.now += chunk
            self.speak(int(chunk * RATE))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.sender.next_at <= end:
            self.now = max(self.now, self.sender.next_at)
            self.sender.pump(self.now, flush=True)
        self.now = end

    def open(self, at: int = 0) -> None:
        """A connection is open and is sent audio from sample `at` on."""
        self.is_open = True
        self.sender.connection_opened(WIDTH * at, self.now)

    def lose(self) -> None:
        self.is_open = False
        self.sender.connection_lost()

    def block(self, *, is_blocked: bool = True) -> None:
        """The socket stops taking audio, or takes it again."""
        self.sender.blocked_since = self.now if is_blocked else None
        if self.is_open and not is_blocked:
            self.sender.pump(self.now)

    def sent(self) -> list[int]:
        """The numbers that were sent since the last call."""
        pcm = b"".join(action for action in self.actions if isinstance(action, bytes))
        self.actions.clear()
        return [int(number) for number in np.frombuffer(pcm, "<i4")]


def connected(resilience: Resilience | None = None, *taps: Recorder) -> Caller:
    caller = Caller(resilience, *taps)
    caller.open()
    assert caller.sent() == []
    return caller


class TestPace:
    def test_live_audio_leaves_at_once_and_as_it_came(self) -> None:
        caller = connected()
        for number in range(50):
            caller.now += 0.02
            caller.speak(20)
            assert caller.sent() == list(range(20 * number, 20 * number + 20))

    def test_audio_from_before_the_connection_opened_is_sent_first(self) -> None:
        caller = Caller()
        caller.speak_for(1.0)
        assert caller.sent() == []
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
        assert caller.sender.backlog == 0
        assert caller.sender.is_caught_up

    def test_live_audio_queues_behind_a_backlog(self) -> None:
        caller = Caller()
        caller.speak_for(4.0)
        caller.open()
        for _ in range(500):
            caller.wait(0.02)
            caller.speak(20)
        caller.wait(0.1)
        assert caller.sent() == list(range(caller.spoken))
        assert caller.sender.backlog == 0

    def test_large_pieces_are_cut_into_messages_of_a_tenth_of_a_second(self) -> None:
        caller = Caller()
        caller.speak(10_000)
        caller.open()
        caller.wait(20.0)
        sizes = [len(action) for action in caller.actions if isinstance(action, bytes)]
        assert max(sizes) <= NUMBERED.size(0.1)

    def test_nothing_is_due_once_the_connection_is_lost_or_the_session_is_over(self) -> None:
        for end in (Caller.lose, lambda caller: caller.sender.give_up_backlog()):
            caller = Caller()
            caller.speak(10_000)
            caller.open()
            assert caller.sender.next_at > caller.now
            end(caller)
            assert caller.sender.next_at == math.inf

    def test_only_a_replay_is_held_back(self) -> None:
        caller = Caller()
        caller.speak(100)
        caller.is_open = True
        caller.sender.connection_opened(0, caller.now, hold_back=0.5)
        assert caller.sent() == list(range(100))
        caller.lose()
        caller.sender.connection_opened(0, caller.now, hold_back=0.5)
        assert caller.sent() == []
        caller.wait(0.5)
        assert caller.sent() == list(range(100))

    @pytest.mark.parametrize("encoding", Encoding)
    def test_only_whole_samples_are_sent(self, encoding: Encoding) -> None:
        audio = AudioFormat(encoding, 11_025)
        actions: list[Action] = []
        sender = AudioSender(audio, Resilience(catch_up_rate=1.0), actions.append, Taps((), LOG))
        sender.audio_received(bytes(audio.size(1.5) + 7 * audio.sample_width))
        sender.connection_opened(0, 0.0)
        for step in range(200):
            sender.pump(step * 0.0137)
        pieces = [action for action in actions if isinstance(action, bytes)]
        assert len(pieces) > 10
        for piece in pieces:
            audio.validate(len(piece))

    @pytest.mark.parametrize("flush", [False, True])
    def test_a_single_sample_of_one_byte_is_sent_too(self, *, flush: bool) -> None:
        actions: list[Action] = []
        resilience = Resilience(min_message_seconds=0.1 if flush else 0.0)
        audio = AudioFormat(Encoding.PCM_MULAW, 8000)
        sender = AudioSender(audio, resilience, actions.append, Taps((), LOG))
        sender.connection_opened(0, 0.0)
        sender.audio_received(b"\xff")
        assert sender.backlog == 1
        sender.pump(0.02, flush=flush)
        assert actions == [b"\xff"]

    def test_all_audio_waits_until_there_is_a_connection(self) -> None:
        caller = Caller()
        caller.speak(100)
        assert caller.sender.backlog == 100 * WIDTH

    def test_inserted_silence_has_no_position(self) -> None:
        caller = connected()
        caller.speak_for(0.1)
        sent = caller.sender.sent
        caller.sender.send_silence(0.1, caller.now)
        assert caller.sender.sent == sent
        assert caller.actions[-1] == NUMBERED.silence(0.1)
        assert caller.sender.counts.silence == NUMBERED.size(0.1)

    def test_nothing_beyond_the_limit_is_sent_and_nothing_before_it_is_held_back(self) -> None:
        caller = connected(Resilience(min_message_seconds=0.1))
        caller.sender.limit = 30 * WIDTH
        caller.speak(100)
        assert caller.sent() == list(range(30))
        caller.sender.limit = None
        caller.speak(100)
        assert caller.sent() == list(range(30, 130))

    def test_small_pieces_can_be_gathered_into_messages_and_none_stays_behind(self) -> None:
        pcm16 = AudioFormat()
        actions: list[Action] = []
        resilience = Resilience(min_message_seconds=0.04)
        sender = AudioSender(pcm16, resilience, actions.append, Taps((), LOG))
        sender.connection_opened(0, 0.0)
        piece = bytes(pcm16.size(0.02))
        for number in range(5):
            sender.audio_received(piece)
            sender.pump(0.02 * number)
        assert actions == [piece * 2] * 2
        sender.pump(0.1, flush=True)
        assert actions[2:] == [piece]


class TestBackpressure:
    def test_a_blocked_socket_is_sent_nothing_and_nothing_is_lost(self) -> None:
        caller = connected()
        caller.block()
        caller.speak_for(2.0)
        assert caller.sent() == []
        caller.block(is_blocked=False)
        caller.wait(2.0)
        assert caller.sent() == list(range(2000))

    def test_a_new_connection_is_not_blocked(self) -> None:
        caller = connected()
        caller.block()
        caller.lose()
        caller.wait(0.1)
        caller.open()
        caller.sent()
        caller.speak(10)
        assert caller.sent() == list(range(10))


class TestOverflow:
    def test_what_the_buffer_cannot_hold_is_one_gap(self) -> None:
        caller = Caller(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(5.0)
        assert caller.sender.take_gap() == AudioGap(seconds=3.0, position=0.0)
        assert caller.sender.take_gap() is None
        caller.open()
        caller.wait(5.0)
        assert caller.sent() == list(range(3000, 5000))

    def test_a_gap_after_audio_that_was_sent_begins_where_that_ended(self) -> None:
        caller = connected(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(1.0)
        caller.lose()
        caller.speak_for(3.0)
        assert caller.sender.take_gap() == AudioGap(seconds=1.0, position=1.0)

    def test_two_losses_that_nobody_was_told_of_are_one_gap(self) -> None:
        caller = connected(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(1.0)
        caller.lose()
        caller.speak_for(2.5)
        caller.speak_for(0.5)
        assert caller.sender.counts.lost == NUMBERED.size(1.0)
        caller.sender.give_up_backlog()
        assert caller.sender.take_gap() == AudioGap(seconds=3.0, position=1.0)
        assert caller.sender.counts.lost == NUMBERED.size(3.0)

    def test_of_audio_that_was_sent_an_overflow_costs_nothing(self) -> None:
        caller = connected(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(5.0)
        assert caller.sent() == list(range(5000))
        assert caller.sender.take_gap() is None

    def test_what_an_open_connection_cannot_be_sent_any_more_is_skipped(self) -> None:
        caller = connected(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(1.0)
        caller.block()
        caller.speak_for(3.0)
        caller.block(is_blocked=False)
        caller.wait(2.0)
        assert caller.sent() == [*range(1000), *range(2000, 4000)]
        assert caller.sender.take_gap() == AudioGap(seconds=1.0, position=1.0)

    def test_audio_that_was_sent_before_is_no_gap(self) -> None:
        caller = connected(Resilience(replay_buffer_seconds=2.0))
        caller.speak_for(3.0)
        caller.lose()
        caller.wait(0.1)
        caller.open(at=0)
        assert caller.sender.take_gap() is None
        caller.sent()
        assert caller.sender.counts.replayed > 0

    def test_at_the_end_of_the_session_what_was_never_sent_is_a_gap(self) -> None:
        caller = Caller()
        caller.speak_for(1.5)
        caller.sender.give_up_backlog()
        assert caller.sender.take_gap() == AudioGap(seconds=1.5, position=0.0)

    def test_a_single_byte_is_a_gap_too(self) -> None:
        audio = AudioFormat(Encoding.PCM_MULAW, 8000)
        sender = AudioSender(audio, Resilience(), list[Action]().append, Taps((), LOG))
        sender.audio_received(b"\xff")
        sender.give_up_backlog()
        assert sender.take_gap() == AudioGap(seconds=1 / 8000, position=0.0)


class TestGivenUp:
    def test_audio_that_was_sent_in_vain_is_a_gap(self) -> None:
        caller = connected()
        caller.speak_for(2.0)
        assert caller.sender.give_up(NUMBERED.size(0.5), NUMBERED.size(1.5)) == NUMBERED.size(1.5)
        assert caller.sender.take_gap() == AudioGap(seconds=1.0, position=0.5)
        counts = caller.sender.counts
        assert (counts.sent, counts.lost) == (NUMBERED.size(1.0), NUMBERED.size(1.0))

    def test_none_is_given_up_twice(self) -> None:
        caller = connected()
        caller.speak_for(2.0)
        caller.sender.give_up(0, NUMBERED.size(1.0))
        assert caller.sender.take_gap() == AudioGap(seconds=1.0, position=0.0)
        assert caller.sender.give_up(NUMBERED.size(0.75), NUMBERED.size(1.0)) == NUMBERED.size(1.0)
        assert caller.sender.take_gap() is None
        caller.sender.give_up(NUMBERED.size(0.75), NUMBERED.size(1.5))
        assert caller.sender.take_gap() == AudioGap(seconds=0.5, position=1.0)
        assert caller.sender.counts.lost == NUMBERED.size(1.5)

    def test_nor_what_was_never_sent_or_is_settled(self) -> None:
        caller = connected()
        caller.speak_for(2.0)
        caller.sender.buffer.release(NUMBERED.size(1.5))
        assert caller.sender.give_up(0, NUMBERED.size(60.0)) == NUMBERED.size(2.0)
        assert caller.sender.take_gap() == AudioGap(seconds=0.5, position=1.5)


class TestTaps:
    def test_every_message_of_audio_is_a_moment_with_its_span(self) -> None:
        tap = Recorder()
        caller = connected(None, tap)
        caller.speak_for(0.1)
        caller.sender.send_silence(0.1, caller.now)
        *messages, silence = tap.moments
        assert {moment.kind for moment in messages} == {MomentKind.SENT}
        spans = [cast("SentAudio", moment.payload) for moment in messages]
        assert [span.data for span in spans] == caller.actions[:5]
        assert [span.start for span in spans] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
        assert [span.end for span in spans] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
        assert [span.seconds for span in spans] == pytest.approx([0.02] * 5)
        assert (silence.kind, silence.payload) == (MomentKind.SILENCE, Span(0.1, 0.1, 0.1))
        assert [moment.time for moment in tap.moments] == pytest.approx(
            [0.02, 0.04, 0.06, 0.08, 0.1, 0.1]
        )

    def test_a_replay_is_told_from_its_beginning_to_where_sending_had_been(self) -> None:
        tap = Recorder(WITHOUT_AUDIO)
        caller = connected(None, tap)
        caller.speak_for(1.0)
        caller.lose()
        caller.speak(30)
        caller.wait(0.5)
        caller.open(at=950)
        caller.speak_for(0.1)
        assert [(moment.kind, moment.payload) for moment in tap.moments] == [
            (MomentKind.REPLAY_BEGAN, Span(0.95, 1.0, 0.05)),
            (MomentKind.REPLAY_ENDED, Span(0.95, 1.0, 0.05)),
        ]
        counts = caller.sender.counts
        assert (counts.sent, counts.replayed) == (NUMBERED.size(1.13), NUMBERED.size(0.05))
        assert (counts.received, counts.connections) == (NUMBERED.size(1.13), 2)

    def test_for_a_tap_that_does_not_want_it_there_is_no_moment_a_message(self) -> None:
        tap = Recorder(WITHOUT_AUDIO)
        caller = connected(None, tap)
        caller.speak_for(0.1)
        caller.sender.send_silence(0.1, caller.now)
        assert [moment.kind for moment in tap.moments] == [MomentKind.SILENCE]


class EveryByte(RuleBasedStateMachine):
    """Whatever happens, each sample was sent, or is reported as lost, or still waits."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = Caller(Resilience(replay_buffer_seconds=3.0))
        self.sender = self.caller.sender
        self.arrived: set[int] = set()
        self.missing: set[int] = set()
        self.expected: int | None = None

    @rule(samples=st.integers(1, 1500))
    def speak(self, samples: int) -> None:
        self.caller.speak(samples)

    @rule(seconds=st.floats(0.001, 1.0))
    def time_passes(self, seconds: float) -> None:
        self.caller.wait(seconds)

    @precondition(lambda self: not self.caller.is_open)
    @rule(back=st.floats(0, 1))
    def open(self, back: float) -> None:
        self.collect()
        reached = self.sender.reached // WIDTH
        start = self.sender.buffer.start // WIDTH
        at = max(0, reached - int(back * max(0, reached - start)))
        self.expected = None
        self.caller.open(at)

    @precondition(lambda self: self.caller.is_open)
    @rule()
    def lose(self) -> None:
        self.collect()
        self.caller.lose()
        self.expected = None

    @precondition(lambda self: self.caller.is_open)
    @rule(is_blocked=st.booleans())
    def block(self, is_blocked: bool) -> None:
        self.caller.block(is_blocked=is_blocked)

    @rule(share=st.floats(0, 1))
    def settle(self, share: float) -> None:
        """Only what was sent can be settled."""
        start = self.sender.buffer.start
        self.sender.buffer.release(start + int(share * max(0, self.sender.sent - start)))

    @invariant()
    def every_sample_is_accounted_for(self) -> None:
        self.collect()
        counts = self.sender.counts
        pending = counts.received - counts.sent - counts.lost
        assert counts.received == self.caller.spoken * WIDTH
        assert counts.sent == len(self.arrived) * WIDTH
        assert counts.lost == len(self.missing) * WIDTH
        assert not self.arrived & self.missing
        waiting = set(range(self.caller.spoken)) - self.arrived - self.missing
        assert pending == len(waiting) * WIDTH
        assert waiting == set(range(self.sender.reached // WIDTH, self.caller.spoken))

    def collect(self) -> None:
        """Look at what was sent, in order, and at what was reported as lost."""
        for number in self.caller.sent():
            assert self.expected is None or number >= self.expected, "audio went backwards"
            skipped = range(self.expected if self.expected is not None else number, number)
            assert all(lost in self.missing or self._is_explained(lost) for lost in skipped)
            self.expected = number + 1
            self.arrived.add(number)
        gap = self.sender.take_gap()
        if gap is not None:
            first = round(gap.position * RATE)
            self.missing |= set(range(first, first + round(gap.seconds * RATE)))

    def _is_explained(self, number: int) -> bool:
        """What is skipped on a connection was sent before, or a gap is reported right after."""
        return number in self.arrived or number < self.sender.buffer.start // WIDTH


TestEveryByte = EveryByte.TestCase
