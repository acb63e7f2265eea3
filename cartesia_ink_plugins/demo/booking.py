"""A small assistant that books tables: rules, and honest about being no more.

It is a pure function of the conversation: the caller's words and the results of the booking in,
the next reply out. It keeps nothing between two calls, so a reply that was begun on an eager end of
a turn and is withdrawn leaves no trace, and both frameworks may hand it any context they like.

    COLLECTING ──all facts known──▶ CONFIRMING ──yes──▶ BOOKING ──result──▶ BOOKED ──bye──▶ OVER
                                     ▲      │
                                     └──────┘ a fact is changed
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from enum import Enum
from typing import Any, TypeAlias

from cartesia_ink_plugins.demo.phrases import Attitude, Fact, Understanding, understand

BOOK_TABLE = "book_table"
"""The one function the assistant calls."""

BOOK_TABLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "date": {"type": "string", "description": "The day, as YYYY-MM-DD"},
        "time": {"type": "string", "description": "The time of day, as HH:MM on 24 hours"},
        "party_size": {"type": "integer", "description": "How many people"},
        "name": {"type": "string", "description": "For whom the table is booked"},
    },
    "required": ["date", "time", "party_size", "name"],
}
"""The arguments of `book_table`, as a JSON schema; a real LLM needs it."""

INSTRUCTIONS = (
    "You answer the telephone of a restaurant and book tables. Ask for the day, the number of "
    "people, the time and the name, one after the other; read the booking back; when the caller "
    "says yes, call book_table. Speak in short sentences, without any markup."
)
"""What to tell a real LLM in the assistant's place."""

GREETING = "Hello, this is the table assistant. For which day may I book?"
MAX_PARTY = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller said this."""

    text: str


@dataclass(frozen=True, slots=True)
class Booked:
    """The booking was made, under this reference."""

    reference: str


Message: TypeAlias = Heard | Booked


@dataclass(frozen=True, slots=True)
class Booking:
    """What is known of the booking so far."""

    date: date | None = None
    party: int | None = None
    time: time | None = None
    name: str | None = None

    @property
    def missing(self) -> Fact | None:
        """The first fact that has to be asked for."""
        for fact in Fact:
            if getattr(self, fact.value) is None:
                return fact
        return None

    def arguments(self) -> dict[str, Any]:
        """The arguments of `book_table`.

        Raises:
            ValueError: A fact is missing.
        """
        if self.date is None or self.time is None or self.missing is not None:
            raise ValueError(f"{self.missing} is not known yet")
        return {
            "date": self.date.isoformat(),
            "time": self.time.strftime("%H:%M"),
            "party_size": self.party,
            "name": self.name,
        }


@dataclass(frozen=True, slots=True)
class Say:
    """A reply in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A reply that is a function call."""

    name: str
    arguments: dict[str, Any]

    @property
    def json(self) -> str:
        """The arguments as JSON."""
        return json.dumps(self.arguments)


Reply: TypeAlias = Say | Call


class Stage(Enum):
    """How far the conversation is."""

    COLLECTING = "collecting"
    CONFIRMING = "confirming"
    BOOKING = "booking"
    BOOKED = "booked"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The conversation so far, as the assistant understands it.

    Attributes:
        today: The day of the call.
        stage: How far it is.
        booking: What is known.
        news: The facts that the last utterance told or changed.
        trouble: Why the last utterance cannot be acted on, said to the caller.
        reference: Of the booking, once made.
        utterances: How many times the caller spoke.
    """

    today: date
    stage: Stage = Stage.COLLECTING
    booking: Booking = field(default_factory=Booking)
    news: frozenset[Fact] = frozenset()
    trouble: str = ""
    reference: str = ""
    utterances: int = 0

    def take(self, message: Message) -> Dialogue:
        """The dialogue after one more message."""
        if isinstance(message, Booked):
            return replace(
                self, stage=Stage.BOOKED, reference=message.reference, news=frozenset(), trouble=""
            )
        asked = self.booking.missing if self.stage is Stage.COLLECTING else None
        heard = understand(message.text, self.today, asked)
        booking, trouble = _merge(self.booking, heard, self.today)
        news = frozenset(
            fact
            for fact in Fact
            if getattr(booking, fact.value) != getattr(self.booking, fact.value)
        )
        return replace(
            self,
            stage=self._next_stage(booking, news, heard),
            booking=booking,
            news=news,
            trouble=trouble,
            utterances=self.utterances + 1,
        )

    def _next_stage(self, booking: Booking, news: frozenset[Fact], heard: Understanding) -> Stage:
        match self.stage:
            case Stage.BOOKED | Stage.OVER if not news:
                return Stage.OVER if heard.farewell else self.stage
            case Stage.CONFIRMING | Stage.BOOKING if not news and heard.attitude is Attitude.YES:
                return Stage.BOOKING
        return Stage.COLLECTING if booking.missing else Stage.CONFIRMING

    def reply(self) -> Reply:
        """What to say or do next."""
        match self.stage:
            case Stage.COLLECTING:
                return Say(self._ask())
            case Stage.CONFIRMING:
                return Say(self._read_back())
            case Stage.BOOKING:
                return Call(BOOK_TABLE, self.booking.arguments())
            case Stage.BOOKED:
                return Say(self._done())
            case Stage.OVER:
                return Say("You are welcome. Goodbye!")

    def _ask(self) -> str:
        question = _QUESTIONS[self.booking.missing or Fact.DATE]
        if self.utterances == 0:
            return GREETING
        if self.trouble:
            return f"{self.trouble} {question}"
        if not self.news:
            return f"Sorry, I did not understand. {question}"
        return f"Very well. {self._acknowledge()} {question}"

    def _acknowledge(self) -> str:
        """Repeat what was understood, so that the caller can object."""
        told = [_say_fact(fact, self.booking) for fact in Fact if fact in self.news]
        return _capital(", ".join(told)) + "."

    def _read_back(self) -> str:
        day, party, hour, name = (_say_fact(fact, self.booking) for fact in Fact)
        opening = "Thank you." if Fact.NAME in self.news else "Very well."
        if self.trouble:
            opening = self.trouble
        elif not self.news:
            opening = "Please tell me what to change, or say yes."
        # Short sentences: each is spoken while the next one is still being synthesised.
        when = f"{_capital(day)}. {_capital(party)}, {hour}."
        return f"{opening} {when} {_capital(name)}. Shall I book it?"

    def _done(self) -> str:
        if self.utterances and self.booking.date is not None:
            spelled = " ".join(self.reference)
            day = say_date(self.booking.date)
            return (
                f"It is booked. Your reference is {spelled}. We look forward to seeing you {day}."
            )
        return "It is booked."


_QUESTIONS = {
    Fact.DATE: "For which day?",
    Fact.PARTY: "For how many people?",
    Fact.TIME: "At what time?",
    Fact.NAME: "And what is your name?",
}


def follow(messages: Sequence[Message], today: date) -> Dialogue:
    """Follow a conversation from its beginning."""
    dialogue = Dialogue(today)
    for message in messages:
        dialogue = dialogue.take(message)
    return dialogue


def tokens(text: str) -> list[str]:
    """Cut a reply into the pieces in which it is streamed; joined, they are the reply again."""
    return re.findall(r"\s*\S+|\s+$", text)


def make_booking(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Book the table. This restaurant has one for everybody, and no memory.

    Args:
        arguments: As in `BOOK_TABLE_SCHEMA`.

    Returns:
        The result of the function call: the arguments and a `reference` of three digits, the same
        for the same booking.
    """
    facts = "|".join(str(arguments.get(name)) for name in BOOK_TABLE_SCHEMA["required"])
    reference = sum(ord(letter) * n for n, letter in enumerate(facts, 7)) % 900 + 100
    return {**arguments, "reference": str(reference)}


def say_date(day: date) -> str:
    """A date in words, such as "on Friday the 27th of November"."""
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day // 10 != 1 else 0, "th")
    return f"on {day:%A} the {day.day}{suffix} of {day:%B}"


def say_time(moment: time) -> str:
    """A time in words, such as "at 7:30 in the evening"."""
    hour = moment.hour % 12 or 12
    clock = f"{hour}:{moment.minute:02}" if moment.minute else f"{hour} o'clock"
    if moment.hour < 12:
        return f"at {clock} in the morning"
    return f"at {clock} in the {'afternoon' if moment.hour < 17 else 'evening'}"


def _say_fact(fact: Fact, booking: Booking) -> str:
    match fact:
        case Fact.DATE if booking.date is not None:
            return say_date(booking.date)
        case Fact.PARTY if booking.party is not None:
            return "for one person" if booking.party == 1 else f"for {booking.party} people"
        case Fact.TIME if booking.time is not None:
            return say_time(booking.time)
        case Fact.NAME if booking.name is not None:
            return f"under the name {booking.name}"
    return ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _merge(booking: Booking, heard: Understanding, today: date) -> tuple[Booking, str]:
    """Lay what was heard over what was known; what cannot be is refused in words."""
    trouble = ""
    if heard.date is not None:
        if heard.date < today:
            trouble = "That day is over."
        else:
            booking = replace(booking, date=heard.date)
    if heard.party is not None:
        if heard.party > MAX_PARTY:
            trouble = f"Our largest table is for {MAX_PARTY} people."
        else:
            booking = replace(booking, party=heard.party)
    if heard.time is not None:
        booking = replace(booking, time=heard.time)
    if heard.name is not None:
        booking = replace(booking, name=heard.name)
    return booking, trouble
