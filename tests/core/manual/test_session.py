"""What a manual session does on each input, moment by moment: the test is network and clock."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import (
    Connected,
    ConnectFailed,
    Done,
    Final,
    FlushDone,
    Interim,
    ManualEvent,
    Transcript,
    TurnStart,
    Word,
)
from cartesia_ink_plugins.core.manual.session import ManualSession, merge_unread
from cartesia_ink_plugins.core.options import ManualOptions, Resilience
from cartesia_ink_plugins.core.stream.connection_state import ConnectionState
from cartesia_ink_plugins.core.stream.outbox import Connect, Drop, Ping
from cartesia_ink_plugins.core.wire import encode
from tests.core.hand import taken, words
from tests.core.observers import Impatient, SettingsTap

PCM16 = AudioFormat()
EPOCH = 1000.0

Answer: TypeAlias = Transcript | FlushDone | Done


def made(resilience: Resilience | None = None) -> ManualSession:
    """A session that has done nothing yet."""
    options = ManualOptions()
    return ManualSession(options, resilience or Resilience(), jitter=lambda: 0.5, epoch=EPOCH)


def opened(seconds: float = 0.0, resilience: Resilience | None = None) -> ManualSession:
    """A session that is connected at 0 s, and was sent so much silence by then."""
    session = made(resilience)
    session.start(0.0)
    session.connection_opened(0.0, "request")
    if seconds:
        session.audio_received(PCM16.silence(seconds), 0.0)
        session.timeout(0.0)
    session.actions.clear()
    session.events.clear()
    return session


def receive(session: ManualSession, now: float, *messages: Answer) -> list[ManualEvent]:
    """Let the server say something; return what the application receives."""
    for message in messages:
        session.message_received(encode(message), now)
    return taken(session.events)


class TestFinalize:
    @pytest.mark.parametrize("timeout", [0.5, 2.0])
    def test_is_given_up_after_its_timeout_where_all_audio_was_sent(self, timeout: float) -> None:
        session = opened(0.1)
        session.timeout(1.0)
        assert session.sender.backlog == 0
        session.finalize(10.0, timeout)
        assert session.next_timeout <= 10.0 + timeout
        assert session.replay.pending.deadline == 10.0 + timeout

    def test_has_the_time_that_the_resilience_gives_unless_told(self) -> None:
        session = opened(0.1, Resilience(drain_timeout=3.0))
        session.finalize(10.0)
        assert session.replay.pending.deadline == pytest.approx(13.0, abs=0.1)

    def test_the_time_begins_once_the_audio_can_be_sent(self) -> None:
        session = made()
        session.start(0.0)
        session.audio_received(PCM16.silence(8.0), 8.0)
        session.finalize(8.0, 1.0)
        rate = session.sender.pacer.rate
        assert rate > 1.0
        assert session.replay.pending.deadline == pytest.approx(9.0 + 8.0 / rate)

    def test_and_begins_anew_with_another_connection(self) -> None:
        session = made()
        session.start(0.0)
        session.audio_received(PCM16.silence(8.0), 0.1)
        session.connection_opened(0.2)
        session.finalize(0.2, 1.0)
        session.connection_lost("broken", 0.5, 1006)
        session.timeout(1.5)
        session.connection_opened(1.5)
        rate = session.sender.pacer.rate
        assert session.replay.pending.deadline == pytest.approx(2.5 + 8.0 / rate)

    def test_connects_if_nothing_is_connected(self) -> None:
        session = opened(0.1)
        session.timeout(1.0)
        session.connection_lost("closed", 10.0, 1001)
        assert session.connection.state is ConnectionState.IDLE
        taken(session.actions)
        session.finalize(11.0)
        assert taken(session.actions) == [Connect()]

    def test_is_sent_behind_the_audio_at_once(self) -> None:
        session = opened(0.1)
        session.finalize(0.5)
        assert taken(session.actions)[-1] == "finalize"

    def test_is_sent_before_the_audio_that_followed_it(self) -> None:
        """The audio before it came so fast that it is still being sent."""
        session = opened(0.1)
        session.audio_received(PCM16.silence(0.93), 0.5)
        position = session.sender.buffer.end - session.sender.sent
        assert position > 0
        taken(session.actions)
        session.finalize(0.5)
        session.audio_received(PCM16.silence(0.2), 0.52)
        for at in range(6, 20):
            session.timeout(at / 10)
        assert session.sender.backlog == 0
        sent = taken(session.actions)
        before, behind = sent[: sent.index("finalize")], sent[sent.index("finalize") :]
        assert sum(len(audio) for audio in before if isinstance(audio, bytes)) == position
        assert any(isinstance(audio, bytes) for audio in behind)

    def test_of_a_time_without_a_connection_is_sent_in_its_place(self) -> None:
        session = made()
        session.start(0.0)
        session.audio_received(PCM16.silence(0.13), 0.1)
        session.finalize(0.1)
        session.audio_received(PCM16.silence(1.0), 0.2)
        session.connection_opened(0.3)
        for at in range(4, 20):
            session.timeout(at / 10)
        sent = taken(session.actions)
        before = sent[: sent.index("finalize")]
        audio = sum(len(message) for message in before if isinstance(message, bytes))
        assert audio == PCM16.size(0.13)

    def test_is_waited_for_though_there_was_no_speech(self) -> None:
        session = opened(0.1)
        assert not session.has_pending_transcript
        session.finalize(0.5)
        assert session.has_pending_transcript
        receive(session, 0.6, FlushDone())
        assert not session.has_pending_transcript

    def test_finals_are_numbered_by_their_place_in_the_audio(self) -> None:
        session = opened(0.1)
        assert (session.turns, session.next_final) == (0, 1)
        assert session.finalize(0.5) == session.next_final == 1
        session.audio_received(PCM16.silence(0.1), 0.6)
        assert session.next_final == 2
        receive(session, 0.7, FlushDone())
        assert (session.turns, session.next_final) == (1, 2)

    def test_without_audio_since_the_last_its_final_is_complete_and_numbered_at_once(self) -> None:
        session = opened()
        assert [session.finalize(0.1), session.finalize(0.2)] == [1, 2]
        finals = taken(session.events)
        assert all(isinstance(e, Final) and e.is_complete and not e.text for e in finals)
        assert session.turns == len(finals) == 2

    def test_after_its_answer_there_is_nothing_to_finalize_and_nothing_to_replay(self) -> None:
        session = opened(0.1)
        session.finalize(0.2)
        receive(session, 0.3, FlushDone())
        buffer = session.sender.buffer
        assert buffer.start == buffer.end == PCM16.size(0.1)
        taken(session.actions)
        assert session.finalize(0.4) == 2
        [final] = taken(session.events)
        assert isinstance(final, Final)
        assert "finalize" not in session.actions

    def test_that_is_late_ends_with_the_known_text_and_the_connection_with_it(self) -> None:
        """An answer that came later could not be told from that to the next call."""
        session = opened(0.1)
        session.finalize(1.0, 2.0)
        receive(session, 1.5, Transcript("Hello there.", is_final=True))
        taken(session.actions)
        session.timeout(3.0)
        [final, *_] = [e for e in taken(session.events) if isinstance(e, Final)]
        assert (final.text, final.is_complete) == ("Hello there.", False)
        assert Drop() in session.actions

    def test_that_is_late_before_it_could_be_sent_leaves_the_connection_alone(self) -> None:
        session = opened(0.1)
        session.writable(0.2, is_writable=False)
        session.audio_received(PCM16.silence(0.1), 0.3)
        session.finalize(0.3, 1.0)
        taken(session.actions)
        session.timeout(1.5)
        assert [type(event) for event in taken(session.events)] == [Final]
        assert Drop() not in session.actions


class TestMessages:
    def test_text_is_told_with_the_id_of_its_connection(self) -> None:
        session = opened(0.1)
        [interim] = receive(session, 0.2, Transcript("Hello there, ", is_final=True))
        assert isinstance(interim, Interim)
        assert (interim.text, interim.request_id) == ("Hello there,", "request")

    def test_the_times_of_words_count_from_where_their_connection_began(self) -> None:
        session = opened(0.1)
        session.finalize(0.2)
        receive(session, 0.3, FlushDone())
        session.audio_received(PCM16.silence(0.1), 0.4)
        session.connection_lost("broken", 0.5, 1006)
        session.timeout(2.0)
        session.connection_opened(2.0)
        taken(session.events)
        session.finalize(2.0)
        word = Word("Hi", start=0.02, end=0.06)
        receive(session, 2.1, Transcript("Hi", is_final=True, words=(word,)))
        [final] = receive(session, 2.1, FlushDone())
        assert isinstance(final, Final)
        [told] = final.words
        assert (told.start, told.end) == pytest.approx((0.12, 0.16))

    def test_an_interim_says_when_speech_began_and_not_when_it_ended(self) -> None:
        session = opened()
        pcm = words() + PCM16.silence(0.5)
        size = PCM16.size(0.02)
        for at in range(0, len(pcm), size):
            session.audio_received(pcm[at : at + size], PCM16.seconds(at + size))
        now = PCM16.seconds(len(pcm))
        [interim] = receive(session, now, Transcript("one ", is_final=True))
        assert isinstance(interim, Interim)
        assert interim.timing is not None
        assert interim.timing.speech_start == pytest.approx(EPOCH, abs=0.1)
        assert interim.timing.speech_end is None

    @pytest.mark.parametrize(
        "message", [Transcript("Hi ", is_final=True), FlushDone()], ids=["text", "answer"]
    )
    def test_each_shows_that_the_server_accepts_the_settings(self, message: Answer) -> None:
        session = opened(0.1)
        assert not session.connection.is_accepted
        receive(session, 0.2, message)
        assert session.connection.is_accepted

    @pytest.mark.parametrize(
        ("data", "violation"),
        [
            (encode(FlushDone()), "flush_done without finalize"),
            (encode(Done()), "done without a request"),
            (encode(TurnStart()), "turn.start without a request"),
        ],
    )
    def test_what_nobody_asked_for_is_counted(self, data: str, violation: str) -> None:
        session = opened(0.1)
        session.message_received(data, 0.2)
        assert session.violations == {violation: 1}
        assert list(session.events) == []

    @pytest.mark.parametrize("data", ["no JSON", '{"type":"of tomorrow"}'])
    def test_so_is_what_cannot_be_understood(self, data: str) -> None:
        session = opened(0.1)
        session.message_received(data, 0.2)
        assert sum(session.violations.values()) == 1

    def test_after_done_the_text_is_complete_and_the_server_has_a_second_to_close(self) -> None:
        session = opened(0.1)
        receive(session, 0.2, Transcript("Hello there", is_final=True))
        session.finish(0.5, 60.0)
        assert taken(session.actions)[-1] == "close"
        [final] = receive(session, 1.0, Done())
        assert isinstance(final, Final)
        assert (final.text, final.is_complete, final.request_id) == ("Hello there", True, "request")
        assert session.connection.is_accepted
        session.timeout(1.9)
        assert not session.is_closed
        session.timeout(2.0)
        assert session.is_closed

    @pytest.mark.parametrize(("code", "is_complete"), [(1000, True), (1006, False)])
    def test_a_server_that_closes_without_done_has_said_all(
        self, code: int, is_complete: bool
    ) -> None:
        session = opened(0.1)
        session.finalize(0.2)
        receive(session, 0.3, Transcript("Hello there.", is_final=True))
        session.finish(0.5, 1.0)
        session.connection_lost("closed", 0.6, code)
        session.timeout(2.0)
        assert session.is_closed
        [final] = [event for event in session.events if isinstance(event, Final)]
        assert (final.text, final.is_complete) == ("Hello there.", is_complete)

    def test_done_alone_shows_that_the_settings_are_accepted(self) -> None:
        session = opened()
        session.finish(0.5, 60.0)
        receive(session, 1.0, Done())
        assert session.connection.is_accepted

    def test_while_text_is_due_it_is_asked_what_the_server_has_received(self) -> None:
        session = opened(0.1)
        session.timeout(1.0)
        assert not session.sender.needs_position
        session.finalize(1.1)
        session.timeout(1.7)
        assert session.sender.needs_position


class TestProgress:
    def test_each_text_that_grows_and_each_final_begins_the_backoff_anew(self) -> None:
        session, policy = opened(0.1), Impatient()
        session.connection.set_reconnect_policy(policy, None, 0.0)
        receive(session, 0.2, Transcript("Hello ", is_final=True))
        assert policy.resets == 1
        session.finalize(0.3)
        receive(session, 0.4, Transcript("", is_final=True))
        assert policy.resets == 1
        receive(session, 0.4, FlushDone())
        assert policy.resets == 2


class TestSettings:
    def test_observers_are_told_of_a_change_and_of_nothing_else(self) -> None:
        tap = SettingsTap()
        session = ManualSession(ManualOptions(), Resilience(), jitter=lambda: 0.5, taps=[tap])
        for _ in range(2):
            session.update_keyterms(["table"], 0.0)
        assert tap.told == [session.options]
        assert session.options.keyterms == ("table",)

    def test_the_times_of_speech_follow_the_wall_clock(self) -> None:
        session = opened()
        pcm = words() + PCM16.silence(0.5)
        size = PCM16.size(0.02)
        for at in range(0, len(pcm), size):
            session.audio_received(pcm[at : at + size], PCM16.seconds(at + size))
        session.set_epoch(EPOCH + 3600.0)
        now = PCM16.seconds(len(pcm))
        session.finalize(now)
        receive(session, now + 0.1, Transcript("one", is_final=True))
        [final] = receive(session, now + 0.1, FlushDone())
        assert isinstance(final, Final)
        assert final.timing is not None
        assert final.timing.speech_start == pytest.approx(EPOCH + 3600.0, abs=0.1)

    def test_a_connection_is_told_before_its_audio(self) -> None:
        session = made()
        session.start(0.0)
        session.connection_opened(0.1, "request")
        assert list(session.events) == [Connected("request")]


class TestTheEnd:
    def test_a_call_that_is_not_answered_gets_no_text_from_a_session_that_is_aborted(self) -> None:
        session = opened(0.1)
        session.finalize(0.5)
        session.abort(0.6)
        assert not session.replay.pending
        assert session.is_closed
        assert not [event for event in session.events if isinstance(event, Final)]


def test_of_texts_that_nobody_has_read_the_newest_is_kept() -> None:
    queue = deque[ManualEvent]()
    for event in (Final("Hello."), Interim("Good"), Interim("Good bye"), ConnectFailed("no")):
        merge_unread(queue, event)
    assert list(queue) == [Final("Hello."), Interim("Good bye"), ConnectFailed("no")]
    merge_unread(queue, Interim("Good bye,"))
    merge_unread(queue, Final("Good bye, then."))
    assert list(queue)[2:] == [ConnectFailed("no"), Final("Good bye, then.")]


def test_silence_leaves_the_replay_buffer_while_it_is_received() -> None:
    session = opened()
    for at in range(1, 200):
        now = at / 10
        session.audio_received(PCM16.silence(0.1), now)
        session.timeout(now)
        for action in taken(session.actions):
            if isinstance(action, Ping):
                session.pong_received(action.number, now)
    buffer = session.sender.buffer
    assert PCM16.seconds(buffer.end - buffer.start) < 5.0
    assert session.replay.transcript.checkpoint.position == buffer.start
