"""What the audio tells about turns: where one began, where it paused, how much silence ended it."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.hand import Hand, connected, words

PCM16 = AudioFormat()
EPOCH = 1000.0
# Two turns with 4 s between them; the second one with a pause of 0.6 s.
SCRIPT = Script(
    "one two three",
    Turn(["four five", 0.6, "six seven"], gap=2.8, after=4.0),
    lead_in=2.0,
)
(FIRST_START, FIRST_END), (SECOND_START, SECOND_END) = SCRIPT.spans
PAUSE_START = SECOND_START + 2 * 0.2 + 0.08
PAUSE_END = PAUSE_START + 0.6


def at(seconds: float) -> int:
    """The position in the stream, in bytes."""
    return PCM16.size(seconds)


def analysed(until: float = SCRIPT.seconds) -> SpeechTracker:
    """A tracker that was given the script up to some second, in real time."""
    speech = SpeechTracker(PCM16, EPOCH)
    pcm, size = SCRIPT.audio()[: at(until)], at(0.02)
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        speech.vad.audio_received(piece, PCM16.seconds(start + len(piece)))
    return speech


def seconds(position: int | None) -> float:
    assert position is not None
    return PCM16.seconds(position)


class TestCheckpoints:
    @staticmethod
    def begins(announced_at: float, settled: float = 0.0) -> float:
        """In seconds of audio."""
        position = at(announced_at)
        return seconds(analysed().turn_checkpoint(position, at(settled), position))

    def test_a_turn_begins_at_its_onset_less_a_lead_in(self) -> None:
        assert self.begins(FIRST_START + 0.3) == pytest.approx(FIRST_START - 0.5, abs=0.05)

    def test_but_not_before_the_end_of_the_turn_before_it(self) -> None:
        settled = FIRST_START - 0.1
        assert self.begins(FIRST_START + 0.3, settled) == pytest.approx(settled)

    def test_where_the_vad_found_nothing_more_is_replayed(self) -> None:
        """A voice so quiet that only the server recognizes it: 3 s are replayed."""
        silent = SpeechTracker(PCM16, EPOCH)
        silent.vad.audio_received(PCM16.silence(10.0), 10.0)
        assert seconds(silent.turn_checkpoint(at(10.0), 0, at(10.0))) == pytest.approx(7.0)

    @pytest.mark.parametrize("late", [0.3, 2.0, 4.5])
    def test_it_begins_with_the_first_speech_since_the_turn_before_it(self, late: float) -> None:
        """However late it is announced: nothing else can have been its beginning."""
        begins = self.begins(SECOND_START + late, FIRST_END + 0.1)
        assert begins == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_also_where_the_server_had_most_likely_not_received_it(self) -> None:
        speech = analysed()
        found = speech.turn_checkpoint(at(FIRST_END + 1.0), at(FIRST_END + 0.1), at(SECOND_END))
        assert seconds(found) == pytest.approx(FIRST_END + 0.1)

    def test_a_pause_lies_between_the_speech_before_it_and_that_after_it(self) -> None:
        pause = seconds(analysed().pause(0, at(PAUSE_START + 0.5), at(PAUSE_START + 0.5)))
        assert PAUSE_START < pause < PAUSE_END

    def test_while_somebody_speaks_there_is_no_pause(self) -> None:
        assert analysed().pause(0, at(FIRST_START + 0.4), at(FIRST_START + 0.4)) is None

    def test_where_two_pauses_may_be_meant_none_is_taken(self) -> None:
        speech = analysed()
        assert (
            speech.pause(at(FIRST_END + 0.1), at(PAUSE_START + 0.5), at(SECOND_END + 0.5)) is None
        )

    @staticmethod
    def ends(at_least: float, at_most: float, settled: float = 0.0) -> tuple[float, float]:
        """In seconds of audio."""
        found = analysed().turn_end(at(settled), at(at_least), at(at_most))
        return seconds(found[0]), seconds(found[1])

    def test_a_turn_is_over_in_the_silence_after_it(self) -> None:
        first, last = self.ends(FIRST_END + 1.0, FIRST_END + 1.0)
        assert FIRST_END < first == last < FIRST_END + 0.3

    def test_or_in_one_of_the_pauses_that_may_be_meant(self) -> None:
        first, last = self.ends(FIRST_END + 1.0, SECOND_END + 0.5)
        assert FIRST_END < first < FIRST_END + 0.3
        assert SECOND_END < last < SECOND_END + 0.3

    def test_but_in_none_before_the_turn_began(self) -> None:
        first, last = self.ends(FIRST_END + 1.0, SECOND_END + 1.0, settled=PAUSE_END)
        assert SECOND_END < first == last < SECOND_END + 0.3

    def test_nor_in_one_after_which_the_server_heard_speech_for_long(self) -> None:
        first, last = self.ends(SECOND_END - 0.1, SECOND_END + 1.0, settled=FIRST_END)
        assert SECOND_END < first == last < SECOND_END + 0.3

    def test_nor_behind_what_is_being_said_now(self) -> None:
        first, last = self.ends(SECOND_START - 0.1, SECOND_START + 0.3)
        assert FIRST_END < first == last < SECOND_START

    def test_nor_in_a_short_one_after_which_it_took_longer_than_a_decision(self) -> None:
        first, last = self.ends(PAUSE_END + 1.0, SECOND_END + 0.5, settled=FIRST_END)
        assert SECOND_END < first == last

    @pytest.mark.parametrize(
        ("silence", "settled", "pause", "end"),
        [(0.7, FIRST_END, PAUSE_START, PAUSE_END), (4.0, 0.0, FIRST_END, SECOND_START)],
    )
    def test_but_in_one_that_may_have_ended_a_turn_on_this_server(
        self, silence: float, settled: float, pause: float, end: float
    ) -> None:
        """Such a pause it may have announced up to 3 s after somebody spoke again."""
        speech = analysed()
        speech.turn_ended(at(FIRST_END + silence))
        first, last = speech.turn_end(at(settled), at(end + 1.0), at(SECOND_END + 0.5))
        assert pause < seconds(first) < end
        assert seconds(last) > SECOND_END

    def test_it_is_over_well_behind_the_last_word_and_well_before_the_next(self) -> None:
        long, _ = self.ends(FIRST_END + 1.0, FIRST_END + 1.0)
        assert long == pytest.approx(FIRST_END + 0.15, abs=0.03)
        short, _ = self.ends(FIRST_END + 0.12, FIRST_END + 0.12)
        assert short == pytest.approx(FIRST_END + 0.06, abs=0.01)

    def test_and_behind_a_whole_sample(self) -> None:
        speech, begin = analysed(), at(FIRST_END + 0.12)
        ends = [speech.turn_end(0, at, at)[0] for at in range(begin, begin + 16, 2)]
        assert all(end % PCM16.sample_width == 0 for end in ends)

    def test_where_nobody_stopped_it_may_be_over_anywhere(self) -> None:
        first, last = self.ends(FIRST_START + 0.3, FIRST_START + 0.5)
        assert first == pytest.approx(FIRST_START - 0.2)
        assert last == pytest.approx(FIRST_START + 0.5)

    def test_where_nobody_spoke_it_is_over_just_before(self) -> None:
        silent = SpeechTracker(PCM16, EPOCH)
        silent.vad.audio_received(PCM16.silence(10.0), 10.0)
        assert silent.turn_end(0, at(5.0), at(6.0)) == (at(4.5), at(4.5))

    def test_between_turns_a_replay_begins_shortly_before_now(self) -> None:
        now = FIRST_END + 2.5
        position = analysed().unannounced(at(now), at(FIRST_END + 0.1))
        assert seconds(position) == pytest.approx(now - 0.5)

    def test_but_before_all_speech_that_no_event_has_announced(self) -> None:
        position = analysed().unannounced(at(SECOND_END), at(FIRST_END + 0.1))
        assert seconds(position) == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_but_not_before_what_is_settled(self) -> None:
        settled = at(SECOND_START + 0.2)
        assert analysed().unannounced(at(SECOND_END), settled) == settled

    def test_between_turns_three_seconds_stay_in_the_replay_buffer(self) -> None:
        speech = analysed()
        assert seconds(speech.keep_from(at(9.5), at(10.0))) == pytest.approx(7.0)
        assert seconds(speech.keep_from(at(2.0), at(10.0))) == pytest.approx(2.0)


class TestSilence:
    def test_silence_is_measured_from_the_last_speech(self) -> None:
        speech = analysed()
        silence = speech.silence_after(at(FIRST_END + 0.1), at(FIRST_END + 1.5))
        assert silence == pytest.approx(1.5, abs=0.05)

    def test_only_up_to_the_next_speech(self) -> None:
        silence = analysed().silence_after(at(PAUSE_START + 0.1), at(SECOND_END + 3.0))
        assert silence == pytest.approx(0.6, abs=0.05)

    def test_while_somebody_speaks_there_is_none(self) -> None:
        position = at(FIRST_START + 0.3)
        assert analysed().silence_after(position, at(FIRST_END + 1.0)) == 0.0

    def test_how_much_ends_a_turn_is_a_guess_until_it_was_measured(self) -> None:
        speech = analysed()
        assert (speech.knows_end_silence, speech.end_silence) == (False, 2.0)
        speech.turn_ended(at(FIRST_END + 1.2))
        assert speech.knows_end_silence
        assert speech.end_silence == pytest.approx(1.25 * 1.2, abs=0.05)

    @pytest.mark.parametrize(("measured", "used"), [(0.2, 1.0), (20.0, 6.0)])
    def test_it_has_a_lower_and_an_upper_bound(self, measured: float, used: float) -> None:
        speech = SpeechTracker(PCM16, EPOCH)
        pcm = Script("one", lead_in=1.0).audio() + PCM16.silence(30.0)
        speech.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        speech.turn_ended(at(1.2 + measured))
        assert speech.end_silence == used

    def test_one_long_silence_by_chance_does_not_change_it(self) -> None:
        speech = analysed()
        for silence in (0.9, 3.5, 1.0):
            speech.turn_ended(at(FIRST_END + silence))
        assert speech.end_silence == pytest.approx(1.25, abs=0.05)

    def test_without_speech_nothing_is_measured(self) -> None:
        speech = SpeechTracker(PCM16, EPOCH)
        speech.vad.audio_received(PCM16.silence(5.0), 5.0)
        speech.turn_ended(at(5.0))
        assert not speech.knows_end_silence

    def test_speech_is_more_than_a_click(self) -> None:
        speech = analysed()
        assert speech.has_speech(at(FIRST_START), at(FIRST_END))
        assert not speech.has_speech(at(FIRST_END), at(SECOND_START))
        assert not speech.has_speech(at(FIRST_START), at(FIRST_START + 0.05))

    def test_speech_before_a_muted_microphone_is_over(self) -> None:
        muted = FIRST_END - 0.1
        speech = analysed(muted)
        assert seconds(speech.turn_end(0, at(muted), at(muted))[0]) < muted - 0.1
        speech.audio_stopped(at(muted))
        assert seconds(speech.turn_end(0, at(muted), at(muted))[0]) == pytest.approx(
            muted, abs=0.03
        )
        timing = speech.timing(TurnEnd("one two"), 1, at(muted))
        assert timing.speech_end == pytest.approx(EPOCH + muted, abs=0.03)

    def test_speech_behind_a_muted_microphone_is_other_speech(self) -> None:
        speech = SpeechTracker(PCM16, EPOCH)
        pcm = PCM16.silence(1.0) + words()
        speech.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        speech.audio_stopped(len(pcm))
        speech.vad.audio_received(words(), 60.0)
        assert len(speech.vad.stretches(0, 2 * len(pcm))) == 2


class TestTime:
    def test_a_turn_has_the_time_of_its_onset(self) -> None:
        speech = analysed()
        speech.turn_checkpoint(at(FIRST_START + 0.3), 0, at(FIRST_START + 0.3))
        timing = speech.timing(TurnStart(), 1, at(FIRST_START + 0.3))
        assert timing.position == pytest.approx(FIRST_START + 0.3)
        assert timing.speech_start == pytest.approx(EPOCH + FIRST_START, abs=0.03)
        assert timing.speech_end is None

    @pytest.mark.parametrize("event", [TurnEagerEnd("one"), TurnEnd("one")])
    def test_an_end_has_the_time_of_the_last_speech(self, event: TurnEagerEnd | TurnEnd) -> None:
        speech = analysed()
        speech.turn_checkpoint(at(FIRST_START + 0.3), 0, at(FIRST_START + 0.3))
        timing = speech.timing(event, 1, at(FIRST_END + 1.0))
        assert timing.speech_end == pytest.approx(EPOCH + FIRST_END, abs=0.03)

    def test_an_update_has_none(self) -> None:
        timing = analysed().timing(TurnUpdate("one"), 1, at(FIRST_END + 1.0))
        assert timing.speech_end is None

    def test_an_end_before_the_beginning_is_unknown(self) -> None:
        speech = analysed()
        speech.turn_checkpoint(at(SECOND_START + 0.3), at(FIRST_END), at(SECOND_START + 0.3))
        assert speech.timing(TurnEnd("x"), 1, at(SECOND_START + 0.05)).speech_end is None

    def test_the_end_of_a_turn_is_that_of_the_last_speech_also_when_somebody_speaks_again(
        self,
    ) -> None:
        timing = analysed().timing(TurnEnd("one"), 7, at(SECOND_START + 0.3))
        assert timing.speech_end == pytest.approx(EPOCH + FIRST_END, abs=0.03)
        assert timing.turn == 7

    def test_but_not_when_it_was_said_in_the_middle_of_long_speech(self) -> None:
        script = Script("one two", "three four five six seven eight nine ten")
        speech = SpeechTracker(PCM16, EPOCH)
        pcm = script.audio()
        speech.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        begun, _ = script.spans[1]
        assert speech.timing(TurnEnd("one two"), 1, at(begun + 0.9)).speech_end is not None
        assert speech.timing(TurnEnd("one two"), 1, at(begun + 1.1)).speech_end is None

    def test_the_end_before_a_long_pause_of_the_audio_is_in_front_of_it(self) -> None:
        speech = SpeechTracker(PCM16, EPOCH)
        pcm = PCM16.silence(1.0) + words()
        speech.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        speech.audio_stopped(len(pcm))
        speech.vad.audio_received(PCM16.silence(1.0), 60.0)
        timing = speech.timing(TurnEnd("one"), 1, len(pcm) + at(1.0))
        assert timing.speech_end == pytest.approx(EPOCH + PCM16.seconds(len(pcm)), abs=0.03)

    @pytest.mark.parametrize(
        ("pause", "settled", "begins"),
        [(0.25, 0.0, 0), (0.25, 0.12, 1), (0.6, 0.0, 1)],
        ids=["a short pause", "a turn that ended in it", "a long pause"],
    )
    def test_the_onset_is_in_front_of_a_short_pause(
        self, pause: float, settled: float, begins: int
    ) -> None:
        script = Script(Turn(["one two", pause, "three four"], after=1.0), lead_in=1.0)
        speech = SpeechTracker(PCM16, EPOCH)
        pcm = script.audio()
        speech.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        stretches = speech.vad.stretches(0, len(pcm))
        assert len(stretches) == 2
        until = stretches[1].end
        speech.turn_checkpoint(until, stretches[0].end + at(settled) if settled else 0, until)
        onset = EPOCH + PCM16.seconds(stretches[begins].start)
        assert speech.timing(TurnStart(), 1, until).speech_start == pytest.approx(onset, abs=0.01)


class TestWhatASessionLearns:
    """A session measures the silence only where it is what the server measured."""

    @staticmethod
    def in_turn() -> Hand:
        hand = connected()
        hand.silence(1.0)
        hand.speak(words())
        hand.receives(TurnStart(), TurnUpdate("one"))
        return hand

    def test_the_end_of_a_turn_with_text_is_measured(self) -> None:
        hand = self.in_turn()
        hand.silence(1.6)
        hand.receives(TurnEnd("one two three"))
        assert hand.session.speech.end_silence == pytest.approx(1.25 * 1.6, abs=0.1)
        assert hand.session.speech.knows_end_silence

    def test_the_end_of_a_turn_without_text_is_not(self) -> None:
        hand = connected()
        hand.silence(1.0)
        hand.speak(words())
        hand.receives(TurnStart())
        hand.silence(1.2)
        hand.receives(TurnEnd(" "))
        assert not hand.session.speech.knows_end_silence

    def test_nor_is_one_in_a_replay_which_is_faster_than_real_time(self) -> None:
        hand = self.in_turn()
        hand.silence(0.6)
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(0.6)
        hand.receives(TurnStart(), TurnEnd("one two three"))
        assert not hand.session.speech.knows_end_silence


class TestEnoughSpeech:
    @staticmethod
    def behind(until: float, speech: float, within: float = 10.0) -> float | None:
        position = analysed().position_before(at(until), speech, within)
        return None if position is None else seconds(position)

    def test_is_cut_in_the_middle_of_a_long_stretch(self) -> None:
        cut = self.behind(FIRST_END, 0.2)
        assert cut == pytest.approx(FIRST_END - 0.2, abs=0.05)

    def test_is_counted_from_the_position_also_where_somebody_speaks_on(self) -> None:
        long = SpeechTracker(PCM16, EPOCH)
        script = Script("one two three four five six seven eight")
        pcm = script.audio()
        long.vad.audio_received(pcm, PCM16.seconds(len(pcm)))
        _, end = script.spans[0]
        cut = seconds(long.position_before(at(end - 0.4), 0.3, 10.0))
        assert cut == pytest.approx(end - 0.7)

    def test_begins_in_the_pause_before_a_stretch_whose_start_is_near(self) -> None:
        length = FIRST_END - FIRST_START - 0.1
        assert FIRST_START - 0.5 < (self.behind(FIRST_END, length) or 0.0) < FIRST_START - 0.05

    def test_goes_on_in_the_stretch_before(self) -> None:
        length = SECOND_END - PAUSE_END + 0.15
        assert self.behind(SECOND_END, length) == pytest.approx(PAUSE_START - 0.15, abs=0.2)

    def test_may_be_missing(self) -> None:
        assert self.behind(SECOND_END, 60.0) is None
        assert self.behind(SECOND_END, 0.9, within=0.5) is None
