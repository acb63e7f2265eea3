"""What the audio tells about a manual session: what is settled, and when there was speech."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.manual.speech import ManualSpeech
from cartesia_ink_plugins.server.script import Script, Turn

PCM16 = AudioFormat()
EPOCH = 1000.0
SCRIPT = Script("one two three", Turn("four five six", gap=2.0, after=12.0), lead_in=4.0)
(FIRST_START, FIRST_END), (SECOND_START, SECOND_END) = SCRIPT.spans
END = SCRIPT.seconds


def at(seconds: float) -> int:
    """The position in the stream, in bytes."""
    return PCM16.size(seconds)


def seconds(position: int | None) -> float:
    assert position is not None
    return PCM16.seconds(position)


@pytest.fixture(scope="module")
def speech() -> ManualSpeech:
    """The whole script was received, in real time."""
    speech = ManualSpeech(PCM16, EPOCH)
    pcm, size = SCRIPT.audio(), at(0.02)
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        speech.audio_received(piece, PCM16.seconds(start + len(piece)))
    return speech


def test_speech_is_more_than_a_click(speech: ManualSpeech) -> None:
    assert speech.has_speech(at(FIRST_START), at(FIRST_END))
    assert not speech.has_speech(at(FIRST_END), at(SECOND_START))
    assert not speech.has_speech(at(FIRST_START), at(FIRST_START + 0.05))


class TestSettledPosition:
    def test_text_that_arrives_a_second_after_speech_covers_it(self, speech: ManualSpeech) -> None:
        settled = speech.settled_position(0, at(FIRST_END + 1.2))
        assert FIRST_END < seconds(settled) < FIRST_END + 0.3

    def test_text_that_arrives_sooner_need_not(self, speech: ManualSpeech) -> None:
        assert speech.settled_position(0, at(FIRST_END + 0.8)) is None

    def test_text_while_somebody_speaks_settles_nothing(self, speech: ManualSpeech) -> None:
        assert speech.settled_position(0, at(FIRST_START + 0.4)) is None

    def test_where_the_vad_found_nothing_the_text_covers_what_was_settled(
        self, speech: ManualSpeech
    ) -> None:
        settled = speech.settled_position(at(0.5), at(2.0))
        assert seconds(settled) == pytest.approx(0.5 + 0.15)


class TestSilence:
    def test_audio_without_speech_is_settled_but_for_its_last_three_seconds(
        self, speech: ManualSpeech
    ) -> None:
        assert seconds(speech.silent_until(0, at(3.5))) == pytest.approx(0.5)

    def test_audio_with_speech_is_not_settled_by_silence(self, speech: ManualSpeech) -> None:
        assert speech.silent_until(0, at(SECOND_END + 9.0)) is None

    def test_speech_that_gave_no_text_for_ten_seconds_was_noise(self, speech: ManualSpeech) -> None:
        received = SECOND_END + 10.2
        assert received < END
        assert seconds(speech.silent_until(0, at(received))) == pytest.approx(received - 3.0)

    def test_speech_before_the_checkpoint_does_not_count(self, speech: ManualSpeech) -> None:
        received = SECOND_START - 0.2
        silent = speech.silent_until(at(FIRST_END + 0.1), at(received))
        assert seconds(silent) == pytest.approx(received - 3.0)


class TestTiming:
    def test_a_final_has_the_times_of_its_speech(self, speech: ManualSpeech) -> None:
        timing = speech.timing(7, 0, at(FIRST_END + 0.5), is_over=True)
        assert timing.turn == 7
        assert timing.position == pytest.approx(FIRST_END + 0.5)
        assert timing.speech_start == pytest.approx(EPOCH + FIRST_START, abs=0.03)
        assert timing.speech_end == pytest.approx(EPOCH + FIRST_END, abs=0.03)

    def test_an_interim_has_no_end_of_speech(self, speech: ManualSpeech) -> None:
        timing = speech.timing(1, 0, at(FIRST_END + 0.5), is_over=False)
        assert timing.speech_start == pytest.approx(EPOCH + FIRST_START, abs=0.03)
        assert timing.speech_end is None

    def test_speech_of_the_final_before_does_not_count(self, speech: ManualSpeech) -> None:
        timing = speech.timing(2, at(FIRST_END + 0.5), at(SECOND_END + 0.5), is_over=True)
        assert timing.speech_start == pytest.approx(EPOCH + SECOND_START, abs=0.03)
        assert timing.speech_end == pytest.approx(EPOCH + SECOND_END, abs=0.03)

    def test_speech_across_a_final_is_cut_at_it(self, speech: ManualSpeech) -> None:
        middle = (FIRST_START + FIRST_END) / 2
        before = speech.timing(1, 0, at(middle), is_over=True)
        after = speech.timing(2, at(middle), at(FIRST_END + 0.5), is_over=True)
        assert before.speech_end == pytest.approx(EPOCH + middle, abs=0.03)
        assert after.speech_start == pytest.approx(EPOCH + middle, abs=0.03)

    def test_without_speech_both_times_are_unknown(self, speech: ManualSpeech) -> None:
        timing = speech.timing(1, at(FIRST_END + 0.5), at(SECOND_START - 0.5), is_over=True)
        assert (timing.speech_start, timing.speech_end) == (None, None)
