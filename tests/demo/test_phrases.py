"""What the booking assistant understands, in the spellings that speech recognition has for it."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.demo.phrases import Attitude, Fact, understand

SATURDAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Today.", date(2026, 11, 21)),
        ("a table for tonight", date(2026, 11, 21)),
        (" Tomorrow, please.", date(2026, 11, 22)),
        ("the day after tomorrow", date(2026, 11, 23)),
        ("On Friday.", date(2026, 11, 27)),
        ("this Sunday", date(2026, 11, 22)),
        ("Saturday", date(2026, 11, 28)),
        ("Next Friday.", date(2026, 11, 27)),
        ("next Sunday", date(2026, 11, 29)),
        ("November 27th", date(2026, 11, 27)),
        ("on the 27th of November, please", date(2026, 11, 27)),
        ("the twenty-seventh", date(2026, 11, 27)),
        ("the third", date(2026, 12, 3)),
        ("December 1st at 8", date(2026, 12, 1)),
        ("1 December", date(2026, 12, 1)),
        ("January 5", date(2027, 1, 5)),
        ("the thirty-first", date(2026, 12, 31)),
        ("in five days", date(2026, 11, 26)),
        ("in a week", date(2026, 11, 28)),
        ("Friday, no, Sunday.", date(2026, 11, 22)),
        ("Friday the 4th of December", date(2026, 12, 4)),
        ("February 30th", None),
        ("whenever you like", None),
    ],
)
def test_dates(text: str, expected: date | None) -> None:
    assert understand(text, SATURDAY).date == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [(date(2026, 11, 23), date(2026, 12, 4)), (date(2026, 11, 29), date(2026, 12, 4))],
)
def test_next_friday_is_the_one_of_next_week(day: date, expected: date) -> None:
    assert understand("next Friday", day).date == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 7.30 PM.", time(19, 30)),
        ("7:30", time(19, 30)),
        ("at 7:30 a.m.", time(7, 30)),
        ("seven thirty", time(19, 30)),
        ("two thirty p m", time(14, 30)),
        ("2 30 pm", time(14, 30)),
        ("730 p.m.", time(19, 30)),
        ("At 730, please.", time(19, 30)),
        ("At 7 30 in the evening, please.", time(19, 30)),
        ("Half past seven in the evening.", time(19, 30)),
        ("a quarter past eight", time(20, 15)),
        ("quarter to nine", time(20, 45)),
        ("ten past six", time(18, 10)),
        ("20 minutes to 8", time(19, 40)),
        ("eight o'clock", time(20, 0)),
        ("8 o’clock, please", time(20, 0)),  # as a model may write it
        ("at eight", time(20, 0)),
        ("around 9", time(21, 0)),
        ("8pm", time(20, 0)),
        ("19:45", time(19, 45)),
        ("at noon", time(12, 0)),
        ("at ten in the morning", time(10, 0)),
        ("at seven, no, at eight", time(20, 0)),
        ("25:30", None),
        ("a table for four", None),
    ],
)
def test_times(text: str, expected: time | None) -> None:
    assert understand(text, SATURDAY).time == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Two people.", 2),
        ("a table for four", 4),
        ("a table for 4 at 7.30 PM", 4),
        ("a party of five", 5),
        ("There will be six of us.", 6),
        ("we are twelve", 12),
        ("two adults and three children", 5),
        ("just me", 1),
        ("me and my wife", 2),
        ("a couple of people", 2),
        ("four people, no, five people", 5),
        ("a table for 7.30", None),
        ("a table for 7 pm", None),
        ("a table for tomorrow", None),
        ("seven thirty", None),
    ],
)
def test_party_sizes(text: str, expected: int | None) -> None:
    assert understand(text, SATURDAY).party == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My name is Taylor.", "Taylor"),
        (" The name is Anna Taylor, please.", "Anna Taylor"),
        ("it is under O'Brien", "O'Brien"),
        ("I'm Jean-Luc.", "Jean-Luc"),
        ("I'm sorry", None),
        ("Taylor", None),
    ],
)
def test_names_that_are_announced(text: str, expected: str | None) -> None:
    assert understand(text, SATURDAY).name == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Taylor.", "Taylor"),
        ("taylor", "Taylor"),
        ("It's Taylor, please.", "Taylor"),
        ("Mr. Smith", "Smith"),
        ("Anna Maria Taylor", "Anna Maria Taylor"),
        ("Sorry, what?", None),
        ("Yes", None),
        ("I do not want to tell you", None),
        ("", None),
    ],
)
def test_names_that_are_asked_for(text: str, expected: str | None) -> None:
    assert understand(text, SATURDAY, Fact.NAME).name == expected


def test_a_bare_number_answers_the_question_that_was_asked() -> None:
    assert understand("Eight.", SATURDAY, Fact.TIME).time == time(20)
    assert understand("Eight.", SATURDAY, Fact.TIME).party is None
    assert understand("Eight.", SATURDAY, Fact.PARTY).party == 8
    assert understand("Eight.", SATURDAY, Fact.PARTY).time is None
    assert understand("730", SATURDAY, Fact.TIME).time == time(19, 30)
    assert understand("Eight.", SATURDAY) == understand("", SATURDAY)


def test_everything_in_one_breath() -> None:
    heard = understand(
        " Hi, my name is Taylor, I'd like a table for four tomorrow at 7.30 PM.", SATURDAY
    )
    assert heard.date == date(2026, 11, 22)
    assert heard.time == time(19, 30)
    assert heard.party == 4
    assert heard.name == "Taylor"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Yes, please.", Attitude.YES),
        ("That's right.", Attitude.YES),
        ("Okay, go ahead.", Attitude.YES),
        ("No problem.", Attitude.YES),
        ("No.", Attitude.NO),
        ("Yes, no, wait.", Attitude.NO),
        ("Eight o'clock.", Attitude.NEITHER),
    ],
)
def test_yes_and_no(text: str, expected: Attitude) -> None:
    assert understand(text, SATURDAY).attitude is expected


def test_goodbye() -> None:
    assert understand(" Thank you, bye.", SATURDAY).farewell
    assert not understand("By eight.", SATURDAY).farewell


@given(st.text(max_size=80), st.sampled_from([None, *Fact]))
def test_no_text_breaks_it(text: str, asked: Fact | None) -> None:
    understand(text, SATURDAY, asked)
