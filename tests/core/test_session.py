"""The promises of the core, one by one, in virtual time. `test_chaos` mixes them at random."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from cartesia_ink_plugins.core.audio import AudioFormat, Encoding
from cartesia_ink_plugins.core.errors import ClosedError, UsageError
from cartesia_ink_plugins.core.events import (
    AudioGap,
    Connected,
    ConnectFailed,
    Disconnected,
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
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop
from cartesia_ink_plugins.server.cues import Cue
from cartesia_ink_plugins.server.engine import Close
from cartesia_ink_plugins.server.faults import Action, HalfOpen, Outage, Reset, Say, Silence
from cartesia_ink_plugins.server.script import Script, Turn
from cartesia_ink_plugins.server.script_turns import ScriptTiming
from tests.core.hand import Hand, connected, started, words
from tests.core.world import Timed, Trouble, World, check_order, flapping, refusals, silences

PCM16 = AudioFormat()
SCRIPT = Script(
    "Hello there.",
    "I'd like a table ... for two people.",
    Turn("Yes.", eager=False),
    Turn("Tomorrow at seven please.", after=2.0),
)
DEAF = Script(cues=[Cue(1e9)])  # a server that connects and never says anything more
CLOSE = {"type": "close"}


def held(*faults: Trouble, script: Script = SCRIPT, **arguments: object) -> World:
    """Hold the conversation with faults; every word must come through."""
    world = World(script, faults, **arguments).run()  # type: ignore[arg-type]
    check_order(world.events)
    assert world.finals == script.transcripts
    assert world.session.is_closed
    accounts = world.session.sender.counts
    assert accounts.received == accounts.sent
    return world


def of(kind: type[Event], events: Sequence[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def delays(events: Sequence[Event]) -> list[float | None]:
    return [e.retry_in for e in events if isinstance(e, Disconnected | ConnectFailed)]


class TestStarting:
    def test_nothing_happens_before_the_start(self) -> None:
        hand = Hand()
        hand.wait(60.0)
        assert hand.actions == []

    def test_it_connects_at_once_and_waits_for_nothing(self) -> None:
        assert started().actions == [Connect()]

    def test_the_first_audio_starts_it_too(self) -> None:
        hand = Hand()
        hand.silence(0.1)
        assert hand.actions == [Connect()]

    @pytest.mark.parametrize(
        "fault",
        [Timed(0.0, Outage(3.0, -1)), Timed(0.0, Outage(3.0)), Timed(0.0, Outage(1.0, 503))],
    )
    def test_speech_during_the_connect_is_transcribed(self, fault: Trouble) -> None:
        held(fault)

    def test_audio_flows_before_connected_comes(self) -> None:
        hand = started()
        hand.session.connection_opened(hand.now, "request")
        hand.silence(0.5)
        assert hand.audio == PCM16.silence(0.5)
        assert hand.events == []

    def test_there_is_one_connected_event_for_each_connection(self) -> None:
        world = held(Timed(2.0, Reset()), Timed(5.0, Reset()))
        ids = [event.request_id for event in world.events if isinstance(event, Connected)]
        assert ids == ["request-1", "request-2", "request-3"]


class TestALostConnection:
    @pytest.mark.parametrize("start", range(10))
    def test_is_invisible_at_every_moment(self, start: int) -> None:
        for step in range(int(SCRIPT.seconds)):
            world = held(Timed(step + start / 10, Reset()))
            assert len(of(TurnStart, world.events)) == len(SCRIPT.turns)

    def test_the_turn_keeps_its_number_and_its_beginning(self) -> None:
        start, end = SCRIPT.spans[1]
        world = held(Timed((start + end) / 2, Reset()))
        stamps = [
            event.timing
            for event in world.events
            if isinstance(event, TurnStart | TurnUpdate | TurnEagerEnd | TurnResume | TurnEnd)
            and event.timing is not None
            and event.timing.turn == 2
        ]
        assert {stamp.turn for stamp in stamps} == {2}
        for stamp in stamps:
            assert stamp.speech_start == pytest.approx(1000.0 + start, abs=0.1)

    def test_is_replaced_at_once_with_an_event_that_has_the_reason(self) -> None:
        world = held(Timed(3.0, Reset()))
        assert world.dials == pytest.approx([0.0, 3.0], abs=0.05)
        (lost,) = of(Disconnected, world.events)
        assert lost == Disconnected("broken", 1006, 0.0)

    @staticmethod
    def replayed(after_the_pause: float) -> float:
        """Lose a turn of two parts in the second; return how many seconds are sent again."""
        table = "I'd like a table for two people tomorrow at seven"
        turn = Turn([table, 0.6, "outside please"], after=2.0)
        script = Script("Hello there.", turn, timing=ScriptTiming(resume_delay=0.15))
        begins = script.spans[1][1] - 0.48
        world = held(Timed(begins + after_the_pause, Reset()), script=script)
        return PCM16.seconds(world.session.sender.counts.replayed)

    def test_only_what_is_not_settled_is_sent_again(self) -> None:
        """From the pause at the eager end on, and not from the beginning of the turn."""
        assert 0.3 < self.replayed(after_the_pause=0.4) < 1.3

    def test_while_an_eager_end_is_valid_the_words_before_it_are_sent_again_too(self) -> None:
        """It need not have all of them: more may come in an update, or with the end."""
        assert self.replayed(after_the_pause=0.1) > 3.5

    def test_between_turns_next_to_nothing_is_sent_again(self) -> None:
        script = Script("Hello there.", Turn("Yes.", gap=20.0))
        world = held(Timed(15.0, Reset()), script=script)
        assert PCM16.seconds(world.session.sender.counts.replayed) < 1.0

    def test_speech_that_nobody_announced_is_sent_again(self) -> None:
        script = Script("Hello there.", Turn("Yes please.", gap=5.0, after=2.0))
        start, _ = script.spans[1]
        world = held(Timed(start - 1.0, Silence()), Timed(start + 0.4, Reset()), script=script)
        assert len(world.dials) == 2

    def test_a_turn_whose_end_silence_was_lost_ends_in_bounded_time(self) -> None:
        _, end = SCRIPT.spans[0]
        script = Script("Hello there.", Turn("I'd like a table.", after=30.0))
        _, end = script.spans[1]
        world = World(script, [Timed(end + 0.45, Outage(3600.0))], tail=0.0).run(
            finish=False, limit=40.0
        )
        assert world.finals == script.transcripts
        told = next(at for at, event in world.history if event == world.events[-1])
        last = max(at for at, event in world.history if isinstance(event, TurnEnd))
        assert last - end <= 7.0
        assert told >= last

    def test_many_in_a_row_are_no_different_from_one(self) -> None:
        held(*flapping(2.0, 8, 0.3))

    @pytest.mark.parametrize("encoding", Encoding)
    def test_in_all_six_encodings(self, encoding: Encoding) -> None:
        options = TurnsOptions(encoding=encoding, sample_rate=8000)
        held(Timed(2.5, Reset()), Timed(5.0, Outage(1.0)), options=options)


class TestReplay:
    def test_is_paced(self) -> None:
        hand = connected()
        hand.close(1006)
        hand.silence(20.0)
        hand.forget()
        hand.open()
        begun = hand.now
        while hand.session.sender.backlog:
            hand.silence(0.1)
            assert PCM16.seconds(len(hand.audio)) <= 0.2 + 2.0 * (hand.now - begun) + 0.01
        # At twice real time, 20 s and what is said meanwhile take 20 s.
        assert hand.now - begun == pytest.approx(20.0, abs=1.0)

    def test_is_slowed_down_after_server_errors_but_never_below_real_time(self) -> None:
        hand = connected(resilience=Resilience(catch_up_rate=3.0))
        rates = []
        for _ in range(3):
            hand.close(1006)
            hand.silence(5.0)
            hand.open()
            hand.receives(ErrorMessage(500, "overloaded"))
            rates.append(hand.session.sender.pacer.rate)
            hand.wait(1.0)
            hand.open()
        assert rates == [1.5, 1.0, 1.0]

    def test_live_audio_waits_behind_it_in_order(self) -> None:
        hand = connected()
        hand.close(1006)
        numbers = np.arange(8 * 16_000, dtype="<i2").tobytes()
        hand.speak(numbers[: PCM16.size(3.0)])
        hand.forget()
        hand.open()
        hand.speak(numbers[PCM16.size(3.0) :])
        assert hand.audio.endswith(numbers)


class TestDeathIsNoticed:
    @pytest.mark.parametrize("at", [0.9, 3.0, 4.7, 6.0])
    def test_a_half_open_connection_is_replaced_within_six_seconds(self, at: float) -> None:
        script = Script(*SCRIPT.turns, Turn("That's all.", gap=8.0, after=8.0))
        world = held(Timed(at, HalfOpen()), script=script)
        assert world.dials[1] - at <= 6.0

    @pytest.mark.parametrize("turn", range(4))
    def test_a_server_that_says_nothing_more_is_replaced_within_six_seconds(
        self, turn: int
    ) -> None:
        script = Script(*SCRIPT.turns, Turn("That's all.", gap=8.0, after=8.0))
        start, _ = script.spans[turn]
        world = held(Timed(start - 0.2, Silence()), script=script)
        assert world.dials[1] - start <= 6.0

    @pytest.mark.parametrize("turn", range(1, 4))
    @pytest.mark.parametrize("before", [-0.2, 0.25], ids=["of all of it", "of the rest"])
    def test_two_in_a_row_that_say_nothing_of_a_turn_do_not_lose_it(
        self, turn: int, before: float
    ) -> None:
        script = Script(*SCRIPT.turns[:3], Turn("Tomorrow at seven please.", after=20.0))
        start, _ = script.spans[turn]
        held(Timed(start + before, Silence()), Timed(start + 6.5, Silence()), script=script)

    @pytest.mark.parametrize("turn", range(4))
    @pytest.mark.parametrize("before", [-0.2, 0.25, 0.7])
    def test_nor_do_three(self, turn: int, before: float) -> None:
        start, _ = SCRIPT.spans[turn]
        world = World(SCRIPT, [*silences(start + before, 3)], tail=60.0).run()
        check_order(world.events)
        assert "".join(world.finals) == "".join(SCRIPT.transcripts)
        assert not [event for event in world.events if isinstance(event, AudioGap)]

    def test_nor_do_they_lose_the_speech_of_an_outage_before_them(self) -> None:
        """The second one is sent 20 s of the backlog in the 10 s that it is waited for."""
        script = Script("Hello there.", "Are you there?", Turn("Hello again.", gap=6.0, after=40.0))
        held(
            Timed(2.0, Outage(20.0)), Timed(22.2, Silence()), Timed(29.0, Silence()), script=script
        )

    @pytest.mark.parametrize("fault", [HalfOpen(), Silence()])
    @pytest.mark.parametrize("level", [0.08, 0.055])
    def test_a_whisper_without_an_event_is_replayed_with_the_words_that_follow(
        self, fault: HalfOpen | Silence, level: float
    ) -> None:
        """It is too soft to be told from the room, beside the voice that was heard before."""
        script = Script("Hello there.", Turn("I'd like to have a table please.", after=15.0))
        start, _ = script.spans[1]
        samples = PCM16.decode(script.audio()).copy()
        samples[int(start * 16_000) : int((start + 1.4) * 16_000)] *= np.float32(level)
        held(Timed(start - 0.3, fault), script=script, audio=PCM16.encode(samples))

    def test_with_three_the_turn_ends_with_the_words_that_are_known(self) -> None:
        start, _ = SCRIPT.spans[-1]
        mute = [Timed(start + at, Silence()) for at in (0.55, 6.0, 12.0)]
        world = World(SCRIPT, mute, tail=40.0).run()
        ends = [(at, event) for at, event in world.history if isinstance(event, TurnEnd)]
        at, end = ends[len(SCRIPT.turns) - 1]
        assert " Tomorrow at seven please.".startswith(end.transcript)
        assert end.transcript
        assert at - start <= 25.0
        # The rest is not lost: a server that takes it up makes a turn of it.
        assert "".join(world.finals) == "".join(SCRIPT.transcripts)

    def test_a_handshake_that_hangs_is_given_up(self) -> None:
        hand = started(resilience=Resilience(connect_timeout=3.0))
        hand.silence(3.1)
        assert hand.actions == [Connect(), Drop(), Connect()]
        assert hand.events == [
            ConnectFailed("no answer to the handshake", None, 0.0, timed_out=True)
        ]

    def test_without_a_caller_the_next_attempt_waits_for_one(self) -> None:
        hand = started(resilience=Resilience(connect_timeout=3.0))
        hand.wait(600.0)
        assert hand.actions == [Connect(), Drop()]
        hand.silence(0.1)
        assert hand.actions == [Connect(), Drop(), Connect()]

    def test_a_socket_that_takes_nothing_is_given_up(self) -> None:
        hand = connected()
        hand.session.writable(hand.now, is_writable=False)
        hand.silence(6.0)
        assert Drop() in hand.actions
        assert Connect() in hand.actions

    def test_silence_of_a_server_in_a_silent_room_is_no_death(self) -> None:
        world = World(DEAF, audio=PCM16.silence(120.0)).run()
        assert len(world.dials) == 1

    def test_a_noisy_room_does_not_cause_endless_reconnects(self) -> None:
        generator = np.random.default_rng(0)
        level = np.repeat(10 ** (generator.uniform(-60, -15, 600) / 20), 8000)
        noise = generator.standard_normal(len(level)) * level
        world = World(DEAF, audio=PCM16.encode(noise.astype(np.float32))).run()
        assert len(world.dials) <= 8
        late = [at for at in world.dials if at > 150.0]
        assert len(late) <= 2

    def test_a_turn_that_never_ends_in_silence_is_a_stall_too(self) -> None:
        hand = connected()
        hand.receives(TurnStart())
        hand.silence(30.0)
        assert hand.dials >= 1


class TestReconnecting:
    def test_at_once_then_later_and_later_for_ever(self) -> None:
        world = World(SCRIPT, [Timed(2.0, Outage(300.0))], tail=400.0).run(
            limit=320.0, finish=False
        )
        assert world.dials[1] == pytest.approx(2.0, abs=0.01)
        waits = np.diff(world.dials[1:])
        assert waits[0] <= 0.25 + 3 * world.latency
        assert max(waits) <= 5.0 + 3 * world.latency
        assert world.dials[-1] > 298.0
        assert not world.session.is_closed

    def test_only_a_permanent_rejection_ends_the_attempts(self) -> None:
        script = Script("Hello there.", Turn("Are you there?", gap=400.0, after=2.0))
        world = World(
            script, [Timed(2.0, Outage(300.0))], resilience=Resilience(replay_buffer_seconds=10.0)
        ).run()
        assert world.finals[-1] == " Are you there?"

    def test_a_handshake_is_no_progress(self) -> None:
        hand = started()
        for _ in range(6):
            hand.open()
            hand.close(1011)
            hand.silence(1.0)
        assert delays(hand.events)[-1] == pytest.approx(0.9, abs=0.2)

    def test_a_turn_event_is_progress(self) -> None:
        hand = started()
        for _ in range(4):
            hand.open()
            hand.receives(TurnStart(), TurnEnd("Hey"))
            hand.close(1011)
            hand.silence(0.1)
        assert delays(hand.events) == [0.0] * 4

    def test_so_are_ten_seconds_of_health(self) -> None:
        hand = started()
        for _ in range(4):
            hand.open()
            hand.silence(10.5)
            hand.close(1011)
            hand.silence(0.1)
        assert delays(hand.events) == [0.0] * 4

    @pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 1015])
    def test_after_any_close_that_was_not_asked_for(self, code: int) -> None:
        held(Timed(3.0, Close(code)))

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_after_any_error_of_the_server(self, status: int) -> None:
        world = held(Timed(3.0, Say(ErrorMessage(status, "the script says so"), Close(1011))))
        assert of(ErrorMessage, world.events) == [
            ErrorMessage(status, "the script says so", "Error")
        ]


class TestRejections:
    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
    def test_permanent_ones_end_the_session_and_nothing_connects_again(self, status: int) -> None:
        hand = started()
        hand.session.connection_rejected(status, hand.now, message="because", request_id="r-17")
        hand.wait(600.0)
        refusal = hand.session.rejection
        assert refusal is not None
        assert (refusal.status, str(refusal)) == (status, f"HTTP {status}: because")
        assert refusal.request_id == "r-17"
        assert not of(ConnectFailed, hand.events)
        assert hand.session.is_closed
        assert hand.dials == 1
        with pytest.raises(ClosedError):
            hand.session.audio_received(b"", hand.now)

    def test_inside_the_connection_are_as_good(self) -> None:
        hand = started()
        hand.session.connection_opened(hand.now, "upgrade")
        hand.receives(ErrorMessage(400, "No.", "Invalid model", "model_not_found", None, "r"))
        hand.close(1008)
        hand.wait(600.0)
        refusal = hand.session.rejection
        assert refusal is not None
        assert str(refusal) == "Invalid model: No."
        assert (refusal.status, refusal.code, refusal.request_id) == (400, "model_not_found", "r")
        assert hand.dials == 1

    def test_a_bare_1008_instead_of_connected_is_one(self) -> None:
        hand = started()
        hand.session.connection_opened(hand.now)
        hand.close(1008)
        assert hand.session.rejection is not None
        assert hand.session.is_closed

    def test_the_known_text_and_the_lost_audio_are_still_reported(self) -> None:
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("I'd like a table"))
        hand.close(1006)
        hand.silence(1.0)
        hand.session.connection_rejected(402, hand.now, is_api_error=True)
        hand.settle()
        *_, end, gap = hand.events
        assert isinstance(end, TurnEnd)
        assert end.transcript == "I'd like a table"
        assert gap == AudioGap(seconds=1.0, position=0.0)

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize("told", [0.5, 3.0])
    def test_temporary_ones_are_retried_after_retry_after(self, status: int, told: float) -> None:
        hand = started()
        hand.silence(0.1)
        hand.session.connection_rejected(status, hand.now, retry_after=told)
        hand.silence(told - 0.1)
        assert hand.dials == 1
        hand.silence(told + 1.0)
        assert hand.dials == 2
        assert hand.events[0] == ConnectFailed(f"HTTP {status}", status, delays(hand.events)[0])
        assert hand.session.rejection is None

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_bounded(self, status: int) -> None:
        """What is said until the server is asked again waits in the ledger."""
        world = held(*refusals(2.0, 1, status, 7200.0), tail=60.0)
        assert world.dials[2] - world.dials[1] <= 45.2
        failed = of(ConnectFailed, world.events)[0]
        assert isinstance(failed, ConnectFailed)
        assert failed.reason.startswith(f"HTTP {status} (Retry-After is 7200 s; retrying in ")

    @pytest.mark.parametrize("status", [429, 503])
    def test_no_word_is_lost_meanwhile(self, status: int) -> None:
        held(*refusals(2.0, 3, status, 1.0), tail=10.0)


class TestIdle:
    def test_a_close_for_idleness_is_no_error_and_causes_no_reconnect(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.wait(180.0)
        hand.close(1001, "Idle timeout")
        hand.wait(600.0)
        assert hand.dials == 0
        assert hand.events == [Disconnected("Idle timeout", 1001, None)]
        assert not hand.session.is_closed

    def test_the_next_audio_connects(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.wait(180.0)
        hand.close(1001)
        hand.wait(600.0)
        hand.forget()
        hand.speak(words())
        assert hand.actions == [Connect()]
        hand.open()
        hand.wait(1.0)
        assert hand.audio.endswith(words())

    def test_an_idle_session_does_nothing_at_all(self) -> None:
        hand = connected()
        hand.wait(180.0)
        hand.close(1001)
        hand.wait(1.0)
        assert hand.session.next_timeout == float("inf")

    def test_silence_keeps_the_connection_if_that_is_wanted(self) -> None:
        hand = connected(resilience=Resilience(idle="silence"))
        hand.silence(1.0)
        hand.forget()
        hand.wait(600.0)
        assert 0.5 <= PCM16.seconds(len(hand.audio)) <= 2.0
        assert set(hand.audio) == {0}

    def test_by_default_nothing_is_sent(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.forget()
        hand.wait(600.0)
        assert hand.audio == b""

    def test_finishing_an_idle_session_is_over_at_once(self) -> None:
        hand = connected()
        hand.wait(180.0)
        hand.close(1001)
        hand.session.finish(hand.now)
        assert hand.session.is_closed


class TestAudioThatStopsInMidTurn:
    def test_silence_in_real_time_lets_the_turn_end(self) -> None:
        script = Script(Turn("I'd like a table for two people", after=0.0))
        world = World(script, tail=0.0).run(finish=False, limit=20.0)
        assert world.finals == script.transcripts
        accounts = world.session.sender.counts
        assert 0.5 < PCM16.seconds(accounts.silence) < 3.0

    def test_silence_begins_at_once_when_the_application_says_that_audio_stopped(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.receives(TurnStart())
        hand.forget()
        hand.session.audio_stopped(hand.now)
        hand.wait(1.0)
        assert 0.9 <= PCM16.seconds(len(hand.audio)) <= 1.2
        hand.forget()
        hand.speak(words())
        assert hand.audio == words()

    def test_a_session_that_is_over_takes_no_such_call_and_has_nothing_due(self) -> None:
        hand = connected()
        hand.session.abort(hand.now)
        with pytest.raises(ClosedError, match="audio_stopped"):
            hand.session.audio_stopped(hand.now)
        assert hand.session.next_timeout == float("inf")

    def test_a_session_that_is_over_is_not_started_again(self) -> None:
        hand = Hand()
        hand.session.abort(hand.now)
        hand.session.start(hand.now)
        assert hand.settle().actions == []
        assert hand.session.next_timeout == float("inf")

    def test_a_session_that_is_finishing_takes_no_such_call(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.receives(TurnStart())
        hand.session.finish(hand.now)
        with pytest.raises(ClosedError, match="audio_stopped"):
            hand.session.audio_stopped(hand.now)

    @pytest.mark.parametrize("stall", [0.7, 1.9])
    def test_a_line_that_stalls_inside_a_word_gets_no_silence(self, stall: float) -> None:
        hand = connected()
        pcm = words(1)
        half = len(pcm) // 4 * 2
        hand.speak(pcm[:half])
        hand.receives(TurnStart())
        hand.wait(stall)
        hand.speak(pcm[half:])
        assert hand.audio == pcm
        assert hand.session.sender.counts.silence == 0

    @pytest.mark.parametrize("fault", [Reset(), HalfOpen(), Silence(), Outage(3.0)])
    @pytest.mark.parametrize("after", [-0.3, 0.02, 0.4, 0.8, 2.0])
    def test_no_word_is_lost_or_doubled_when_the_connection_is_lost_then(
        self, fault: Action, after: float
    ) -> None:
        script = Script("Hello there.", Turn("I'd like a table for two people", after=0.0))
        start, end = script.spans[1]
        for muted in np.arange(start + 0.4, end + 0.01, 0.3):
            pcm = script.audio()[: PCM16.size(muted)]
            expected = World(script, audio=pcm, tail=0.0).run(finish=False, limit=60.0).finals
            world = World(script, [Timed(muted + after, fault)], audio=pcm, tail=0.0)
            world.run(finish=False, limit=60.0)
            check_order(world.events)
            assert world.finals == expected

    def test_it_is_not_faster_than_real_time(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.receives(TurnStart())
        hand.forget()
        hand.wait(5.0)
        # It begins with the first housekeeping 2.1 s after the last audio.
        assert 2.3 <= PCM16.seconds(len(hand.audio)) <= 3.1

    def test_it_ends_when_the_turn_does(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.receives(TurnStart())
        hand.wait(2.0)
        hand.receives(TurnEnd("Hey"))
        hand.forget()
        hand.wait(60.0)
        assert hand.audio == b""

    def test_it_is_silence_in_companded_audio_too(self) -> None:
        hand = connected(TurnsOptions(encoding="pcm_alaw", sample_rate=8000))
        hand.silence(0.5)
        hand.receives(TurnStart())
        hand.forget()
        hand.wait(3.0)
        assert set(hand.audio) == {0xD5}

    def test_made_silence_is_counted_apart_and_never_replayed(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.receives(TurnStart())
        hand.wait(5.0)
        received = hand.session.sender.counts.received
        assert received == len(words())
        assert hand.session.sender.buffer.end == len(words())


def test_a_connection_on_which_the_server_reports_a_fault_is_aborted() -> None:
    hand = connected()
    hand.receives(ErrorMessage(500, "internal"))
    assert hand.actions[0] == Drop()


def test_a_connection_that_is_lost_says_nothing_more() -> None:
    hand = connected()
    hand.close(1006)
    hand.forget()
    hand.receives(TurnStart(), TurnUpdate("Hey"))
    hand.silence(0.1)
    hand.receives(TurnStart(), TurnUpdate("Hey"))
    assert of(TurnStart, hand.events) == of(TurnUpdate, hand.events) == []


class TestSettingsInMidSession:
    def test_thresholds_go_by_config_over_the_same_connection(self) -> None:
        hand = connected()
        hand.session.configure(TurnSettings(turn_eager_end_threshold=0.5), hand.now)
        hand.settle()
        assert hand.commands == [{"type": "config", "turn": {"eager_end_threshold": 0.5}}]
        assert hand.dials == 0
        assert hand.session.options.turn.turn_eager_end_threshold == 0.5

    def test_and_are_in_the_url_of_the_next_one(self) -> None:
        hand = connected()
        hand.session.configure(TurnSettings(turn_eager_end_threshold=0.5), hand.now)
        assert "turn_eager_end_threshold=0.5" in hand.session.options.url()

    def test_what_changes_nothing_is_not_sent(self) -> None:
        hand = connected()
        hand.session.configure(TurnSettings(), hand.now)
        assert hand.settle().commands == []

    def test_out_of_order_is_an_error_at_the_call_and_nothing_changes(self) -> None:
        hand = connected(TurnsOptions(turn=TurnSettings(turn_end_threshold=0.4)))
        with pytest.raises(UsageError, match=r"^turn_eager_end_threshold: "):
            hand.session.configure(TurnSettings(turn_eager_end_threshold=0.3), hand.now)
        assert hand.settle().commands == []
        assert hand.session.options.turn == TurnSettings(turn_end_threshold=0.4)

    def test_while_connecting_they_are_sent_as_soon_as_the_connection_is_open(self) -> None:
        hand = started()  # the URL is on its way
        hand.session.configure(TurnSettings(turn_end_threshold=0.2), hand.now)
        hand.open()
        assert hand.commands == [{"type": "config", "turn": {"end_threshold": 0.2}}]

    def test_what_the_server_rejects_is_reported_and_reverted(self) -> None:
        before = TurnSettings(turn_start_threshold=0.7)
        hand = connected(TurnsOptions(turn=before))
        hand.session.configure(TurnSettings(turn_start_threshold=0.95), hand.now)
        hand.silence(0.1)
        error = ErrorMessage(400, "Not between 0.5 and 0.9.", "Invalid turn settings")
        hand.receives(error)
        hand.close(1008)
        assert SettingsRejected(error, before) in hand.events
        assert hand.session.options.turn == before
        assert hand.session.rejection is None
        hand.silence(0.1)
        assert hand.dials == 1

    def test_so_is_what_the_next_connection_rejects(self) -> None:
        hand = connected()
        hand.close(1006)
        hand.silence(0.1)
        hand.close(1006)
        hand.session.configure(TurnSettings(turn_start_threshold=0.95), hand.now)
        hand.silence(8.0)
        hand.session.connection_opened(hand.now)
        hand.receives(ErrorMessage(400, "Not between 0.5 and 0.9.", "Invalid turn settings"))
        hand.close(1008)
        assert of(SettingsRejected, hand.events)
        assert hand.session.options.turn == TurnSettings()
        assert not hand.session.is_closed

    def test_an_error_long_after_a_change_is_not_about_it(self) -> None:
        hand = connected()
        hand.session.configure(TurnSettings(turn_start_threshold=0.7), hand.now)
        hand.silence(30.0)
        hand.receives(ErrorMessage(402, "No credit.", code="quota_exceeded"))
        assert hand.session.rejection is not None
        assert hand.session.rejection.code == "quota_exceeded"

    def test_a_fault_of_the_server_does_not_revert_them(self) -> None:
        hand = connected()
        hand.session.configure(TurnSettings(turn_eager_end_threshold=0.5), hand.now)
        hand.receives(ErrorMessage(500, "internal"))
        assert hand.session.options.turn.turn_eager_end_threshold == 0.5
        assert of(SettingsRejected, hand.events) == []


class TestKeyterms:
    def test_a_new_connection_between_turns(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.session.update_keyterms(["Cartesia"], hand.now)
        hand.silence(0.1)
        assert [a for a in hand.actions if not isinstance(a, bytes)] == [Drop(), Connect()]
        assert "keyterm=Cartesia" in hand.session.options.url()
        assert of(Disconnected, hand.events) == []

    def test_not_before_the_turn_is_over(self) -> None:
        hand = connected()
        hand.receives(TurnStart())
        hand.session.update_keyterms(["Cartesia"], hand.now)
        hand.silence(1.0)
        assert hand.dials == 0
        hand.receives(TurnEnd("Hey"))
        hand.silence(0.1)
        assert hand.dials == 1

    def test_not_while_somebody_has_begun_to_speak(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.speak(words())
        hand.session.update_keyterms(["Cartesia"], hand.now)
        hand.silence(0.1)
        assert hand.dials == 0

    def test_no_word_is_lost(self) -> None:
        def change(world: World) -> None:
            world.session.update_keyterms(["seven", "table"], world.now)

        for at in np.arange(0.2, SCRIPT.seconds, 0.7):
            world = World(SCRIPT)
            world.at(at, partial(change, world))
            world.run()
            check_order(world.events)
            assert world.finals == SCRIPT.transcripts
            assert len(world.dials) == 2

    def test_the_same_ones_are_no_change(self) -> None:
        hand = connected(TurnsOptions(keyterms=["a"]))
        hand.session.update_keyterms(["a"], hand.now)
        hand.silence(1.0)
        assert hand.dials == 0

    def test_a_connection_that_was_lost_meanwhile_has_them_already(self) -> None:
        hand = connected()
        hand.receives(TurnStart())
        hand.session.update_keyterms(["Cartesia"], hand.now)
        hand.close(1006)
        hand.silence(0.1)
        hand.open()
        hand.receives(TurnStart(), TurnEnd("Hey"))
        hand.silence(2.0)
        assert hand.dials == 1

    def test_too_many_are_an_error_at_the_call(self) -> None:
        hand = connected()
        with pytest.raises(UsageError, match=r"^keyterms: "):
            hand.session.update_keyterms(["a"] * 101, hand.now)
        assert hand.session.options.keyterms == ()


class TestFinishing:
    def test_close_is_sent_after_the_last_audio(self) -> None:
        hand = connected()
        hand.speak(words())
        hand.session.finish(hand.now)
        hand.settle()
        assert hand.actions[-1] == '{"type":"close"}'
        assert hand.audio == words()

    def test_everything_comes_until_the_socket_closes(self) -> None:
        hand = connected()
        hand.session.finish(hand.now)
        hand.receives(TurnStart(), TurnEnd("Hey"))
        hand.close(1000)
        assert [type(event) for event in hand.events] == [TurnStart, TurnEnd]
        assert hand.session.is_closed

    def test_audio_afterwards_is_an_error(self) -> None:
        hand = connected()
        hand.session.finish(hand.now)
        with pytest.raises(ClosedError, match=r"^send_audio: "):
            hand.session.audio_received(b"\0\0", hand.now)

    def test_a_close_that_is_ignored_takes_bounded_time_and_no_word(self) -> None:
        hand = connected(resilience=Resilience(drain_timeout=2.0))
        hand.receives(TurnStart(), TurnUpdate("Hey you"))
        hand.session.finish(hand.now)
        hand.wait(1.9)
        assert not hand.session.is_closed
        hand.wait(0.2)
        assert hand.session.is_closed
        end = hand.events[-1]
        assert isinstance(end, TurnEnd)
        assert end.transcript == "Hey you"
        assert hand.actions[-1] == Drop()

    @pytest.mark.parametrize(
        "fault",
        [
            Timed(3.0, Outage(60.0)),
            Timed(3.0, Outage(60.0, -1)),
            Timed(3.0, HalfOpen()),
            Timed(3.0, Silence()),
        ],
    )
    def test_it_ends_in_time_whatever_the_network_does(self, fault: Trouble) -> None:
        script = Script(Turn("I'd like a table for two people please", after=0.0))
        world = World(script, [fault], tail=0.5, patience=5.0).run()
        finished = script.seconds + 0.5
        assert world.session.is_closed
        assert world.now - finished <= 5.1
        check_order(world.events)

    def test_a_backlog_is_given_the_time_it_needs(self) -> None:
        script = Script("Hello there.", "I'd like a table.", "Tomorrow at seven please.")
        world = World(script, [Timed(0.0, Outage(script.seconds + 2.0))], tail=0.1).run()
        assert world.finals == script.transcripts

    def test_a_loss_while_draining_reconnects(self) -> None:
        script = Script(Turn("I'd like a table for two people please", after=0.0))
        world = World(script, [Timed(script.seconds + 0.1, Reset())], tail=0.05).run()
        assert world.finals == script.transcripts

    def test_its_own_timeout_counts(self) -> None:
        hand = connected()
        hand.receives(TurnStart(), TurnUpdate("Hey"))
        hand.session.finish(hand.now, 0.5)
        hand.wait(0.6)
        assert hand.session.is_closed

    def test_twice_is_once(self) -> None:
        hand = connected()
        hand.session.finish(hand.now)
        hand.session.finish(hand.now)
        assert hand.settle().commands == [CLOSE]

    def test_aborting_is_at_once_and_accounts_for_what_was_not_sent(self) -> None:
        hand = connected()
        hand.close(1006)
        hand.silence(1.0)
        hand.session.abort(hand.now)
        hand.session.abort(hand.now)
        hand.settle()
        assert hand.session.is_closed
        assert hand.events[-1] == AudioGap(seconds=1.0, position=0.0)
        assert hand.session.next_timeout == float("inf")


class TestAudioIsAccountedFor:
    def test_what_the_replay_buffer_cannot_hold_is_reported_and_counted(self) -> None:
        script = Script("Hello there.", Turn("Are you there?", gap=30.0, after=2.0))
        world = World(
            script, [Timed(3.0, Outage(19.9))], resilience=Resilience(replay_buffer_seconds=5.0)
        ).run()
        gaps = [event for event in world.events if isinstance(event, AudioGap)]
        accounts = world.session.sender.counts
        assert len(gaps) == 1
        assert gaps[0].position == pytest.approx(3.0, abs=0.1)
        assert gaps[0].seconds == pytest.approx(15.0, abs=0.5)
        assert PCM16.seconds(accounts.lost) == pytest.approx(gaps[0].seconds)
        assert accounts.received == accounts.sent + accounts.lost
        assert world.finals == script.transcripts

    def test_a_gap_on_an_open_connection_is_reported_while_it_lasts(self) -> None:
        hand = connected(resilience=Resilience(replay_buffer_seconds=2.0, catch_up_rate=1.0))
        hand.session.writable(hand.now, is_writable=False)
        hand.silence(4.0)
        assert of(AudioGap, hand.events)

    def test_memory_is_bounded(self) -> None:
        world = World(
            Script(Turn("word", after=60.0)),
            [Timed(1.0, Outage(1000.0))],
            resilience=Resilience(replay_buffer_seconds=5.0),
        ).run(finish=False, limit=60.0)
        assert world.largest_buffer <= PCM16.size(5.1)

    @pytest.mark.parametrize("size", [1, 3, 321])
    def test_half_samples_are_an_error_at_the_call(self, size: int) -> None:
        hand = connected()
        with pytest.raises(UsageError, match=r"^pcm: "):
            hand.session.audio_received(bytes(size), hand.now)
        assert hand.session.sender.counts.received == 0

    def test_no_audio_is_fine(self) -> None:
        hand = connected()
        hand.session.audio_received(b"", hand.now)
        assert hand.settle().actions == []


class TestWhatTheServerShouldNotSay:
    NONSENSE = (
        '{"type":"turn.end","transcript":["secret words"]}',
        '"secret words"',
        b"secret words",
        '{"type":"secret words"}',
        '{"type":"turn.resume"}',
        '{"type":"turn.end","transcript":""}',
    )

    def test_is_survived_and_counted(self) -> None:
        hand = connected()
        hand.receives(*self.NONSENSE)
        hand.receives(TurnStart(), TurnEnd("Hey"))
        assert [type(event) for event in hand.events] == [TurnStart, TurnEnd]
        assert sum(hand.session.violations.values()) == len(self.NONSENSE)

    def test_is_logged_once_for_each_kind_and_never_quoted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        hand = connected()
        hand.receives(*self.NONSENSE)
        once = len(caplog.records)
        for _ in range(20):
            hand.receives(*self.NONSENSE)
        assert len(caplog.records) == once
        assert "secret" not in caplog.text

    def test_words_stand_in_no_log_line_at_info(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        held(
            Timed(2.5, Reset()),
            Timed(4.0, Say(ErrorMessage(500, "the script says so"), Close(1011))),
            Timed(6.0, Silence()),
            tail=10.0,
        )
        for word in ("table", "Hello", "seven"):
            assert word not in caplog.text

    def test_text_is_verbatim(self) -> None:
        hand = connected()
        texts = [" Ünï  códe\u00a0👋 ", "\ttab", " . "]
        for text in texts:
            hand.receives(TurnStart(), TurnUpdate(text), TurnEnd(text))
        ends = [event.transcript for event in hand.events if isinstance(event, TurnEnd)]
        assert ends == texts


class TestTime:
    def test_every_turn_event_has_its_place_and_its_times(self) -> None:
        world = held()
        for at, event in world.history:
            if not isinstance(event, TurnStart | TurnUpdate | TurnEagerEnd | TurnEnd):
                continue
            assert event.timing is not None
            start, end = SCRIPT.spans[event.timing.turn - 1]
            assert event.timing.position == pytest.approx(at, abs=0.2)
            assert event.timing.speech_start == pytest.approx(1000.0 + start, abs=0.05)
            if isinstance(event, TurnEnd):
                assert event.timing.speech_end == pytest.approx(1000.0 + end, abs=0.05)

    def test_what_is_not_known_is_none(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.receives(TurnStart(), TurnEnd("Hey"))
        for event in hand.events:
            assert isinstance(event, TurnStart | TurnEnd)
            assert event.timing is not None
            assert event.timing.speech_start is None
            assert event.timing.speech_end is None

    def test_the_end_of_speech_before_a_muted_microphone_is_when_it_was(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.speak(words(6))
        muted = hand.now
        hand.receives(TurnStart())
        hand.wait(3.0)
        hand.silence(0.5)
        hand.receives(TurnEnd("Hey"))
        end = hand.events[-1]
        assert isinstance(end, TurnEnd)
        assert end.timing is not None
        assert end.timing.speech_end == pytest.approx(1000.0 + muted, abs=0.1)

    def test_audio_that_the_pace_held_back_is_sent_in_time(self) -> None:
        hand = connected()
        hand.session.audio_received(hand.session.sender.format.silence(4.0), hand.now)
        assert hand.session.sender.backlog > 0
        assert hand.session.next_timeout == hand.session.sender.next_at
        hand.wait(2.1)
        assert hand.session.sender.backlog == 0

    def test_housekeeping_that_is_nearly_due_is_done_with_a_frame(self) -> None:
        hand = connected()
        hand.silence(0.2)
        due = hand.session._housekeeping.at
        hand.now = due - 0.05
        hand.session.audio_received(bytes(640), hand.now)
        assert hand.session._housekeeping.at == pytest.approx(hand.now + 0.5)
