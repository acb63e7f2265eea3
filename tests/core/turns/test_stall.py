"""A connection that takes speech and sends no event has stalled, unless the speech is noise."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.core.turns.stall import StallDetector
from cartesia_ink_plugins.server.script import Script, Turn

PCM16 = AudioFormat()
TIMEOUT = 5.0
END_SILENCE = 11.2  # seconds after which the server ends a turn in any case
# One second of silence, then speech, then silence.
SCRIPT = Script(Turn("one two three", after=120.0), lead_in=1.0)
[(START, END)] = SCRIPT.spans


def at(seconds: float) -> int:
    """The position in the stream, in bytes."""
    return PCM16.size(seconds)


class Server:
    """A detector that watches a connection which was opened at 0 and is sent audio in real time."""

    def __init__(self, script: Script = SCRIPT) -> None:
        self.speech = SpeechTracker(PCM16, 0.0)
        pcm, size = script.audio(), at(0.1)
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            self.speech.vad.audio_received(piece, PCM16.seconds(start + len(piece)))
        self.detector = StallDetector(self.speech.vad, PCM16, TIMEOUT)
        self.detector.connection_opened(0, 0.0)

    def is_stalled(
        self, now: float, *, is_open: bool = False, is_awaiting_replay: bool = False
    ) -> bool:
        return self.detector.is_stalled(
            at(now),
            now,
            is_open=is_open,
            is_awaiting_replay=is_awaiting_replay,
            end_silence=END_SILENCE,
        )

    def sends(self, now: float, *, text: str = "", is_end: bool = False) -> None:
        self.detector.event_received(at(now), now, text=text, is_end=is_end)

    def is_replaced(self, now: float, *, is_accepted: bool = True) -> None:
        """The connection is replaced, and the next one is sent everything again."""
        self.detector.connection_replaced(at(now), is_accepted=is_accepted)
        self.detector.connection_opened(0, 0.0)


class TestSpeechWithoutAnEvent:
    def test_is_a_stall_after_the_timeout(self) -> None:
        server = Server()
        assert not server.is_stalled(START + TIMEOUT - 0.1)
        assert server.is_stalled(START + TIMEOUT + 0.1)

    def test_silence_without_an_event_is_none(self) -> None:
        server = Server()
        server.sends(END + 0.1, text="one", is_end=True)
        assert not server.is_stalled(100.0)

    def test_a_click_is_no_speech(self) -> None:
        server = Server()
        server.sends(END - 0.1, text="one", is_end=True)
        assert not server.is_stalled(100.0)

    def test_any_event_shows_that_the_server_is_alive(self) -> None:
        server = Server()
        server.sends(START + 0.3)
        assert not server.is_stalled(START + 0.3 + TIMEOUT - 0.1)
        assert server.is_stalled(START + 0.3 + TIMEOUT + 0.1, is_open=True)

    def test_a_new_connection_has_the_whole_time_again(self) -> None:
        server = Server()
        server.detector.connection_opened(at(START), 20.0)
        assert not server.is_stalled(20.0 + TIMEOUT - 0.1)
        assert server.is_stalled(20.0 + TIMEOUT + 0.1)

    def test_a_server_that_is_replaced_later_need_not_have_answered_yet(self) -> None:
        script = Script(Turn("one two three", after=120.0), lead_in=4.0)
        server, [(start, _)] = Server(script), script.spans
        server.sends(0.1)
        replaced_at = start + TIMEOUT + 0.1
        assert server.is_stalled(replaced_at)
        assert not server.detector.should_have_answered(at(replaced_at), replaced_at)
        assert server.detector.should_have_answered(at(replaced_at + 1.0), replaced_at + 1.0)

    def test_nor_need_one_that_was_sent_no_speech(self) -> None:
        detector = Server().detector
        detector.event_received(0, 0.5, text="", is_end=True)
        assert not detector.should_have_answered(at(0.9), 0.5 + TIMEOUT + 0.9)
        assert detector.should_have_answered(at(0.9), 0.5 + TIMEOUT + 1.1)

    def test_and_patience_is_had_with_it_too(self) -> None:
        server = Server()
        server.is_replaced(10.0)
        assert not server.detector.should_have_answered(at(0.9), 2 * TIMEOUT + 0.9)
        assert server.detector.should_have_answered(at(0.9), 2 * TIMEOUT + 1.1)

    def test_speech_is_late_from_when_it_was_sent_and_not_from_the_event_before_it(self) -> None:
        """The microphone was muted for a minute: the stream has no position for that time."""
        server = Server(Script("one", lead_in=1.0))
        detector, speech = server.detector, server.speech
        position = at(Script("one", lead_in=1.0).seconds)
        detector.event_received(position, 3.0, text="one", is_end=True)
        pcm = Script(Turn("two three four", after=1.0), lead_in=0.0).audio()
        speech.vad.audio_received(pcm, 63.0 + PCM16.seconds(len(pcm)))

        def is_stalled(now: float) -> bool:
            return detector.is_stalled(
                position + len(pcm),
                now,
                is_open=False,
                is_awaiting_replay=False,
                end_silence=END_SILENCE,
            )

        assert not is_stalled(63.0 + TIMEOUT - 0.1)
        assert is_stalled(63.0 + TIMEOUT + 0.1)


class TestAnOpenTurnInSilence:
    def test_is_a_stall_after_the_servers_own_limit_and_some_seconds(self) -> None:
        server = Server()
        server.sends(END + 0.2, text="one")
        limit = END + 0.2 + END_SILENCE + 3.0
        assert not server.is_stalled(limit - 0.1, is_open=True)
        assert server.is_stalled(limit + 0.1, is_open=True)

    def test_without_an_open_turn_it_is_none(self) -> None:
        server = Server()
        server.sends(END + 0.2, text="one", is_end=True)
        assert not server.is_stalled(100.0, is_open=False)


class TestPatience:
    def test_doubles_with_each_connection_that_is_replaced(self) -> None:
        server = Server()
        for timeout in (5.0, 10.0, 20.0, 40.0):
            assert not server.is_stalled(START + timeout - 0.1)
            assert server.is_stalled(START + timeout + 0.1)
            server.is_replaced(START + timeout + 0.1)

    @pytest.mark.parametrize(("text", "is_end"), [("I", False), ("", True)])
    def test_is_normal_again_after_text_or_an_end(self, text: str, is_end: bool) -> None:
        server = Server()
        server.is_replaced(10.0)
        server.sends(0.5, text=text, is_end=is_end)
        assert server.is_stalled(START + TIMEOUT + 0.1)

    def test_stays_after_an_event_without_new_text(self) -> None:
        server = Server()
        server.sends(0.4, text="one")
        server.is_replaced(10.0)
        server.sends(0.5, text="one")
        assert not server.is_stalled(START + TIMEOUT + 0.1)
        assert server.is_stalled(START + 2 * TIMEOUT + 0.1)

    def test_is_not_needed_for_a_turn_that_another_connection_announced(self) -> None:
        server = Server()
        server.is_replaced(10.0)
        late = START + TIMEOUT + 0.1
        assert not server.is_stalled(late, is_open=True)
        assert server.is_stalled(late, is_open=True, is_awaiting_replay=True)

    def test_is_needed_for_such_a_turn_too_once_two_connections_were_silent(self) -> None:
        server = Server()
        server.is_replaced(10.0)
        server.is_replaced(20.0)
        late = START + TIMEOUT + 0.1
        assert not server.is_stalled(late, is_open=True, is_awaiting_replay=True)


class TestNoise:
    def test_after_two_silent_connections_the_speech_is_doubtful(self) -> None:
        server = Server()
        assert not server.detector.is_doubtful
        server.is_replaced(10.0)
        assert not server.detector.is_doubtful
        server.is_replaced(20.0)
        assert server.detector.is_doubtful
        server.sends(21.0)
        assert not server.detector.is_doubtful

    def test_what_up_to_three_connections_did_not_transcribe_is_replayed(self) -> None:
        """The first is waited for 5 s, the second 10 s, the third 20 s; a fourth is sent it."""
        server = Server()
        for later in (5.0, 16.0, 37.0):
            server.is_replaced(END + later)
            assert server.detector.noise_until == 0

    def test_what_four_connections_did_not_transcribe_is_noise(self) -> None:
        server = Server()
        for later in (5.0, 16.0, 37.0, 78.0):
            server.is_replaced(END + later)
        noise_until = server.detector.noise_until
        assert PCM16.seconds(noise_until) > END
        unannounced = server.speech.unannounced(at(END + 78.0), noise_until)
        assert PCM16.seconds(unannounced) > END

    def test_the_last_sixteen_seconds_of_it_are_kept_all_the_same(self) -> None:
        server = Server()
        for later in (5.0, 16.0, 37.0, 78.0):
            server.is_replaced(END + later)
        assert PCM16.seconds(server.detector.noise_until) == pytest.approx(END + 78.0 - 16.0)

    def test_connections_that_sent_nothing_at_all_prove_nothing(self) -> None:
        server = Server()
        for later in (5.0, 16.0, 37.0, 78.0):
            server.is_replaced(END + later, is_accepted=False)
        assert not server.detector.is_doubtful
        assert server.detector.noise_until == 0

    def test_after_an_event_it_takes_two_again(self) -> None:
        server = Server()
        server.is_replaced(10.0)
        server.sends(11.0)
        server.is_replaced(20.0)
        assert not server.detector.is_doubtful

    def test_an_event_in_between_begins_the_count_anew(self) -> None:
        server = Server()
        for later in (5.0, 16.0, 37.0, 78.0):
            server.is_replaced(END + later)
            server.sends(END + later)
        assert server.detector.noise_until == 0


def test_a_turn_without_an_end_has_more_time_after_each_replaced_connection() -> None:
    server = Server()
    server.is_replaced(100.0)
    server.is_replaced(100.0)  # now in doubt: its patience counts again
    server.sends(END + 0.1, text="")
    waited = [seconds for seconds in range(200) if server.is_stalled(END + seconds, is_open=True)]
    assert waited[0] > 2 * END_SILENCE
