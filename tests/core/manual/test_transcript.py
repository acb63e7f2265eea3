"""Text is put together verbatim from deltas that break anywhere; no interim has a broken word."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import Transcript, Word
from cartesia_ink_plugins.core.manual.transcript import ManualTranscript

SENTENCE = (
    "Ink may break words. Nova's transcripts aren't 3.5 times as well-formed, naïve 😀 or not!"
)


def broken_at(text: str, places: list[int]) -> list[str]:
    """Cut a text at places."""
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(cuts)]


def in_halves(text: str) -> str:
    """A text whose characters beyond the first plane are two halves, as JSON may break them."""
    data = text.encode("utf-16-le")
    return "".join(
        data[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(data), 2)
    )


def received(deltas: list[str]) -> tuple[list[str], str]:
    """The interims and the final that a user receives for deltas."""
    transcript = ManualTranscript()
    interims = [transcript.receive(Transcript(delta), 0.0) for delta in deltas]
    return [interim.text for interim in interims if interim], transcript.finish(1).text


class TestBreaks:
    @pytest.mark.parametrize("place", range(1, len(in_halves(SENTENCE))))
    def test_every_single_place(self, place: int) -> None:
        text = in_halves(SENTENCE)
        interims, final = received([text[:place], text[place:]])
        assert final == SENTENCE
        self.check(interims)

    @given(st.lists(st.integers(0, 1000)))
    def test_any_places(self, places: list[int]) -> None:
        interims, final = received(broken_at(in_halves(SENTENCE), places))
        assert final == SENTENCE
        self.check(interims)

    @given(st.text(), st.lists(st.integers(0, 1000)))
    def test_any_text_is_verbatim(self, text: str, places: list[int]) -> None:
        text = text.encode(errors="replace").decode()
        interims, final = received(broken_at(in_halves(text), places))
        assert final == text
        for interim in interims:
            assert text.startswith(interim)
            interim.encode()

    def check(self, interims: list[str]) -> None:
        for shorter, longer in pairwise(interims):
            assert len(shorter) < len(longer)
        for interim in interims:
            assert SENTENCE.startswith(interim)
            assert SENTENCE[len(interim)] == " "


def test_the_documented_example_is_joined_without_anything() -> None:
    deltas = ["Ink ", "may bre", "ak words.", " Nova's transcripts are ", "complete."]
    interims, final = received(deltas)
    assert final == "Ink may break words. Nova's transcripts are complete."
    assert interims == [
        "Ink",
        "Ink may",
        "Ink may break",
        "Ink may break words. Nova's transcripts are",
    ]


def test_a_script_without_spaces_is_shown_as_it_arrives() -> None:
    interims, final = received(["東京", "は今日", "晴れです。"])
    assert interims == ["東京", "東京は今日", "東京は今日晴れです。"]
    assert final == "東京は今日晴れです。"


def test_a_hypothesis_is_shown_and_replaced() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("I want "), 0.0)
    hypothesis = transcript.receive(Transcript("two tables now", is_final=False), 0.0)
    assert hypothesis is not None
    assert hypothesis.text == "I want two tables"
    transcript.receive(Transcript("to go."), 0.0)
    assert transcript.finish(1).text == "I want to go."


def test_words_with_times_are_complete_and_have_times_of_the_stream() -> None:
    transcript = ManualTranscript()
    words = (Word("How", 0.0, 0.12), Word(" are", 0.15, 0.25))
    interim = transcript.receive(Transcript("How are", words=words, duration=0.3), 10.0)
    assert interim is not None
    assert interim.text == "How are"
    final = transcript.finish(1)
    assert final.words == (Word("How", 10.0, 10.12), Word(" are", 10.15, 10.25))
    assert final.duration == 0.3


def test_the_duration_of_a_final_is_that_of_its_own_deltas() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("One.", duration=0.3), 0.0)
    transcript.receive(Transcript(" Two.", duration=0.5), 0.0)
    assert transcript.finish(100).duration == pytest.approx(0.8)
    transcript.receive(Transcript("Three.", duration=0.2), 0.0)
    assert transcript.finish(200).duration == pytest.approx(0.2)


class TestAnotherConnection:
    def test_its_first_text_gets_the_space_that_is_missing(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("Good evening."), 0.0)
        transcript.finish(1)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        transcript.receive(Transcript("A table"), 0.0)
        assert transcript.finish(2).text == " A table"

    def test_a_space_that_is_there_already_is_not_doubled(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("Good evening. "), 0.0)
        transcript.finish(1)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        transcript.receive(Transcript("A table"), 0.0)
        assert transcript.finish(2).text == "A table"

    def test_it_recognizes_everything_again_and_the_user_sees_nothing_twice(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("I want a table fo"), 0.0)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        assert transcript.receive(Transcript("I want a "), 0.0) is None
        interim = transcript.receive(Transcript("table for two"), 0.0)
        assert interim is not None
        assert interim.text == "I want a table for"
        assert transcript.finish(1).text == "I want a table for two"

    def test_text_that_it_does_not_recognize_again_is_kept(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("I want a table."), 0.0)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        transcript.receive(Transcript("I want"), 0.0)
        assert transcript.finish(1).text == "I want a table."

    def test_it_continues_from_a_checkpoint(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("Good evening."), 0.0)
        transcript.set_checkpoint(100)
        transcript.receive(Transcript(" A tab"), 0.0)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        transcript.receive(Transcript("A table."), 0.0)
        assert transcript.finish(200).text == "Good evening. A table."

    def test_a_checkpoint_without_text_only_moves_the_position(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("A table."), 0.0)
        transcript.set_checkpoint(100)
        transcript.set_checkpoint(200)
        assert (transcript.checkpoint.position, transcript.checkpoint.text) == (200, "A table.")

    def test_without_the_audio_of_the_checkpoint_it_continues_the_known_text(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("I want a table fo"), 0.0)
        transcript.connection_replaced(keep_known=True, overlaps=True)
        transcript.receive(Transcript("table for two."), 0.0)
        assert transcript.finish(1).text == "I want a table for two."

    def test_without_any_audio_that_it_has_text_of_the_rest_follows_a_space(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("I want a table"), 0.0)
        transcript.connection_replaced(keep_known=True, overlaps=False)
        transcript.receive(Transcript("table lamp."), 0.0)
        assert transcript.finish(1).text == "I want a table table lamp."

    def test_words_and_duration_of_the_lost_connection_are_replaced(self) -> None:
        transcript = ManualTranscript()
        first = Transcript("One.", words=(Word("One.", 0.0, 0.5),), duration=1.0)
        transcript.receive(first, 0.0)
        transcript.set_checkpoint(100)
        lost = Transcript(" Two", words=(Word(" Two", 1.0, 1.5),), duration=1.0)
        transcript.receive(lost, 0.0)
        transcript.connection_replaced(keep_known=False, overlaps=False)
        again = Transcript("Two.", words=(Word("Two.", 0.2, 0.7),), duration=0.9)
        transcript.receive(again, 0.8)
        final = transcript.finish(200)
        assert final.text == "One. Two."
        assert final.words == (Word("One.", 0.0, 0.5), Word("Two.", 1.0, 1.5))
        assert final.duration == 1.9


class TestWithoutAnAnswer:
    def test_a_word_that_may_be_broken_waits_for_its_rest(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("A table for peo"), 0.0)
        first = transcript.interrupt()
        assert (first.text, first.is_complete) == ("A table for", False)
        transcript.receive(Transcript("ple."), 0.0)
        second = transcript.finish(1)
        assert (second.text, second.is_complete) == (" people.", True)

    def test_a_complete_sentence_does_not_wait(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("A table."), 0.0)
        assert transcript.interrupt().text == "A table."
        assert transcript.finish(1).text == ""

    def test_text_that_was_delivered_is_not_delivered_again_by_another_connection(self) -> None:
        transcript = ManualTranscript()
        transcript.receive(Transcript("A table for peo"), 0.0)
        assert transcript.interrupt().text == "A table for"
        transcript.connection_replaced(keep_known=False, overlaps=False)
        transcript.receive(Transcript("A table for people. Tomorrow."), 0.0)
        assert transcript.finish(1).text == " people. Tomorrow."


def test_only_the_first_text_of_a_connection_is_spaced() -> None:
    """Where a connection begins behind a final, the space before its first word is missing."""
    transcript = ManualTranscript()
    transcript.receive(Transcript("Hello"), 0.0)
    transcript.finish(1)
    transcript.connection_replaced(keep_known=False, overlaps=False)
    transcript.receive(Transcript("there."), 0.0)
    assert transcript.finish(2).text == " there."
    transcript.receive(Transcript("And"), 0.0)
    assert transcript.finish(3).text == "And"


def test_a_connection_that_had_nothing_to_say_yet_is_spaced_later() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("Hello"), 0.0)
    transcript.finish(1)
    transcript.connection_replaced(keep_known=False, overlaps=False)
    assert transcript.finish(2).text == ""
    transcript.receive(Transcript("there."), 0.0)
    assert transcript.finish(3).text == " there."


def test_text_whose_audio_is_given_up_is_kept_and_continued() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("Hello there,"), 0.0)
    transcript.keep_known_text(100)
    assert transcript.checkpoint.position == 100
    assert transcript.text_at_checkpoint == "Hello there,"
    transcript.receive(Transcript("two of us."), 0.0)
    assert transcript.finish(200).text == "Hello there, two of us."


def test_a_hypothesis_settles_nothing() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("Hello"), 0.0)
    transcript.receive(Transcript(" the", is_final=False), 0.0)
    transcript.set_checkpoint(100)
    assert transcript.text_at_checkpoint == "Hello"
    transcript.receive(Transcript(" there."), 0.0)
    assert transcript.finish(200).text == "Hello there."


def test_a_word_may_be_broken_at_a_checkpoint_of_a_later_connection() -> None:
    transcript = ManualTranscript()
    transcript.receive(Transcript("Hello"), 0.0)
    transcript.finish(1)
    transcript.connection_replaced(keep_known=False, overlaps=False)
    transcript.receive(Transcript("the"), 0.0)
    transcript.set_checkpoint(100)
    transcript.receive(Transcript("re."), 0.0)
    assert transcript.finish(200).text == " there."
