"""A rule-based assistant that books tables.

It is a pure function of the conversation: from the caller's messages and the result of the booking
it computes the next reply. It has no state, so a reply that was begun on an eager end and then
withdrawn has no effect.

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
"""The name of the function that the assistant calls."""

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
class UserMessage:
    """A message of the caller."""

    text: str


@dataclass(frozen=True, slots=True)
class BookingResult:
    """The result of the booking."""

    reference: str


Message: TypeAlias = UserMessage | BookingResult


@dataclass(frozen=True, slots=True)
class Booking:
    """The known facts of the booking."""

    date: date | None = None
    party: int | None = None
    time: time | None = None
    name: str | None = None

    @property
    def missing(self) -> Fact | None:
        """The first fact to ask for."""
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
class TextReply:
    """A reply as text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A reply that is a function call."""

    name: str
    arguments: dict[str, Any]

    @property
    def json(self) -> str:
        """The arguments as JSON."""
        return json.dumps(self.arguments)


Reply: TypeAlias = TextReply | ToolCall


class Stage(Enum):
    """The stage of the conversation."""

    COLLECTING = "collecting"
    CONFIRMING = "confirming"
    BOOKING = "booking"
    BOOKED = "booked"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The state of the conversation.

    Attributes:
        today: The day of the call.
        stage: The stage.
        booking: The known facts.
        changed: The facts that the last utterance set or changed.
        trouble: Why the last utterance was rejected, as a sentence for the caller.
        reference: Reference of the booking, once made.
        utterances: Number of utterances of the caller.
    """

    today: date
    stage: Stage = Stage.COLLECTING
    booking: Booking = field(default_factory=Booking)
    changed: frozenset[Fact] = frozenset()
    trouble: str = ""
    reference: str = ""
    utterances: int = 0

    def after(self, message: Message) -> Dialogue:
        """Return the dialogue after one more message."""
        if isinstance(message, BookingResult):
            return replace(
                self,
                stage=Stage.BOOKED,
                reference=message.reference,
                changed=frozenset(),
                trouble="",
            )
        asked = self.booking.missing if self.stage is Stage.COLLECTING else None
        understood = understand(message.text, self.today, asked)
        booking, trouble = _merge(self.booking, understood, self.today)
        changed = frozenset(
            fact
            for fact in Fact
            if getattr(booking, fact.value) != getattr(self.booking, fact.value)
        )
        return replace(
            self,
            stage=self._next_stage(booking, changed, understood),
            booking=booking,
            changed=changed,
            trouble=trouble,
            utterances=self.utterances + 1,
        )

    def _next_stage(
        self, booking: Booking, changed: frozenset[Fact], understood: Understanding
    ) -> Stage:
        match self.stage:
            case Stage.BOOKED | Stage.OVER if not changed:
                return Stage.OVER if understood.farewell else self.stage
            case Stage.CONFIRMING | Stage.BOOKING if (
                not changed and understood.attitude is Attitude.YES
            ):
                return Stage.BOOKING
        return Stage.COLLECTING if booking.missing else Stage.CONFIRMING

    def reply(self) -> Reply:
        """Return the next reply."""
        match self.stage:
            case Stage.COLLECTING:
                return TextReply(self._ask())
            case Stage.CONFIRMING:
                return TextReply(self._read_back())
            case Stage.BOOKING:
                return ToolCall(BOOK_TABLE, self.booking.arguments())
            case Stage.BOOKED:
                return TextReply(self._done())
            case Stage.OVER:
                return TextReply("You are welcome. Goodbye!")

    def _ask(self) -> str:
        question = _QUESTIONS[self.booking.missing or Fact.DATE]
        if self.utterances == 0:
            return GREETING
        if self.trouble:
            return f"{self.trouble} {question}"
        if not self.changed:
            return f"Sorry, I did not understand. {question}"
        return f"Very well. {self._acknowledge()} {question}"

    def _acknowledge(self) -> str:
        """Repeat the changed facts, so that the caller can correct them."""
        changed = [_say_fact(fact, self.booking) for fact in Fact if fact in self.changed]
        return _capital(", ".join(changed)) + "."

    def _read_back(self) -> str:
        day, party, hour, name = (_say_fact(fact, self.booking) for fact in Fact)
        opening = "Thank you." if Fact.NAME in self.changed else "Very well."
        if self.trouble:
            opening = self.trouble
        elif not self.changed:
            opening = "Please tell me what to change, or say yes."
        # Short sentences: each is played while the next one is synthesized.
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
    """Return the dialogue after a whole conversation."""
    dialogue = Dialogue(today)
    for message in messages:
        dialogue = dialogue.after(message)
    return dialogue


def tokens(text: str) -> list[str]:
    """Split a reply into the tokens that are streamed; joined, they are the reply."""
    return re.findall(r"\s*\S+|\s+$", text)


def make_booking(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Book a table; always succeeds, and nothing is stored.

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


def _merge(booking: Booking, understood: Understanding, today: date) -> tuple[Booking, str]:
    """Merge new facts into the booking; return it, and a sentence about a rejected fact."""
    trouble = ""
    if understood.date is not None:
        if understood.date < today:
            trouble = "That day is over."
        else:
            booking = replace(booking, date=understood.date)
    if understood.party is not None:
        if understood.party > MAX_PARTY:
            trouble = f"Our largest table is for {MAX_PARTY} people."
        else:
            booking = replace(booking, party=understood.party)
    if understood.time is not None:
        booking = replace(booking, time=understood.time)
    if understood.name is not None:
        booking = replace(booking, name=understood.name)
    return booking, trouble
