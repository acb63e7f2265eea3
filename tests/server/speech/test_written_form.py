"""Dictated numbers, spelled words and e-mail addresses in one piece; all other text as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.server.speech.written_form import WrittenForm, settled_until, written


@pytest.mark.parametrize(
    ("heard", "form"),
    [
        (" My number is 5, 5, 5, 2, 3, 6, 8.", " My number is 555-2368"),
        (" 419. 606, 2285 is mine", " 419-606-2285 is mine"),
        (" call 1 800 555 1212 now", " call 1-800-555-1212 now"),
        (" 07. 912. three four five", " 07912345"),
        (" It's 2-1-2 5-5-5 oh 147.", " It's 212-555-0147"),
        (" It's 555-236-8.", " It's 555-2368"),
        (" one nine four six", " 1946"),
        (" 9-1, 8-0 7-7.", " 918077"),
        (" 1, 7, 3 Oak Street", " 173 Oak Street"),
        (" Oh, 5 5 5 2", " Oh, 5552"),
        (" My code is 5, 5, 5, 2. Thank you.", " My code is 5552. Thank you."),
        (" The name is S-M-I-T-H.", " The name is SMITH"),
        (" S. M. I. T. H. thanks", " SMITH. thanks"),
        (" B-A-K D-R", " BAKDR"),
        (" L A R K I think", " LARK I think"),
        (" john at example dot com", " john@example.com"),
        (" It's john dot smith at Gmail dot com.", " It's john.smith@gmail.com."),
        (" M-A-R-I-A at example.com", " maria@example.com"),
        (" Mail to Ann underscore 7 at example dot co dot uk?", " Mail to Ann_7@example.co.uk?"),
        (" Visit us at example dot com please", " Visit us at example.com please"),
        (" at 2.30 pm", " at 2:30 pm"),
        (" 11.05 a.m. is fine", " 11:05 a.m. is fine"),
    ],
)
def test_what_was_dictated_is_written_in_one_piece(heard: str, form: str) -> None:
    assert written(heard, pause=True) == form


@pytest.mark.parametrize(
    "text",
    [
        " I'd like 20,000 of them, not 2, 3 or 4.",
        " In 2025, 300 people came on June 3, 2026.",
        " rooms 2, 3, 4 and 5",
        " 10, 11, 12",
        " 200, 300, 400 dollars",
        " 7, 30",
        " It's 2-7, 992-18, 1994-1996 and 2026-03-01 then.",
        " Nineteen eighty, 1980, four.",
        " at 8 o'clock, $30, 3.5, 9:30 and 2.50",
        " See you at 8.",
        " in 1984.",
        " I, I, I am in the U.S. at 5 P.M. I think so.",
        " Look at example.com, at noon, at ten.",
        " No one, no two. Oh, well, a b.",
        " Plan A, B, or C.",
        "",
    ],
)
def test_what_was_not_dictated_is_as_it_was(text: str) -> None:
    assert written(text, pause=True) == text


WORDS = st.sampled_from(
    "5 12 555 2368 07 5, 555. 5-5 two oh Oh, 2,000 2025, $5 2.30 pm S M. I A S-M-I a "
    "at dot underscore john example example.com com com. and or is my Please yes. it's June".split()
)
TEXTS = st.lists(WORDS, max_size=14).map(lambda words: "".join(f" {word}" for word in words))
PLAIN = st.lists(
    st.sampled_from(
        "we would like the last ones, please. I say no: That's a room? 20,000 $30".split()
    )
)


@given(PLAIN)
def test_text_without_anything_dictated_is_never_changed(words: list[str]) -> None:
    text = "".join(f" {word}" for word in words)
    assert written(text, pause=True) == text


@given(TEXTS)
def test_the_written_form_of_a_written_form_is_itself(text: str) -> None:
    form = written(text)
    assert written(form) == form


@given(TEXTS)
def test_word_by_word_the_text_only_grows_and_becomes_that_of_the_whole(text: str) -> None:
    form, before = WrittenForm(), ""
    for end in [found.end() for found in re.finditer(r"\s*\S+", text)]:
        said = form.write(text[:end], pause=False)
        assert said.startswith(before)
        before = said
    assert form.write(text, pause=True) == written(text, pause=True)


@given(TEXTS, st.sets(st.integers(0, 13)), st.sets(st.integers(0, 13)))
def test_with_pauses_the_text_only_grows_and_loses_no_digit(
    text: str, pauses: set[int], overdue: set[int]
) -> None:
    form, before = WrittenForm(), ""
    for number, found in enumerate(re.finditer(r"\s*\S+", text)):
        said = form.write(text[: found.end()], pause=number in pauses, overdue=number in overdue)
        assert said.startswith(before)
        before = said
    said = form.write(text, pause=True)
    assert said.startswith(before)
    assert digits_of(said) == digits_of(text)


def digits_of(text: str) -> str:
    spoken = re.sub(r"\btwo\b", "2", re.sub(r"\boh\b", "0", text, flags=re.IGNORECASE))
    return re.sub(r"\D", "", spoken)


def test_a_number_that_goes_on_after_a_pause_goes_on_in_the_text() -> None:
    form = WrittenForm()
    assert form.write(" It's 415.", pause=True) == " It's 415"
    assert form.write(" It's 415. 5 5 5", pause=True) == " It's 415555"
    assert form.write(" It's 415. 5 5 5 2368. Thanks", pause=True) == " It's 4155552368. Thanks"


@pytest.mark.parametrize(
    ("begun", "grown"),
    [
        (" It's 916-555", " It's 916-555-2814. Thanks"),
        (" It's 9, 1, 6, 5, 5, 5", " It's 9, 1, 6, 5, 5, 5, 2, 8, 1, 4. Thanks"),
        (" It's 916. 555", " It's 916. 555. 2814. Thanks"),
    ],
)
def test_of_a_long_number_the_first_digits_are_said_in_time(begun: str, grown: str) -> None:
    form = WrittenForm()
    assert form.write(begun, pause=False) == " It's"
    assert form.write(begun, pause=False, overdue=True) == " It's 916"
    assert form.write(grown, pause=False) == " It's 916-555-2814. Thanks"


def test_what_is_no_long_number_is_said_in_time() -> None:
    form = WrittenForm()
    assert form.write(" It's 30", pause=False) == " It's"
    assert form.write(" It's 30", pause=False, overdue=True) == " It's 30"


def test_a_number_after_which_something_else_comes_has_its_full_stop() -> None:
    form = WrittenForm()
    assert form.write(" It's 415.", pause=True) == " It's 415"
    assert form.write(" It's 415. Thanks.", pause=True) == " It's 415. Thanks."


@pytest.mark.parametrize(
    ("heard", "held"),
    [
        (" My number is 5,", " 5,"),
        (" My number is 5, 5. oh", " 5, 5. oh"),
        (" It costs $30", ""),
        (" spelled S M", " S M"),
        (" We meet at", " at"),
        (" We meet at noon", " at noon"),
        (" We meet at noon and", ""),
        (" it's john at example dot", " at example dot"),
        (" it's J O N at example", " J O N at example"),
        (" at 2.30", " at 2.30"),
        (" room 2 or", " 2 or"),
    ],
)
def test_held_back_is_what_may_still_be_part_of_something(heard: str, held: str) -> None:
    assert heard[settled_until(heard) :] == held
