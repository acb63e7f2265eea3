"""Text is put together verbatim from deltas that break anywhere, and no word is shown broken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.core.events import Transcript, Word
from cartesia_ink_plugins.core.manual.transcript import ManualTranscript
from cartesia_ink_plugins.core.text import complete_words

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


def heard(deltas: list[str]) -> tuple[list[str], str]:
    """The interims and the final that a user gets of deltas."""
    segments = ManualTranscript()
    interims = [segments.take(Transcript(delta), 0.0) for delta in deltas]
    return [interim.text for interim in interims if interim], segments.finish(1).text


class TestBreaks:
    @pytest.mark.parametrize("place", range(1, len(in_halves(SENTENCE))))
    def test_every_single_place(self, place: int) -> None:
        text = in_halves(SENTENCE)
        interims, final = heard([text[:place], text[place:]])
        assert final == SENTENCE
        self.check(interims)

    @given(st.lists(st.integers(0, 1000)))
    def test_any_places(self, places: list[int]) -> None:
        interims, final = heard(broken_at(in_halves(SENTENCE), places))
        assert final == SENTENCE
        self.check(interims)

    @given(st.text(), st.lists(st.integers(0, 1000)))
    def test_any_text_is_verbatim(self, text: str, places: list[int]) -> None:
        text = text.encode(errors="replace").decode()
        interims, final = heard(broken_at(in_halves(text), places))
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
    interims, final = heard(deltas)
    assert final == "Ink may break words. Nova's transcripts are complete."
    assert interims == [
        "Ink",
        "Ink may",
        "Ink may break",
        "Ink may break words. Nova's transcripts are",
    ]


def test_a_script_without_spaces_is_shown_as_it_comes() -> None:
    interims, final = heard(["東京", "は今日", "晴れです。"])
    assert interims == ["東京", "東京は今日", "東京は今日晴れです。"]
    assert final == "東京は今日晴れです。"


def test_a_guess_is_shown_and_replaced() -> None:
    segments = ManualTranscript()
    segments.take(Transcript("I want "), 0.0)
    guess = segments.take(Transcript("two tables now", is_final=False), 0.0)
    assert guess is not None
    assert guess.text == "I want two tables"
    segments.take(Transcript("to go."), 0.0)
    assert segments.finish(1).text == "I want to go."


def test_words_with_times_are_whole_and_stand_in_the_stream() -> None:
    segments = ManualTranscript()
    words = (Word("How", 0.0, 0.12), Word(" are", 0.15, 0.25))
    interim = segments.take(Transcript("How are", words=words, duration=0.3), 10.0)
    assert interim is not None
    assert interim.text == "How are"
    final = segments.finish(1)
    assert final.words == (Word("How", 10.0, 10.12), Word(" are", 10.15, 10.25))
    assert final.duration == 0.3


class TestAnotherConnection:
    def test_its_first_words_get_the_space_that_is_missing(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("Good evening."), 0.0)
        segments.finish(1)
        segments.reconnected(keep_known=False, overlaps=False)
        segments.take(Transcript("A table"), 0.0)
        assert segments.finish(2).text == " A table"

    def test_a_space_that_was_said_already_is_not_doubled(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("Good evening. "), 0.0)
        segments.finish(1)
        segments.reconnected(keep_known=False, overlaps=False)
        segments.take(Transcript("A table"), 0.0)
        assert segments.finish(2).text == "A table"

    def test_it_says_everything_again_and_the_user_sees_nothing_twice(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("I want a table fo"), 0.0)
        segments.reconnected(keep_known=False, overlaps=False)
        assert segments.take(Transcript("I want a "), 0.0) is None
        interim = segments.take(Transcript("table for two"), 0.0)
        assert interim is not None
        assert interim.text == "I want a table for"
        assert segments.finish(1).text == "I want a table for two"

    def test_what_it_does_not_hear_again_is_kept(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("I want a table."), 0.0)
        segments.reconnected(keep_known=False, overlaps=False)
        segments.take(Transcript("I want"), 0.0)
        assert segments.finish(1).text == "I want a table."

    def test_it_goes_on_from_a_mark(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("Good evening."), 0.0)
        segments.set_mark(100)
        segments.take(Transcript(" A tab"), 0.0)
        segments.reconnected(keep_known=False, overlaps=False)
        segments.take(Transcript("A table."), 0.0)
        assert segments.finish(200).text == "Good evening. A table."


class TestUnanswered:
    def test_a_word_that_may_be_broken_waits_for_its_rest(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("A table for peo"), 0.0)
        first = segments.interrupt()
        assert (first.text, first.is_complete) == ("A table for", False)
        segments.take(Transcript("ple."), 0.0)
        second = segments.finish(1)
        assert (second.text, second.is_complete) == (" people.", True)

    def test_a_whole_sentence_does_not_wait(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("A table."), 0.0)
        assert segments.interrupt().text == "A table."
        assert segments.finish(1).text == ""

    def test_what_was_given_is_not_given_again_by_another_connection(self) -> None:
        segments = ManualTranscript()
        segments.take(Transcript("A table for peo"), 0.0)
        assert segments.interrupt().text == "A table for"
        segments.reconnected(keep_known=False, overlaps=False)
        segments.take(Transcript("A table for people. Tomorrow."), 0.0)
        assert segments.finish(1).text == " people. Tomorrow."


@pytest.mark.parametrize(
    ("given_", "text", "rest"),
    [
        ("", "a b", "a b"),
        ("a b", "a b c", " c"),
        ("a b", "a", ""),
        ("I can", "I can't do", " do"),
        ("too tables", "two tables for me", " for me"),
    ],
)
def test_what_comes_after_known_words(given_: str, text: str, rest: str) -> None:
    assert after(given_, text) == rest


def test_half_a_character_is_no_text() -> None:
    assert mend("a\ud83d") == "a\ufffd"
    assert mend("a\ud83d\ude00") == "a😀"
    assert complete_words("one two") == "one"
    assert complete_words("one\n") == "one"
