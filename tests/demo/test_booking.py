"""The assistant's side of a conversation, as a function of what was said."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartesia_ink_plugins.demo.booking import (
    BOOK_TABLE_SCHEMA,
    GREETING,
    BookingResult,
    Message,
    Reply,
    Stage,
    TextReply,
    ToolCall,
    UserMessage,
    follow,
    make_booking,
    tokens,
)

SATURDAY = date(2026, 11, 21)
ALL_FACTS = "Taylor here, my name is Taylor, a table for four tomorrow at 7.30 PM."


def reply_to(*messages: str | Message) -> Reply:
    heard = [UserMessage(m) if isinstance(m, str) else m for m in messages]
    return follow(heard, SATURDAY).reply()


def said(*messages: str | Message) -> str:
    reply = reply_to(*messages)
    assert isinstance(reply, TextReply)
    return reply.text


def test_it_greets_first() -> None:
    assert said() == GREETING


def test_it_asks_for_one_fact_after_the_other() -> None:
    call = [
        "Hello, a table please, for next Friday.",
        " Six of us.",
        " Half past seven.",
        " Taylor.",
    ]
    assert said(*call[:1]).endswith("For how many people?")
    assert said(*call[:2]).endswith("At what time?")
    assert said(*call[:3]).endswith("And what is your name?")
    assert said(*call).endswith("Shall I book it?")


def test_it_repeats_what_it_understood() -> None:
    assert "On Friday the 27th of November." in said("next Friday")
    assert "for 6 people" in said("next Friday", "six of us").lower()


def test_it_reads_everything_back_and_books_on_yes() -> None:
    readback = said(ALL_FACTS)
    for fact in ("Sunday the 22nd of November", "4 people", "7:30 in the evening", "Taylor"):
        assert fact.lower() in readback.lower()
    assert reply_to(ALL_FACTS, "Yes, please.") == ToolCall(
        "book_table",
        {"date": "2026-11-22", "time": "19:30", "party_size": 4, "name": "Taylor"},
    )


def test_the_result_of_the_call_is_told() -> None:
    text = said(ALL_FACTS, "Yes.", BookingResult("417"))
    assert "4 1 7" in text
    assert "Sunday the 22nd of November" in text


def test_goodbye_ends_it() -> None:
    messages: list[Message] = [
        UserMessage(ALL_FACTS),
        UserMessage("Yes."),
        BookingResult("417"),
        UserMessage("Thank you, goodbye."),
    ]
    assert follow(messages, SATURDAY).stage is Stage.OVER
    assert said(*messages).endswith("Goodbye!")


def test_a_fact_can_be_changed_when_it_is_read_back() -> None:
    assert "8 o'clock in the evening" in said(ALL_FACTS, "Could you make it eight o'clock?").lower()
    assert "For 5 people" in said(ALL_FACTS, "No, five people.")
    reply = reply_to(ALL_FACTS, "Sorry, eight o'clock.", "Yes.")
    assert isinstance(reply, ToolCall)
    assert reply.arguments["time"] == "20:00"


def test_a_no_without_a_change_asks_what_to_change() -> None:
    assert "what to change" in said(ALL_FACTS, "No.")


def test_a_call_that_was_withdrawn_is_made_again() -> None:
    """The framework may drop a call begun on an eager end; the next words decide anew."""
    assert isinstance(reply_to(ALL_FACTS, "Yes."), ToolCall)
    assert isinstance(reply_to(ALL_FACTS, "Yes.", "Yes, please."), ToolCall)
    assert isinstance(reply_to(ALL_FACTS, "Yes.", "No, for five people."), TextReply)


def test_a_booking_can_be_changed_after_it_was_made() -> None:
    text = said(ALL_FACTS, "Yes.", BookingResult("417"), "Oh, make it five people.")
    assert "For 5 people" in text
    assert text.endswith("Shall I book it?")


def test_what_is_not_understood_is_asked_again() -> None:
    assert said("Blah.") == "Sorry, I did not understand. For which day?"


@pytest.mark.parametrize("text", ["", " ", "you"])
def test_noise_is_not_a_fact(text: str) -> None:
    assert follow([UserMessage(text)], SATURDAY).booking.missing is not None


def test_what_the_house_cannot_do_is_refused() -> None:
    assert "20 people" in said("tomorrow", "we are 200 people")
    assert (
        follow([UserMessage("tomorrow"), UserMessage("200 people")], SATURDAY).booking.party is None
    )


def test_half_a_sentence_and_the_whole_one_give_the_same_end() -> None:
    """A reply to an eager transcript leaves nothing behind: the same words, the same dialogue."""
    follow([UserMessage("A table for")], SATURDAY).reply()
    whole = [UserMessage("A table for six tomorrow.")]
    assert follow(whole, SATURDAY) == follow(whole, SATURDAY)
    assert follow(whole, SATURDAY).booking.party == 6


def test_a_booking_has_a_reference_of_its_own() -> None:
    arguments = {"date": "2026-11-22", "time": "19:30", "party_size": 4, "name": "Taylor"}
    assert set(arguments) == set(BOOK_TABLE_SCHEMA["required"])
    booked = make_booking(arguments)
    assert booked == make_booking(arguments)
    assert len(booked["reference"]) == 3
    assert booked["reference"] != make_booking({**arguments, "name": "Tailor"})["reference"]


@given(st.text())
def test_tokens_are_the_reply_again(text: str) -> None:
    assert "".join(tokens(text)) == text


@given(
    st.lists(
        st.one_of(st.text(max_size=40).map(UserMessage), st.just(BookingResult("123"))), max_size=8
    )
)
def test_any_conversation_has_a_reply(messages: list[Message]) -> None:
    match follow(messages, SATURDAY).reply():
        case TextReply(text):
            assert text.strip()
        case ToolCall(_, arguments):
            assert all(arguments.values())
