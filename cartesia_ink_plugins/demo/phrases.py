"""What a caller means: dates, times, party sizes, names, yes and no in a verbatim transcript.

Rules for the phrases with which people book tables, in the spellings of speech recognition
("7.30 PM", "seven thirty", "half past seven"). Nothing is guessed. If a caller corrects himself in
one utterance ("Friday, no, Saturday"), the last phrase counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time, timedelta
from enum import Enum


class Fact(Enum):
    """The facts of a booking, in the order in which they are asked for."""

    DATE = "date"
    PARTY = "party"
    TIME = "time"
    NAME = "name"


class Attitude(Enum):
    """The answer to a yes-or-no question."""

    YES = "yes"
    NO = "no"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Understanding:
    """The facts in one utterance; None if it does not have a fact.

    Attributes:
        date: The day.
        time: The time of day; without "a.m." or "in the morning", evening is meant.
        party: How many people.
        name: For whom, in title case.
        attitude: Yes, no, or neither.
        farewell: The caller thanks or says goodbye.
    """

    date: date | None = None
    time: time | None = None
    party: int | None = None
    name: str | None = None
    attitude: Attitude = Attitude.NEITHER
    farewell: bool = False


def understand(text: str, today: date, asked: Fact | None = None) -> Understanding:
    """Parse one utterance.

    Args:
        text: The transcript, verbatim.
        today: The day of the call.
        asked: The fact that was asked for, which decides what a bare "eight" means.

    Returns:
        All facts found.
    """
    text = text.replace("\u2019", "'")
    unparsed = _Unparsed(_normalise(text))
    day = _find_date(unparsed, today)
    hour = _find_time(unparsed, bare=asked is Fact.TIME)
    party = _find_party(unparsed, bare=asked is Fact.PARTY)
    return Understanding(
        date=day,
        time=hour,
        party=party,
        name=_find_name(text, bare=asked is Fact.NAME),
        attitude=_find_attitude(text.lower()),
        farewell=bool(_FAREWELL.search(text.lower())),
    )


class _Unparsed:
    """The part of an utterance that is not parsed yet, so that no phrase counts twice."""

    def __init__(self, text: str) -> None:
        self.text = text

    def take_last(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Remove every match and return the last one."""
        found = list(pattern.finditer(self.text))
        if not found:
            return None
        self.text = pattern.sub(" , ", self.text)
        return found[-1]


def _list(text: str) -> list[str]:
    return text.split()


# --- Numbers ----------------------------------------------------------------------------------

_UNITS = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_ORDINALS = _list(
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_NUMBERS = {word: str(n) for n, word in enumerate(_UNITS)}
_NUMBERS |= {word: f"{n}th" for n, word in enumerate(_ORDINALS)}
_NUMBERS |= {word: str(n) for word, n in _TENS.items()}
_NUMBERS |= {"thirtieth": "30th"}
for _ten, _value in _TENS.items():
    for _n in range(1, 10):
        _NUMBERS[f"{_ten} {_UNITS[_n]}"] = str(_value + _n)
        _NUMBERS[f"{_ten} {_ORDINALS[_n]}"] = f"{_value + _n}th"
_NUMERALS = re.compile(
    r"\b(" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + r")\b(?! half\b)"
)


def _normalise(text: str) -> str:
    """Lower case, digits for number unparsed, "7:30" and "pm" in one spelling each."""
    text = text.lower().replace("-", " ")
    text = re.sub(r"\ba couple of\b", "two", text)
    text = re.sub(r"\b(\d{1,2})[.:](\d{2})\b", r"\1:\2", text)
    text = re.sub(r"\b([ap])\.? ?m\b\.?", r"\1m", text)
    text = re.sub(r"(\d)([ap]m)\b", r"\1 \2", text)
    text = re.sub(r"o['\s]?clock", "oclock", text)
    text = _NUMERALS.sub(lambda found: _NUMBERS[found[1]], text)
    text = re.sub(r"(\d)(?:st|nd|rd)\b", r"\1th", text)
    text = re.sub(r"[^\w\s:',]", " , ", text)
    return re.sub(r"\s+", " ", text).strip()


# --- Dates ------------------------------------------------------------------------------------

_WEEKDAYS = _list("monday tuesday wednesday thursday friday saturday sunday")
_MONTHS = _list(
    "january february march april may june july august september october november december"
)
_MONTH = "|".join(_MONTHS)
_DATE = re.compile(
    r"\b(?:(?P<after>day after tomorrow)|(?P<tomorrow>tomorrow)"
    r"|(?P<today>today|tonight|this evening)"
    rf"|(?:(?P<which>next|this|coming) )?(?P<weekday>{'|'.join(_WEEKDAYS)})s?"
    rf"|(?P<day>\d{{1,2}})(?:th)?(?: of)? (?P<month>{_MONTH})"
    rf"|(?P<month2>{_MONTH})(?: the)? (?P<day2>\d{{1,2}})(?:th)?(?!:)"
    r"|(?P<only>\d{1,2})th"
    r"|in (?P<days>\d{1,2}) days|(?P<week>in a week|a week from (?:today|now)))\b"
)


def _find_date(unparsed: _Unparsed, today: date) -> date | None:
    # "Friday the 27th of November" is one date, twice: the part with the month is exact.
    dates = list(_DATE.finditer(unparsed.text))
    exact = [found for found in dates if found["month"] or found["month2"]]
    unparsed.take_last(_DATE)
    for found in reversed(exact or dates):
        if (day := _read_date(found, today)) is not None:
            return day
    return None


def _read_date(found: re.Match[str], today: date) -> date | None:
    if found["after"]:
        return today + timedelta(days=2)
    if found["tomorrow"]:
        return today + timedelta(days=1)
    if found["today"]:
        return today
    if found["week"]:
        return today + timedelta(days=7)
    if found["days"]:
        return today + timedelta(days=int(found["days"]))
    if found["weekday"]:
        return _weekday(today, _WEEKDAYS.index(found["weekday"]), found["which"])
    if month := found["month"] or found["month2"]:
        day = int(found["day"] or found["day2"])
        return _coming(today, [_MONTHS.index(month) + 1], day)
    months = [(today.month + n - 1) % 12 + 1 for n in range(12)]
    return _coming(today, months, int(found["only"]))


def _weekday(today: date, weekday: int, which: str | None) -> date:
    """The first such day after today; with "next", the one of next week."""
    if which == "next":
        monday = today - timedelta(days=today.weekday())
        return monday + timedelta(days=7 + weekday)
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _coming(today: date, months: list[int], day: int) -> date | None:
    """The first date from today on in one of `months`, if there is such a day."""
    for year in (today.year, today.year + 1):
        for month in months:
            try:
                candidate = date(year, month, day)
            except ValueError:
                continue
            if candidate >= today:
                return candidate
    return None


# --- Times ------------------------------------------------------------------------------------

_PART = (
    r"(?:\s*,?\s*(?P<part>am|pm|in the morning|in the afternoon|in the evening|at night|tonight))?"
)
_NOT_PEOPLE = r"(?!\s*(?:people|person|persons|guests|adults|children|kids|of us|th\b|\d))"
_TIME = re.compile(
    r"\b(?:(?P<half>half past) (?P<h1>\d{1,2})"
    r"|(?P<quarter>(?:a )?quarter) (?P<side>past|after|to) (?P<h2>\d{1,2})"
    r"|(?P<minutes>\d{1,2})(?: minutes)? (?P<side2>past|to) (?P<h3>\d{1,2})"
    r"|(?P<h4>\d{1,2}):(?P<m4>\d{2})"
    r"|(?P<h5>\d{1,2}) (?:oh )?(?P<m5>[0-5]\d)" + _NOT_PEOPLE + r"(?! of\b)"
    r"|(?P<h6>\d{1,2})(?P<m6>[0-5]\d)(?=\s*(?:am|pm|in the)\b)"
    r"|(?:at|by|around|about) (?P<h10>\d{1,2})(?P<m10>[0-5]\d)"
    r"|(?P<h7>\d{1,2})(?=\s*(?:am|pm)\b)"
    r"|(?P<h8>\d{1,2}) oclock"
    r"|(?:at|by|around|about) (?P<h9>\d{1,2})" + _NOT_PEOPLE + r"(?![\d:])"
    r"|(?P<noon>noon|midday)|(?P<midnight>midnight))\b" + _PART
)
_BARE_TIME = re.compile(
    r"\b(?P<h>\d{1,2}?)(?P<m>[0-5]\d)?\b" + _NOT_PEOPLE + r"(?:\s*,?\s*(?P<part>in the morning))?"
)


def _find_time(unparsed: _Unparsed, *, bare: bool) -> time | None:
    found = unparsed.take_last(_TIME)
    if found is not None:
        return _read_time(found)
    if bare and (found := unparsed.take_last(_BARE_TIME)) is not None:
        return _time(int(found["h"]), int(found["m"] or 0), found["part"])
    return None


def _read_time(found: re.Match[str]) -> time | None:
    part = found["part"]
    if found["noon"]:
        return time(12)
    if found["midnight"]:
        return time(0)
    if found["half"]:
        return _time(int(found["h1"]), 30, part)
    if found["quarter"]:
        return _beside(int(found["h2"]), 15, found["side"], part)
    if found["minutes"]:
        return _beside(int(found["h3"]), int(found["minutes"]), found["side2"], part)
    hour = next(value for n in range(4, 11) if (value := found[f"h{n}"]))
    minute = found["m4"] or found["m5"] or found["m6"] or found["m10"] or "0"
    return _time(int(hour), int(minute), part)


def _beside(hour: int, minutes: int, side: str, part: str | None) -> time | None:
    return _time(hour - 1, 60 - minutes, part) if side == "to" else _time(hour, minutes, part)


def _time(hour: int, minute: int, part: str | None) -> time | None:
    """A time of day; an hour from 1 to 11 without "a.m." is after noon, for tables are."""
    if part in ("am", "in the morning"):
        hour %= 12
    elif 1 <= hour <= 11:
        hour += 12
    return time(hour, minute) if hour < 24 and minute < 60 else None


# --- Party size -------------------------------------------------------------------------------

_HEADS = r"(?:people|persons?|guests|of us|diners|adults|friends)"
_PARTY = re.compile(
    rf"\b(?P<n1>\d{{1,3}}) {_HEADS}(?:,? and (?P<children>\d{{1,2}}) (?:children|kids))?"
    r"|\bparty of (?P<n2>\d{1,3})"
    r"|\bfor (?P<n3>\d{1,3})(?![\d:])(?! (?:am|pm|oclock|days|hours))"
    r"|\b(?:i am|we are|we're|it's|be) (?P<n4>\d{1,3})(?![\d:])(?! (?:am|pm|oclock))"
    r"|(?P<alone>\b(?:just|only) (?:me|myself)|\bby myself|\bon my own)"
    r"|(?P<pair>\bme and my (?:wife|husband|partner|friend|girlfriend|boyfriend|mother|father))"
)
_BARE_NUMBER = re.compile(r"\b(?P<n1>\d{1,3})\b")


def _find_party(unparsed: _Unparsed, *, bare: bool) -> int | None:
    found = unparsed.take_last(_PARTY)
    if found is None:
        found = unparsed.take_last(_BARE_NUMBER) if bare else None
        return _party(int(found["n1"])) if found else None
    if found["alone"]:
        return 1
    if found["pair"]:
        return 2
    heads = int(found["n1"] or found["n2"] or found["n3"] or found["n4"])
    return _party(heads + int(found["children"] or 0))


def _party(heads: int) -> int | None:
    return heads if heads > 0 else None


# --- Names ------------------------------------------------------------------------------------

_NAME_WORD = r"[A-Z][\w'-]*"
_NAMED = re.compile(
    r"\b(?i:my name is|my name's|the name is|the name's|name is|in the name of|under the name of|"
    r"under the name|under|call me|this is|i am|i'm)\s+"
    rf"(?P<name>{_NAME_WORD}(?:\s+{_NAME_WORD}){{0,2}})"
)
_LEAD_IN = re.compile(
    r"^(?:(?:yes|sure|okay|ok|um|uh|well|oh|please|it's|it is|that's|that is|make it|put it|"
    r"the name is|the name's|my name is|my name's|name|under|for|mister|mr|mrs|ms|miss)[\s,.]+)+",
    re.IGNORECASE,
)
_NO_NAMES = frozenset(
    _list(
        "yes no not please sorry what hello hi thanks thank you i the a an it is that wait stop "
        "okay ok sure today tomorrow table people book booking for at pardon again repeat why "
        "when how where who one two three"
    )
) | frozenset(_WEEKDAYS)


def _find_name(text: str, *, bare: bool) -> str | None:
    found = list(_NAMED.finditer(text))
    if found and not _is_no_name(name := found[-1]["name"]):
        return name
    if not bare:
        return None
    rest = _LEAD_IN.sub("", text.strip()).strip(" .,!?")
    rest = re.sub(r"[\s,]+please$", "", rest, flags=re.IGNORECASE)
    parts = rest.split()
    if not 1 <= len(parts) <= 3 or _is_no_name(rest) or not all(map(_is_name_word, parts)):
        return None
    return " ".join(word[0].upper() + word[1:] for word in parts)


def _is_name_word(word: str) -> bool:
    return re.fullmatch(r"[^\W\d_][^\W\d_'.-]*(?:['-][^\W\d_]+)*\.?", word) is not None


def _is_no_name(name: str) -> bool:
    return any(word.strip(".,").lower() in _NO_NAMES for word in name.split())


# --- Yes, no, goodbye -------------------------------------------------------------------------

_YES = re.compile(
    r"\b(?:yes|yeah|yep|yup|sure|correct|that's right|that is right|right|go ahead|please do|"
    r"perfect|okay|ok|sounds good|great|book it|fine|absolutely|of course)\b"
)
_NO = re.compile(r"\b(?:no|nope|not|don't|wrong|cancel|wait)\b")
_FAREWELL = re.compile(
    r"\b(?:bye|goodbye|good bye|thank you|thanks|that's all|that is all|cheers)\b"
)


def _find_attitude(text: str) -> Attitude:
    text = text.replace("no problem", "yes").replace("why not", "yes")
    if _NO.search(text):
        return Attitude.NO
    return Attitude.YES if _YES.search(text) else Attitude.NEITHER
