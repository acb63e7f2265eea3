"""A session in hard times: odd audio, odd clocks, odd servers, all in virtual time."""

from __future__ import annotations

import math
import random
from functools import partial

import pytest

from cartesia_ink_plugins.core.audio import Encoding
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    Disconnected,
    Done,
    ErrorMessage,
    Final,
    FlushDone,
    Transcript,
    TurnEnd,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.manual.session import ManualSession
from cartesia_ink_plugins.core.options import ManualOptions, Resilience, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.wire import encode
from cartesia_ink_plugins.server.faults import HalfOpen, Outage, Reset
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.hand import connected, taken, words
from tests.core.manual_world import ManualWorld
from tests.core.world import Timed, World, check_order

SCRIPT = Script(
    Turn(["I'd like a table", 0.4, "for two people please"], after=1.5),
    Turn("tomorrow at seven", after=1.5),
)
LONG = Script(Turn(" ".join(f"word{number}" for number in range(60)), after=0.0))


def speak_oddly(world: World, seed: int) -> None:
    """Say the script in pieces of all sizes, from one sample to half a second; then finish."""
    rng = random.Random(seed)
    format = world.options.format
    pcm = world.script.audio(format) + format.silence(3.0)
    at = 0
    while at < len(pcm):
        size = rng.choice([1, 3, 7, 101, 160, 333, 1601, 4000]) * format.sample_width
        world.at(format.seconds(at + size), partial(world._speak, pcm[at : at + size]))
        at += size
    world.at(format.seconds(at) + 0.05, lambda: world.session.finish(world.now, 60.0))


class TestAudio:
    @pytest.mark.parametrize("encoding", list(Encoding))
    @pytest.mark.parametrize("at", [0.7, 1.9, 3.1])
    def test_pieces_of_any_size_in_any_encoding_survive_a_replay(
        self, encoding: Encoding, at: float
    ) -> None:
        options = TurnsOptions(encoding=encoding, sample_rate=8000)
        world = World(SCRIPT, [Timed(at, Reset())], options=options, audio=b"", tail=0.0)
        speak_oddly(world, seed=int(at * 10))
        world.run(finish=False)
        assert world.finals == SCRIPT.transcripts
        accounts = world.session.sender.counts
        assert accounts.received == accounts.sent

    def test_no_silence_is_put_between_long_pieces(self) -> None:
        world = World(SCRIPT, chunk=1.0).run()
        assert world.finals == SCRIPT.transcripts

    @pytest.mark.parametrize("at", [0.5, 2.0, 4.0, 6.0])
    def test_a_whole_call_in_one_piece_survives_a_replay(self, at: float) -> None:
        script = Script(*["I'd like a table for two people please."] * 4)
        world = World(script, [Timed(script.seconds + at, Reset())], chunk=60.0).run()
        check_order(world.events)
        assert world.finals == script.transcripts
        assert not [event for event in world.events if isinstance(event, AudioGap)]

    def test_an_outage_longer_than_the_replay_buffer_is_one_gap(self) -> None:
        world = ManualWorld(
            SCRIPT, resilience=Resilience(replay_buffer_seconds=1.0), away=(1.0, 4.0)
        )
        world.at(1.0, world.cut)
        world.run()
        gaps = [event for event in world.events if isinstance(event, AudioGap)]
        lost = world.session.sender.counts.lost
        assert [gap.seconds for gap in gaps] == [world.options.format.seconds(lost)]


class TestAMutedMicrophone:
    @pytest.mark.parametrize("muted", [4.0, 20.0, 170.0])
    def test_speech_after_it_is_no_stall(self, muted: float) -> None:
        """The server is given its time from when the speech was sent, not from its last event."""
        hand = connected()
        hand.receives(TurnStart(), TurnEnd("Hey"))
        hand.silence(1.0)
        hand.wait(muted)
        hand.speak(words(8))
        assert hand.dials == 0

    def test_but_a_server_that_does_not_transcribe_it_is_replaced(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.wait(20.0)
        hand.speak(words())
        hand.silence(6.0)
        assert hand.dials == 1


class TestTheClock:
    @pytest.mark.parametrize("jump", [10.0, 3600.0, 86400.0])
    def test_a_machine_that_slept_goes_on(self, jump: float) -> None:
        """The monotonic clock jumps in mid-turn: no burst of silence, and the turn goes on."""
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("Hey"))
        hand.now += jump
        hand.wait(0.1)
        assert len(hand.audio) <= hand.session.sender.format.size(1.0)
        if hand.dials:
            hand.open()
            hand.receives(TurnStart())
        hand.speak(words())
        hand.receives(TurnUpdate("Hey you"), TurnEnd("Hey you"))
        turns = [event for event in hand.events if not isinstance(event, Connected | Disconnected)]
        assert [type(event) for event in turns] == [TurnStart, TurnUpdate, TurnUpdate, TurnEnd]

    def test_audio_that_is_late_because_we_are_is_waited_for(self) -> None:
        """No silence comes between it and what was handed in before: it would break a word."""
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("Hey"))
        hand.speak(words())
        hand.now += 1.0
        hand.wait(0.0)
        hand.session.audio_received(words(5), hand.now)
        hand.speak(words())
        assert hand.session.sender.counts.silence == 0

    def test_but_a_loop_that_is_always_late_fills_a_muted_microphone_too(self) -> None:
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("Hey"))
        hand.speak(words())
        for _ in range(8):
            hand.now += 1.0
            hand.wait(0.0)
        assert hand.session.sender.counts.silence >= hand.session.sender.format.size(1.0)

    def test_and_what_died_meanwhile_is_replaced(self) -> None:
        hand = connected()
        hand.server_lives = False
        hand.now += 3600.0
        hand.silence(6.0)
        assert hand.dials == 1

    def test_speech_times_follow_a_clock_that_was_set(self) -> None:
        """As the driver sees with every new connection."""
        hand = connected()
        hand.session.set_epoch(5000.0)
        hand.silence(1.0)
        hand.speak(words())
        hand.receives(TurnStart())
        start = hand.events[-1]
        assert isinstance(start, TurnStart)
        assert start.timing is not None
        assert start.timing.speech_start == pytest.approx(5001.0, abs=0.1)


class TestFinishing:
    @pytest.mark.parametrize("before", [0.2, 3.0])
    def test_a_long_turn_whose_connection_dies_at_the_end_is_replayed_to_its_end(
        self, before: float
    ) -> None:
        world = World(LONG, [Timed(LONG.seconds - before, HalfOpen())], tail=0.1).run()
        assert world.finals == LONG.transcripts

    @pytest.mark.parametrize("patience", [1.0, 5.0])
    def test_its_timeout_is_a_hard_limit_whatever_the_server_does(self, patience: float) -> None:
        world = World(LONG, tail=0.1, patience=patience)
        for at in range(200):
            world.at(LONG.seconds + at, lambda: world._break(world.wire))
        world.run()
        assert world.now <= LONG.seconds + 0.15 + patience
        check_order(world.events)

    @pytest.mark.parametrize("away", [14.0, 40.0])
    def test_audio_that_cannot_be_sent_in_time_is_a_gap(self, away: float) -> None:
        script = Script(Turn("one two three four", after=away))
        world = World(script, [Timed(0.5, Outage(away + 60.0))], tail=0.0, patience=2.0).run()
        gap = sum(event.seconds for event in world.events if isinstance(event, AudioGap))
        counts = world.session.sender.counts
        assert world.now <= script.seconds + 0.1 + 2.0
        assert gap == pytest.approx(world.session.sender.format.seconds(counts.lost))
        assert counts.received == counts.sent + counts.lost

    def test_an_error_behind_the_close_is_a_loss_while_words_are_to_come(self) -> None:
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("Hey"))
        hand.session.finish(hand.now)
        hand.receives(ErrorMessage(500, "Internal server error."))
        hand.wait(0.1)
        assert hand.dials == 1

    @pytest.mark.parametrize("status", [400, 500])
    def test_and_nothing_when_there_are_none(self, status: int) -> None:
        hand = connected()
        hand.session.finish(hand.now)
        hand.receives(ErrorMessage(status, "No audio."))
        hand.close(1008)
        assert hand.session.is_closed
        assert hand.session.rejection is None
        assert hand.events == []


class TestSettings:
    @pytest.mark.parametrize("away", [0.5, 5.0])
    def test_thresholds_set_in_an_outage_are_asked_for_after_it(self, away: float) -> None:
        world = World(SCRIPT, [Timed(1.0, Outage(away))])
        changes = TurnSettings(turn_end_threshold=0.2)
        world.at(1.2, lambda: world.session.configure(changes, world.now))
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert "turn_end_threshold=0.2" in world.session.options.url()
        assert len(world.configs) <= 1

    def test_behind_the_close_nothing_is_sent(self) -> None:
        hand = connected()
        hand.session.finish(hand.now)
        hand.session.configure(TurnSettings(turn_end_threshold=0.2), hand.now)
        hand.session.update_keyterms(["Cartesia"], hand.now)
        hand.wait(1.0)
        assert hand.commands == [{"type": "close"}]
        assert hand.dials == 0

    def test_keyterms_of_a_manual_session_that_was_cut_meanwhile_need_no_other_one(self) -> None:
        world = ManualWorld(SCRIPT)
        world.at(1.0, lambda: world.session.update_keyterms(["table"], world.now))
        world.at(1.1, world.cut)
        world.run()
        assert world.finals == SCRIPT.transcripts
        assert len(world.dials) == 2


class TestMessagesOfTheOtherEndpoint:
    def test_are_counted_on_this_one(self) -> None:
        hand = connected()
        hand.receives(encode(Transcript("Hey")), encode(FlushDone()), encode(Done()))
        assert hand.events == []
        assert hand.session.violations == {
            "transcript on this endpoint": 1,
            "flush_done on this endpoint": 1,
            "done on this endpoint": 1,
        }

    def test_and_on_that_one(self) -> None:
        session = ManualSession(ManualOptions(), Resilience(), jitter=lambda: 0.5)
        session.start(0.0)
        session.connection_opened(0.1)
        taken(session.events)
        for message in (Connected(), TurnStart(), TurnEnd("Hey"), Done()):
            session.message_received(encode(message), 0.2)
        assert taken(session.events) == []
        assert session.violations == {
            "connected without a request": 1,
            "turn.start without a request": 1,
            "turn.end without a request": 1,
            "done without a request": 1,
        }


class TestRejections:
    def test_finals_that_are_waited_for_end_with_one_rejection(self) -> None:
        world = ManualWorld(SCRIPT, answers=False)
        error = encode(ErrorMessage(402, "No credit.", code="quota_exceeded"))
        world.at(SCRIPT.seconds - 0.5, lambda: world.session.message_received(error, world.now))
        world.run(finish=False)
        assert world.session.rejection is not None
        assert len([event for event in world.events if isinstance(event, Final)]) == 1


def test_a_session_that_is_rejected_in_a_replay_wants_to_be_called_no_more() -> None:
    """Its driver would call it in a loop without end."""
    hand = connected()
    hand.close(1011)
    hand.silence(5.0)  # waits for a connection
    hand.session.connection_opened(hand.now)
    assert hand.session.sender.next_at < math.inf  # the backlog is paced
    hand.receives(ErrorMessage(402, "No credit."))
    assert hand.session.is_closed
    assert hand.session.next_timeout == math.inf
