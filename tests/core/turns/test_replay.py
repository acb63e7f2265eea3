"""Where a replay begins, what leaves the replay buffer, and when a turn awaiting it is over."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.audio import AudioFormat
from cartesia_ink_plugins.core.events import (
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.core.options import Resilience
from tests.core.hand import Hand, connected, words
from tests.core.turns.conversation import without_times

PCM16 = AudioFormat()


def second_turn(resilience: Resilience | None = None, eager: str = "one two three") -> Hand:
    """One turn is over, 2 s of silence later another one has begun, at 6.5 s or so.

    Args:
        resilience: How the session recovers.
        eager: Text of the first turn's eager end; that of its end is "one two three".
    """
    hand = connected(resilience=resilience)
    hand.silence(1.0)
    hand.speak(words())
    hand.receives(TurnStart(), TurnUpdate("one"))
    hand.silence(0.5)
    hand.receives(TurnEagerEnd(eager))
    hand.silence(0.5)
    hand.receives(TurnEnd("one two three"))
    next_turn(hand, " four")
    return hand


def next_turn(hand: Hand, text: str) -> None:
    """After 3 s of silence another turn begins, with a text."""
    hand.silence(3.0)
    hand.speak(words())
    hand.receives(TurnStart(), TurnUpdate(text))


def turn_events(hand: Hand) -> list[TurnEvent]:
    return [event for event in hand.events if isinstance(event, TurnEvent)]


def seconds(position: int) -> float:
    return PCM16.seconds(position)


def checkpoint(hand: Hand) -> tuple[float, str]:
    found = hand.session.transcript.checkpoint
    assert found is not None
    return seconds(found.position), found.text


class TestCheckpoints:
    def test_a_turn_is_replayed_from_its_onset(self) -> None:
        hand = second_turn()
        onset = hand.now - seconds(len(words()))
        position, text = checkpoint(hand)
        assert onset - 0.6 < position < onset
        assert text == ""

    def test_after_an_eager_end_it_is_replayed_from_the_pause(self) -> None:
        hand = second_turn()
        end = hand.now
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        position, text = checkpoint(hand)
        assert end < position < hand.now
        assert text == " four five six"

    def test_but_not_where_the_eager_end_of_this_server_may_lack_words(self) -> None:
        hand = second_turn(eager="one two")
        onset = checkpoint(hand)
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five"))
        assert checkpoint(hand) == onset

    @pytest.mark.parametrize(("first", "is_trusted"), [("one two three", True), ("one two", False)])
    def test_it_is_trusted_for_as_long_as_none_lacked_words(
        self, first: str, *, is_trusted: bool
    ) -> None:
        hand = second_turn(eager=first)
        hand.silence(0.5)
        hand.receives(TurnEagerEnd(" four five six"))
        hand.silence(0.5)
        hand.receives(TurnEnd(" four five six"))
        next_turn(hand, " seven")
        onset = checkpoint(hand)
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" seven eight nine"))
        assert (checkpoint(hand) != onset) is is_trusted

    def test_an_update_that_says_the_same_again_takes_nothing_back(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        pause = checkpoint(hand)
        hand.receives(TurnUpdate(" four five six"))
        assert checkpoint(hand) == pause

    def test_once_it_lacked_words_the_pause_before_is_none_either(self) -> None:
        hand = second_turn()
        onset = checkpoint(hand)
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five"))
        assert checkpoint(hand) != onset
        hand.speak(words())
        hand.receives(TurnUpdate(" four five six"))
        assert checkpoint(hand) == onset

    def test_an_eager_end_in_the_middle_of_speech_adds_none(self) -> None:
        hand = second_turn()
        before = checkpoint(hand)
        hand.speak(words(6))
        hand.receives(TurnEagerEnd(" four five six"))
        assert checkpoint(hand) == before

    def test_a_resume_without_speech_after_the_pause_revokes_it(self) -> None:
        hand = second_turn()
        onset = checkpoint(hand)
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five"))
        hand.silence(0.1)
        hand.receives(TurnResume())
        assert checkpoint(hand) == onset

    def test_more_text_without_speech_after_the_pause_revokes_it(self) -> None:
        hand = second_turn()
        onset = checkpoint(hand)
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five"))
        hand.silence(0.1)
        hand.receives(TurnUpdate(" four five six"))
        assert checkpoint(hand) == onset

    def test_a_resume_with_speech_after_the_pause_keeps_it(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        pause = checkpoint(hand)
        hand.speak(words())
        hand.silence(0.1)
        hand.receives(TurnResume())
        assert checkpoint(hand) == pause

    @pytest.mark.parametrize(("silence", "is_added"), [(0.25, False), (0.4, True), (0.8, True)])
    def test_an_eager_end_that_comes_sooner_than_any_with_all_words_adds_none(
        self, silence: float, is_added: bool
    ) -> None:
        """The eager end of the first turn had all words, but came after 0.5 s of silence."""
        hand = second_turn()
        onset = checkpoint(hand)
        hand.silence(silence)
        hand.receives(TurnEagerEnd(" four five"))
        assert (checkpoint(hand) != onset) is is_added

    def test_until_one_that_came_as_soon_had_all_words(self) -> None:
        hand = second_turn()
        hand.silence(0.25)
        hand.receives(TurnEagerEnd(" four five"))
        hand.silence(0.5)
        hand.receives(TurnEnd(" four five"))
        next_turn(hand, " six")
        onset = checkpoint(hand)
        hand.silence(0.25)
        hand.receives(TurnEagerEnd(" six seven"))
        assert checkpoint(hand) != onset


class TestReplayBuffer:
    def test_settled_audio_leaves_it(self) -> None:
        hand = second_turn()
        assert seconds(hand.session.sender.buffer.start) > 2.0

    def test_an_open_turn_stays_in_it(self) -> None:
        hand = second_turn()
        onset, _ = checkpoint(hand)
        hand.silence(20.0)
        assert seconds(hand.session.sender.buffer.start) <= onset

    def test_long_silence_leaves_it(self) -> None:
        hand = second_turn()
        hand.silence(1.0)
        hand.receives(TurnEnd(" four five six"))
        hand.silence(30.0)
        buffer = hand.session.sender.buffer
        assert seconds(buffer.end - buffer.start) < 5.0

    def test_speech_that_no_event_announced_stays_in_it(self) -> None:
        hand = second_turn()
        hand.silence(1.0)
        hand.receives(TurnEnd(" four five six"))
        hand.silence(2.0)
        begun = hand.now
        hand.speak(words())
        hand.silence(3.0)
        assert seconds(hand.session.sender.buffer.start) < begun


class TestAfterALoss:
    @staticmethod
    def replayed(hand: Hand) -> float:
        """Lose the connection; return how many seconds before that the next one begins."""
        lost_at = hand.session.sender.sent
        hand.close(1006)
        hand.silence(0.02)
        hand.session.connection_opened(hand.now)
        position = hand.session.sender.sent
        hand.settle()
        audio = hand.session.sender.counts.replayed
        return seconds(lost_at - position + min(audio, PCM16.size(0.2)))

    def test_the_turn_is_replayed_from_its_checkpoint(self) -> None:
        hand = second_turn()
        onset, _ = checkpoint(hand)
        lost_at = hand.now
        assert self.replayed(hand) == pytest.approx(lost_at - onset, abs=0.05)

    def test_after_a_pause_only_what_followed_it_is_replayed(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        pause, _ = checkpoint(hand)
        hand.speak(words())
        hand.receives(TurnResume())
        lost_at = hand.now
        assert self.replayed(hand) == pytest.approx(lost_at - pause, abs=0.05)

    def test_an_eager_end_that_is_valid_is_not_trusted_but_the_pause_before_it_is(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        first_pause, _ = checkpoint(hand)
        hand.speak(words())
        hand.receives(TurnResume(), TurnUpdate(" four five six seven"))
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six seven eight"))
        assert checkpoint(hand)[0] > first_pause
        assert self.replayed(hand) == pytest.approx(hand.now - first_pause, abs=0.05)

    def test_of_a_long_turn_with_updates_only_the_last_seconds_are_replayed(self) -> None:
        hand = second_turn()
        text = " four"
        for number in range(5, 25, 5):
            hand.speak(words(8))
            text += "".join(f" word{number + n}" for n in range(5))
            hand.receives(TurnUpdate(text))
        onset, _ = checkpoint(hand)
        assert hand.now - onset > 8.0
        assert self.replayed(hand) < 6.0

    def test_a_turn_longer_than_the_buffer_goes_on_from_the_known_text(self) -> None:
        hand = second_turn(Resilience(replay_buffer_seconds=3.0))
        hand.receives(TurnUpdate(" four five six"))
        hand.speak(words(15))
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(3.0)
        hand.receives(TurnStart(), TurnEnd("six seven eight"))
        assert hand.events[-1].transcript == " four five six seven eight"  # type: ignore[union-attr]

    def test_a_turn_whose_silence_is_long_enough_ends_without_a_connection(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        hand.close(1006)
        hand.silence(0.1)
        assert not isinstance(turn_events(hand)[-1], TurnEnd)
        hand.silence(3.9)
        end = hand.events[-1]
        assert isinstance(end, TurnEnd)
        assert end.transcript == " four five six"

    def test_nor_does_one_whose_pause_was_long_enough_before_somebody_spoke_again(self) -> None:
        """What was said behind that pause is a turn of the next connection."""
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        pause, _ = checkpoint(hand)
        hand.silence(1.1)
        hand.speak(words())
        hand.receives(TurnResume())
        hand.forget()
        hand.close(1006)
        hand.silence(0.6)
        ended = [event.transcript for event in turn_events(hand) if isinstance(event, TurnEnd)]
        assert ended == [" four five six"]
        hand.open()
        hand.close(1006)  # before a word of it
        hand.silence(1.0)
        assert seconds(len(hand.session.unrecognized().audio)) < hand.now - pause + 0.01
        hand.open()
        hand.receives(TurnStart(), TurnUpdate("seven"))
        assert without_times(turn_events(hand))[-2:] == [TurnStart(), TurnUpdate(" seven")]

    def test_a_turn_in_the_middle_of_speech_does_not(self) -> None:
        hand = second_turn()
        hand.close(1006)
        hand.silence(4.0)
        assert not [e for e in hand.events[-3:] if isinstance(e, TurnEnd)]
        assert hand.session.transcript.is_awaiting_replay

    @pytest.mark.parametrize(
        ("repeated", "more"),
        [([TurnStart(), TurnEnd(" four five six")], []), ([TurnStart()], [TurnUpdate(" seven")])],
    )
    def test_what_it_ended_with_is_not_given_again(
        self, repeated: list[TurnEvent], more: list[TurnEvent]
    ) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        hand.close(1006)
        hand.silence(4.0)
        hand.open()
        hand.forget()
        hand.receives(*repeated)
        assert turn_events(hand) == []
        if more:
            hand.receives(TurnUpdate(" four five six seven"))
            assert without_times(turn_events(hand))[1:] == more

    def test_words_that_left_the_buffer_are_not_expected_again(self) -> None:
        hand = second_turn(Resilience(replay_buffer_seconds=3.0))
        hand.receives(TurnUpdate(" four five six"))
        hand.speak(words(15))
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(3.0)
        hand.receives(TurnStart(), TurnEnd("seven eight nine ten"))
        text = hand.events[-1].transcript  # type: ignore[union-attr]
        assert text == " four five six seven eight nine ten"

    @staticmethod
    def begun_by_a_short_sound(outage: float = 0.02, text: str = "") -> Hand:
        """The connection of the second turn was lost, and another one is open."""
        hand = connected()
        hand.silence(1.0)
        hand.speak(words())
        hand.receives(TurnStart(), TurnUpdate("one"))
        hand.silence(1.0)
        hand.receives(TurnEnd("one two three"))
        hand.silence(3.0)
        hand.speak(words(1))
        hand.receives(TurnStart(), TurnUpdate(text))
        hand.close(1006)
        hand.silence(outage)
        hand.open()
        hand.forget()
        return hand

    def test_a_short_sound_that_the_next_connection_did_not_announce_was_no_speech(self) -> None:
        hand = self.begun_by_a_short_sound()
        hand.silence(4.0)
        assert without_times(turn_events(hand)) == [TurnEnd("", request_id="request")]

    def test_a_connection_that_is_sent_it_late_has_as_long_to_announce_it(self) -> None:
        """Behind an outage the silence is received at once, as fast as it can be sent."""
        hand = self.begun_by_a_short_sound(outage=4.0)
        hand.silence(2.0)
        assert turn_events(hand) == []
        hand.silence(2.0)
        assert without_times(turn_events(hand)) == [TurnEnd("", request_id="request")]

    def test_it_may_yet_announce_it_while_it_is_not_known_to_have_received_it(self) -> None:
        """No ping is answered: the network is slow, in either direction."""
        hand = self.begun_by_a_short_sound()
        hand.server_lives = False
        hand.silence(4.0)
        hand.receives(TurnStart(), TurnUpdate(" four"), TurnEnd(" four"))
        assert without_times(turn_events(hand)) == [TurnUpdate(" four"), TurnEnd(" four")]

    def test_a_second_short_sound_before_the_silence_makes_no_difference(self) -> None:
        hand = self.begun_by_a_short_sound()
        hand.silence(0.5)
        hand.speak(words(1))
        hand.silence(4.0)
        assert without_times(turn_events(hand)) == [TurnEnd("", request_id="request")]

    def test_a_turn_with_text_is_speech_however_short_it_was(self) -> None:
        hand = self.begun_by_a_short_sound(text=" four")
        hand.silence(4.0)
        assert turn_events(hand) == []

    def test_it_is_not_over_while_somebody_speaks_again(self) -> None:
        hand = self.begun_by_a_short_sound()
        hand.silence(2.2)
        hand.speak(words(1))
        hand.silence(1.5)
        hand.receives(TurnStart(), TurnUpdate(" four"), TurnEnd(" four"))
        assert without_times(turn_events(hand)) == [TurnUpdate(" four"), TurnEnd(" four")]

    def test_a_turn_that_goes_on_behind_its_last_pause_is_not_over(self) -> None:
        hand = second_turn()
        hand.silence(0.4)
        hand.receives(TurnEagerEnd(" four five six"))
        hand.speak(words())
        hand.receives(TurnResume())
        hand.forget()
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(1.0)
        assert turn_events(hand) == []
        hand.receives(TurnStart(), TurnEnd("seven"))
        assert hand.events[-1].transcript == " four five six seven"  # type: ignore[union-attr]

    def test_a_second_loss_in_the_replay_does_not_shorten_it(self) -> None:
        """Until all that the first connection was sent is sent again, no end is the turn's."""
        hand = second_turn()
        hand.speak(words(10))
        hand.receives(TurnUpdate(" four five six seven eight"))
        hand.forget()
        for pause in (0.02, 1.0):
            hand.close(1006)
            hand.silence(pause)
            hand.open()
            hand.silence(0.02)
        hand.silence(1.7)
        hand.receives(TurnStart(), TurnEnd(" four"))
        assert turn_events(hand) == []
        hand.receives(TurnStart(), TurnEnd(" five six seven eight"))
        assert [event.transcript for event in turn_events(hand)] == [" four five six seven eight"]  # type: ignore[union-attr]


class TestAReplay:
    """Whether the server may still speak about what the former connection was sent."""

    @pytest.mark.parametrize("answers", [False, True])
    def test_is_over_once_the_server_has_received_it(self, *, answers: bool) -> None:
        """What was sent may be under way: 2.3 s behind the loss have been sent here."""
        hand = second_turn()
        hand.receives(TurnUpdate(" four five six"))
        hand.close(1006)
        hand.wait(0.1)
        hand.open()
        hand.server_lives = answers
        hand.silence(2.3)
        hand.forget()
        hand.receives(TurnStart(), TurnEnd(" four"), TurnStart(), TurnEnd(" five six seven"))
        ends = [event.transcript for event in turn_events(hand) if isinstance(event, TurnEnd)]
        assert ends == ([" four five six", " seven"] if answers else [" four five six seven"])


class TestAnEndAtOneOfTwoPauses:
    """Each of two pauses was long enough to have ended the turn, with one word between them."""

    @staticmethod
    def ended(word: bytes) -> tuple[Hand, float]:
        """Return the call, a second behind the word, and when the word was over."""
        hand = second_turn()
        hand.silence(1.0)
        hand.receives(TurnEnd(" four five six"))
        next_turn(hand, " seven")
        hand.silence(0.8)
        hand.speak(word)
        word_end = hand.now
        hand.silence(1.0)
        hand.receives(TurnEnd(" seven eight nine"))
        return hand, word_end

    @staticmethod
    def held_since(hand: Hand) -> float:
        """When the audio begins that another connection would be sent."""
        return hand.now - seconds(len(hand.session.unrecognized().audio))

    def test_the_word_is_kept_until_a_server_that_lives_would_have_announced_it(self) -> None:
        """The detector of stalls would have replaced a silent server 7 s after the last event."""
        hand, word_end = self.ended(words(1))
        hand.silence(5.5)
        assert self.held_since(hand) < word_end - 0.5
        hand.silence(1.5)
        assert self.held_since(hand) > word_end

    def test_a_server_that_lets_pass_another_sound_may_have_let_pass_the_word(self) -> None:
        hand, word_end = self.ended(words(1))
        hand.silence(2.0)
        hand.speak(words()[: PCM16.size(0.12)])
        hand.silence(10.0)
        assert self.held_since(hand) < word_end - 0.5

    def test_a_connection_that_has_said_nothing_yet_tells_nothing(self) -> None:
        hand, word_end = self.ended(words()[: PCM16.size(0.12)])
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(12.0)
        assert self.held_since(hand) < word_end - 0.5

    def test_the_word_is_not_told_again(self) -> None:
        hand, _ = self.ended(words(1))
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.forget()
        hand.receives(TurnStart(), TurnUpdate("nine"), TurnEnd("nine"))
        assert turn_events(hand) == []

    def test_behind_a_certain_end_the_same_word_is_another_one(self) -> None:
        hand = second_turn()
        hand.silence(1.0)
        hand.receives(TurnEnd(" four five six"))
        hand.silence(3.0)
        begun = hand.now
        hand.speak(words(1))
        hand.close(1006)
        assert begun - 0.6 < self.held_since(hand) < begun
        hand.silence(0.02)
        hand.open()
        hand.forget()
        hand.receives(TurnStart(), TurnUpdate("six"), TurnEnd("six"))
        assert [type(event) for event in turn_events(hand)] == [TurnStart, TurnUpdate, TurnEnd]

    def test_a_word_of_the_next_turn_may_be_the_last_one_of_this(self) -> None:
        """The next connection announced none of what may have been behind the first pause."""
        hand, _ = self.ended(words()[: PCM16.size(0.12)])
        hand.close(1006)
        hand.silence(0.02)
        hand.open()
        hand.silence(7.0)
        hand.forget()
        hand.speak(words(1))
        hand.receives(TurnStart(), TurnUpdate("nine"), TurnEnd("nine"))
        assert [type(event) for event in turn_events(hand)] == [TurnStart, TurnUpdate, TurnEnd]
