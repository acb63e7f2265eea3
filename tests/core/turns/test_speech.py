"""What the audio itself says about turns: where one began, where it paused, whether it is over."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import TurnEagerEnd, TurnEnd, TurnStart, TurnUpdate
from cartesia_ink_plugins.core.turns.speech import SpeechTracker
from cartesia_ink_plugins.core.turns.transcript import TurnTranscript
from cartesia_ink_plugins.server.script import Script, Turn

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


def listened(until: float = SCRIPT.seconds) -> SpeechTracker:
    """An ear that has heard the script up to some second, in real time."""
    listening = SpeechTracker(PCM16, EPOCH)
    pcm, size = SCRIPT.audio()[: at(until)], at(0.02)
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        listening.audio_received(piece, PCM16.seconds(start + len(piece)))
    return listening


def seconds(position: int | None) -> float:
    assert position is not None
    return PCM16.seconds(position)


class TestCheckpoints:
    def test_a_turn_begins_at_its_onset_less_a_lead_in(self) -> None:
        checkpoint = listened().turn_checkpoint(at(FIRST_START + 0.3), 0)
        assert seconds(checkpoint) == pytest.approx(FIRST_START - 0.5, abs=0.05)

    def test_but_not_before_the_end_of_the_turn_before_it(self) -> None:
        floor = at(FIRST_START - 0.1)
        assert listened().turn_checkpoint(at(FIRST_START + 0.3), floor) == floor

    def test_where_nothing_was_heard_more_is_kept(self) -> None:
        """A voice so quiet that only the server hears it: 3 s are sent again."""
        silent = SpeechTracker(PCM16, EPOCH)
        silent.audio_received(PCM16.silence(10.0), 10.0)
        assert seconds(silent.turn_checkpoint(at(10.0), 0)) == pytest.approx(7.0)

    def test_a_pause_lies_after_the_words_before_it_and_before_those_after_it(self) -> None:
        pause = seconds(listened().pause(at(PAUSE_START + 0.5), at(PAUSE_START + 0.5)))
        assert PAUSE_START < pause < PAUSE_END

    def test_while_somebody_speaks_there_is_none(self) -> None:
        assert listened().pause(at(FIRST_START + 0.4), at(FIRST_START + 0.4)) is None

    def test_when_two_pauses_may_be_meant_there_is_none(self) -> None:
        assert listened().pause(at(SECOND_END + 0.5), at(PAUSE_START + 0.5)) is None

    def test_the_longest_pause_that_may_be_meant_is_the_end_of_a_turn(self) -> None:
        checkpoint = listened().end_checkpoint(at(SECOND_END + 0.5), 0, at(FIRST_END + 1.0))
        assert FIRST_END < seconds(checkpoint) < FIRST_END + 0.3

    def test_but_not_one_before_the_turn_began(self) -> None:
        """However slow the way may be: a server that answers no pings leaves much open."""
        listening = listened()
        listening.turn_checkpoint(at(SECOND_START + 0.3), at(FIRST_END + 0.1), at(FIRST_START))
        checkpoint = listening.end_checkpoint(at(SECOND_END + 1.0), 0, at(FIRST_END + 1.0))
        assert SECOND_END < seconds(checkpoint) < SECOND_END + 0.3

    def test_a_turn_may_have_begun_with_what_the_server_need_not_have_heard(self) -> None:
        late = listened().turn_checkpoint(at(SECOND_END), at(FIRST_END + 0.1), at(FIRST_END + 1.0))
        assert seconds(late) == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_or_with_what_was_said_shortly_before(self) -> None:
        """A stall of the way since the last ping makes the news old, and nobody can tell."""
        news = at(PAUSE_END + 0.3)
        checkpoint = listened().turn_checkpoint(news, at(FIRST_END + 0.1), news)
        assert seconds(checkpoint) == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_but_what_was_said_long_before_it_was_noise(self) -> None:
        news = at(SECOND_START + 0.3)
        checkpoint = listened().turn_checkpoint(news, 0, news)
        assert seconds(checkpoint) == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_an_end_that_is_told_while_somebody_speaks_again_was_before_that(self) -> None:
        script = Script("one two three", Turn("four five six seven eight nine", gap=1.5, after=1.0))
        (_, end), (start, _) = script.spans
        listening = SpeechTracker(PCM16, EPOCH)
        listening.audio_received(script.audio(), script.seconds)
        checkpoint = listening.end_checkpoint(at(start + 1.3), 0, at(start - 0.1))
        assert end < seconds(checkpoint) < start

    def test_a_turn_is_over_in_the_silence_after_it(self) -> None:
        checkpoint = seconds(listened().end_checkpoint(at(FIRST_END + 1.0), 0, at(FIRST_END + 1.0)))
        assert FIRST_END < checkpoint < FIRST_END + 0.3

    def test_between_turns_little_is_kept(self) -> None:
        now = FIRST_END + 2.5
        checkpoint = listened().idle_checkpoint(at(now), at(FIRST_END + 0.1))
        assert seconds(checkpoint) == pytest.approx(now - 0.5)

    def test_but_all_speech_that_nobody_announced(self) -> None:
        checkpoint = listened().idle_checkpoint(at(SECOND_END), at(FIRST_END + 0.1))
        assert seconds(checkpoint) == pytest.approx(SECOND_START - 0.5, abs=0.05)

    def test_a_server_that_says_nothing_of_it_may_be_mute_and_the_next_one_too(self) -> None:
        """The first is waited for 5 s, the second 10 s; to a third it is said again."""
        listening = listened()
        for later in (5.0, 16.0):
            listening.stalled(at(SECOND_END + later), answered=True)
            checkpoint = listening.idle_checkpoint(at(SECOND_END + later), at(FIRST_END + 0.1))
            assert seconds(checkpoint) < SECOND_START

    def test_but_what_three_heard_in_vain_was_noise(self) -> None:
        listening = listened()
        for later in (5.0, 16.0, 37.0):
            listening.stalled(at(SECOND_END + later), answered=True)
        checkpoint = listening.idle_checkpoint(at(SECOND_END + 37.0), at(FIRST_END + 0.1))
        assert seconds(checkpoint) > SECOND_END

    def test_a_server_that_never_answered_is_no_witness(self) -> None:
        listening = listened()
        for later in (5.0, 16.0, 37.0):
            listening.stalled(at(SECOND_END + later), answered=False)
        assert not listening.has_doubts
        checkpoint = listening.idle_checkpoint(at(SECOND_END + 37.0), at(FIRST_END + 0.1))
        assert seconds(checkpoint) < SECOND_START


class TestIsItOver:
    def test_silence_is_counted_from_the_last_word(self) -> None:
        listening = listened()
        silence = listening.silence_after(at(FIRST_END + 0.1), at(FIRST_END + 1.5))
        assert silence == pytest.approx(1.5, abs=0.05)

    def test_only_up_to_the_next_word(self) -> None:
        silence = listened().silence_after(at(PAUSE_START + 0.1), at(SECOND_END + 3.0))
        assert silence == pytest.approx(0.6, abs=0.05)

    def test_how_much_ends_a_turn_is_a_guess_until_it_was_seen(self) -> None:
        listening = listened()
        assert (listening.knows_end_silence, listening.end_silence) == (False, 2.0)
        listening.event(TurnEnd("one two three"), TurnTranscript(), at(FIRST_END + 1.2), 0.0)
        assert listening.knows_end_silence
        assert listening.end_silence == pytest.approx(1.25 * 1.2, abs=0.05)

    @pytest.mark.parametrize(("seen", "believed"), [(0.2, 1.0), (20.0, 6.0)])
    def test_and_stays_sensible_whatever_was_seen(self, seen: float, believed: float) -> None:
        listening = SpeechTracker(PCM16, EPOCH)
        pcm = Script("one", lead_in=1.0).audio() + PCM16.silence(30.0)
        listening.audio_received(pcm, PCM16.seconds(len(pcm)))
        listening.event(TurnEnd("one"), TurnTranscript(), at(1.2 + seen), 0.0)
        assert listening.end_silence == believed

    def test_one_that_was_long_by_chance_is_not_believed(self) -> None:
        listening = listened()
        for silence in (0.9, 3.5, 1.0):
            listening.event(
                TurnEnd("one two three"), TurnTranscript(), at(FIRST_END + silence), 0.0
            )
        assert listening.end_silence == pytest.approx(1.25, abs=0.05)

    def test_nor_one_that_was_heard_in_a_hurry(self) -> None:
        listening = listened()
        end = TurnEnd("one two three")
        listening.event(end, TurnTranscript(), at(FIRST_END + 1.2), 0.0, replaying=True)
        assert not listening.knows_end_silence

    def test_an_empty_turn_teaches_nothing(self) -> None:
        listening = listened()
        listening.event(TurnEnd(" "), TurnTranscript(), at(FIRST_END + 1.2), 0.0)
        assert not listening.knows_end_silence

    def test_speech_is_more_than_a_click(self) -> None:
        listening = listened()
        assert listening.spoke(at(FIRST_START), at(FIRST_END))
        assert not listening.spoke(at(FIRST_END), at(SECOND_START))
        assert not listening.spoke(at(FIRST_START), at(FIRST_START + 0.05))

    def test_words_before_a_muted_microphone_are_over(self) -> None:
        muted = FIRST_END - 0.1
        listening = listened(muted)
        assert seconds(listening.end_checkpoint(at(muted), 0, at(muted))) < muted
        listening.hush(at(muted))
        assert seconds(listening.end_checkpoint(at(muted), 0, at(muted))) == pytest.approx(
            muted, abs=0.03
        )
        timing = listening.timing(TurnEnd("one two"), at(muted))
        assert timing.speech_end == pytest.approx(EPOCH + muted, abs=0.03)


class TestTime:
    def test_a_turn_has_the_time_of_its_onset(self) -> None:
        listening = listened()
        listening.turn_checkpoint(at(FIRST_START + 0.3), 0)
        timing = listening.timing(TurnStart(), at(FIRST_START + 0.3))
        assert timing.position == pytest.approx(FIRST_START + 0.3)
        assert timing.speech_start == pytest.approx(EPOCH + FIRST_START, abs=0.03)
        assert timing.speech_end is None

    @pytest.mark.parametrize("event", [TurnEagerEnd("one"), TurnEnd("one")])
    def test_an_end_has_the_time_of_the_last_word(self, event: TurnEagerEnd | TurnEnd) -> None:
        listening = listened()
        listening.turn_checkpoint(at(FIRST_START + 0.3), 0)
        timing = listening.timing(event, at(FIRST_END + 1.0))
        assert timing.speech_end == pytest.approx(EPOCH + FIRST_END, abs=0.03)

    def test_an_update_has_none(self) -> None:
        timing = listened().timing(TurnUpdate("one"), at(FIRST_END + 1.0))
        assert timing.speech_end is None

    def test_an_end_before_the_beginning_is_not_known(self) -> None:
        listening = listened()
        listening.turn_checkpoint(at(SECOND_START + 0.3), at(FIRST_END))
        assert listening.timing(TurnEnd("x"), at(SECOND_START + 0.05)).speech_end is None
