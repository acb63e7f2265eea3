"""What sounds like the end of a turn, and what does not."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.server.speech.ending import Evidence, chance_of_end, features
from cartesia_ink_plugins.server.speech.whisper import After

STOP = After(stop=0.9, question=0.0, comma=0.01, dots=0.01, nothing=0.06)
ASKS = After(stop=0.05, question=0.9, comma=0.0, dots=0.01, nothing=0.03)


def chance(text: str, after: After = STOP, complete: float = 0.7) -> float:
    return chance_of_end(Evidence(text, after, complete))


@pytest.mark.parametrize(
    ("open_text", "whole_text"),
    [
        (" A table for.", " A table for two."),
        (" I'd like the", " I'd like the soup."),
        (" It's because", " It's because of you."),
        (" Well, um", " Well, um, no."),
        (" My number is 07 912.", " My number is 07 912 345 678 9."),
        (" 5, 5, 5, 2, 3", " 5, 5, 5, 2, 3, 9, 8"),
        (" Let me see.", " Let me see it tomorrow."),
        (" Apples, pears.", " Apples, pears, and some bread."),
        (" You sent me.", " You sent me a parcel."),
        (" If the weather is bad.", " The weather is bad here."),
        (" We want to fly from.", " We want to fly home."),
        (" I was there on Monday, on Tuesday.", " I was there on Monday and on Tuesday."),
        (" The room has a desk. Two chairs.", " The room has a desk and two chairs."),
        (" I think we may.", " The second of May."),
        (" Just a moment.", " Just me."),
        (" I guess.", " I guess so."),
        (" When it is over.", " After lunch."),
        (" First the kitchen. Then the hall.", " First the kitchen and then the hall."),
        (" Could you forward it too?", " Could you forward it?"),
        (" Please charge it to mine.", " Please charge it to my card."),
    ],
)
def test_what_stops_in_the_middle_is_told_from_what_is_whole(
    open_text: str, whole_text: str
) -> None:
    assert chance(open_text) < chance(whole_text) - 0.1


@pytest.mark.parametrize(
    "text",
    [" Yes, please.", " That's fine, thanks.", " Half past two, please.", " No, that's all."],
)
def test_an_answer_is_whole(text: str) -> None:
    assert chance(text) > 0.5


@pytest.mark.parametrize(
    "text",
    [" By train.", " Not today.", " At noon.", " Five people.", " Turn left.", " This week."],
)
def test_a_phrase_that_answers_is_told_from_a_thing_that_may_begin_a_list(text: str) -> None:
    assert chance(text) > chance(" A salad.")


@pytest.mark.parametrize(
    ("text", "unfinished"),
    [
        (" Who is it for?", False),
        (" Where are they?", False),
        (" Could you repeat that?", False),
        (" Is it for?", True),
        (" Do I need a?", True),
        (" Can you tell me?", True),
        (" How many can I take?", False),
        (" Do I need?", True),
    ],
)
def test_a_question_may_end_with_some_words_only(text: str, unfinished: bool) -> None:
    assert features(Evidence(text, ASKS, 0.5))["unfinished"] == float(unfinished)


@pytest.mark.parametrize(
    ("text", "unfinished"),
    [
        (" Yes, I did.", False),
        (" I don't think so.", False),
        (" I'm not sure about that.", False),
        (" She told me that", True),
        (" The problem is", True),
        (" It was late, so", True),
    ],
)
def test_an_answer_may_end_with_what_was_asked(text: str, unfinished: bool) -> None:
    assert features(Evidence(text, STOP, 0.5))["unfinished"] == float(unfinished)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" It's $30.", "formed"),
        (" 12,400", "formed"),
        (" 3.5.", "formed"),
        (" I was born in 1984.", "formed"),
        (" At 9:30.", "formed"),
        (" 1 9 4 7", "four digits"),
        (" Yes.", "one reply"),
        (" Yes, I do.", "reply"),
        (" Cancel it.", "tail"),
        (" A coffee.", "thing"),
        (" Mary Jones.", "name"),
        (" Six of diamonds.", "of"),
        (" Can I pay by card?", "whole question"),
        (" They lost my bag.", "clause"),
        (" Tea, cake and two plates.", "closed list"),
        (" Tea and cake.", "closed list"),
    ],
)
def test_what_a_turn_stops_with_has_a_name(text: str, name: str) -> None:
    assert features(Evidence(text, STOP, 0.5))[name] == 1.0
    assert features(Evidence(" The number of the", STOP, 0.5))[name] == 0.0


@pytest.mark.parametrize("text", [" 12,400", " 11-15", " At 9:30."])
def test_a_number_that_is_whole_by_its_form_is_no_open_number(text: str) -> None:
    found = features(Evidence(text, STOP, 0.5))
    assert not found["open number"]
    assert not found["three digits"]


@pytest.mark.parametrize("text", [" Yes, I would.", " No, thank you.", " Tea, cake and plates."])
def test_a_reply_and_a_list_with_its_last_thing_are_no_open_list(text: str) -> None:
    assert not features(Evidence(text, STOP, 0.5))["open list"]


@pytest.mark.parametrize(
    ("text", "half"), [(" When is the next train?", False), (" When I was there", True)]
)
def test_a_question_is_not_the_first_half_of_a_sentence(text: str, half: bool) -> None:
    assert features(Evidence(text, ASKS, 0.5))["half"] == float(half)


def test_a_verb_may_end_with_its_particle() -> None:
    assert not features(Evidence(" Turn it on.", STOP, 0.5))["unfinished"]
    assert features(Evidence(" You can reach me on.", STOP, 0.5))["unfinished"]


def test_the_voice_counts() -> None:
    assert chance(" Two people.", complete=0.1) < chance(" Two people.", complete=0.9)


@pytest.mark.parametrize("text", ["", " ", ".", " ...", " 7", "\u266a"])
def test_any_text_can_be_judged(text: str) -> None:
    nothing = After(0.0, 0.0, 0.0, 0.0, 0.0)
    assert 0.0 <= chance(text, nothing, 0.0) <= 1.0
    assert 0.0 <= chance(text, After(1.0, 0.0, 0.0, 0.0, 0.0), 1.0) <= 1.0
