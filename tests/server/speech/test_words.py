"""Words are held back until they are certain, and never taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.server.speech.words import Words, after, split

texts = st.text(alphabet="ab .,", max_size=30)


def test_a_word_is_settled_when_three_decodes_agree_and_two_words_follow_it() -> None:
    words = Words()
    assert words.guess(" I'd like a") == ""
    assert words.guess(" I'd like a table") == ""
    assert words.guess(" I'd like a table for") == " I'd"
    assert words.guess(" like a table for") == " like"
    assert words.text == " I'd like"


def test_a_word_that_changes_is_held_back() -> None:
    words = Words()
    words.guess(" Book of Rome")
    words.guess(" Book a room")
    words.guess(" Book a room for")
    assert words.text == ""
    words.guess(" Book a room for two")
    assert words.text == " Book"


def test_two_decodes_that_are_sure_of_a_word_settle_it() -> None:
    words = Words()
    assert words.guess(" Wait.", " Wait") == ""
    assert words.guess(" Wait, could we", " Wait, could") == " Wait,"
    assert words.guess(" could we come", " could we") == " could"
    assert words.text == " Wait, could"


def test_a_mark_does_not_make_another_word() -> None:
    words = Words()
    words.guess(" hello? I would")
    words.guess(" Hello, I would like")
    assert words.guess(" Hello, I would like a") == " Hello,"


def test_in_a_pause_everything_is_settled() -> None:
    words = Words()
    words.guess(" Book a")
    assert words.settle(" Book a room.") == " Book a room."
    assert words.settle("") == ""
    assert words.text == " Book a room."


def test_guesses_made_before_a_pause_count_no_more() -> None:
    words = Words()
    words.guess(" one two")
    words.guess(" one two")
    words.settle(" one")
    assert words.guess(" one two") == ""


@given(st.lists(st.tuples(st.booleans(), texts)))
def test_the_text_only_grows(decodes: list[tuple[bool, str]]) -> None:
    words = Words()
    for pause, text in decodes:
        before = words.text
        new = words.settle(text) if pause else words.guess(text, text[: len(text) // 2])
        assert words.text == before + new


def test_words_keep_their_spaces_and_punctuation() -> None:
    assert split(" Hi, I'd like") == [" Hi,", " I'd", " like"]
    assert split(", and") == [",", " and"]
    assert split("") == []


def test_a_phrase_said_over_and_over_is_said_once() -> None:
    assert split(" so" * 20) == [" so"]
    assert split(" Well, thank you. Thank you. thank you Thank you.") == [
        " Well,",
        " thank",
        " you.",
    ]
    assert split(" no no no") == [" no", " no", " no"]


def test_what_follows_the_settled_words_is_found_whatever_their_case_and_punctuation() -> None:
    assert after(" Hi, I'd like", " hi I'd like to book") == " to book"
    assert after("", " Hello.") == " Hello."
    assert after(" Hello.", " Hello") == ""
    assert after(" Hello", " Yellow bird") is None
    assert after(" Hello there", " Hello") is None


def test_the_last_settled_word_may_go_on() -> None:
    assert after(" Wait", " Wait, could we") == ", could we"
    assert after(" my mother", " My mother's birthday") == "'s birthday"
    assert after(" my mother's", " my mother") is None
