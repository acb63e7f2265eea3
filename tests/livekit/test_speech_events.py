"""The mapping, event by event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechEvent, SpeechEventType

from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
)
from cartesia_ink_plugins.livekit.speech_data import InkSpeechEvent
from cartesia_ink_plugins.livekit.speech_events import SpeechEvents

START = SpeechEventType.START_OF_SPEECH
INTERIM = SpeechEventType.INTERIM_TRANSCRIPT
PREFLIGHT = SpeechEventType.PREFLIGHT_TRANSCRIPT
FINAL = SpeechEventType.FINAL_TRANSCRIPT
END = SpeechEventType.END_OF_SPEECH

EPOCH = 1_000.0
TIMING = Timing(turn=3, position=9.0, speech_start=1_004.0, speech_end=1_006.5)


def always(_: str) -> bool:
    return True


def mapping(
    *, keep_min_delay: bool = False, should_speculate: Callable[[str], bool] = always
) -> SpeechEvents:
    return SpeechEvents(
        language=LanguageCode("en"),
        keep_min_delay=keep_min_delay,
        epoch=EPOCH,
        should_speculate=should_speculate,
    )


def speech_of(*events: TurnEvent, keep_min_delay: bool = False) -> list[SpeechEvent]:
    events_of = mapping(keep_min_delay=keep_min_delay)
    return [
        speech
        for event in events
        for speech in events_of.of(replace(event, request_id="r-1", timing=TIMING))
    ]


def summary(*events: TurnEvent) -> list[tuple[SpeechEventType, str | None]]:
    return [
        (speech.type, speech.alternatives[0].text if speech.alternatives else None)
        for speech in speech_of(*events)
    ]


def test_a_plain_turn() -> None:
    assert summary(
        TurnStart(), TurnUpdate("Book a"), TurnUpdate("Book a table"), TurnEnd("Book a table.")
    ) == [
        (START, None),
        (INTERIM, "Book a"),
        (INTERIM, "Book a table"),
        (FINAL, "Book a table."),
        (END, None),
    ]


def test_an_eager_end_starts_the_reply_and_a_resume_repeats_its_words_to_keep_it() -> None:
    assert summary(
        TurnStart(),
        TurnEagerEnd("Book a table"),
        TurnResume(),
        TurnUpdate("Book a table for two"),
        TurnEagerEnd("Book a table for two"),
        TurnEnd("Book a table for two"),
    ) == [
        (START, None),
        (PREFLIGHT, "Book a table"),
        (INTERIM, "Book a table"),
        (INTERIM, "Book a table for two"),
        (PREFLIGHT, "Book a table for two"),
        (FINAL, "Book a table for two"),
        (END, None),
    ]


def test_the_same_words_do_not_start_the_reply_again() -> None:
    assert summary(
        TurnStart(), TurnEagerEnd("Yes"), TurnResume(), TurnEagerEnd("Yes"), TurnEnd("Yes")
    ) == [
        (START, None),
        (PREFLIGHT, "Yes"),
        (INTERIM, "Yes"),
        (FINAL, "Yes"),
        (END, None),
    ]


def test_punctuation_and_case_do_not_start_the_reply_again_but_are_shown() -> None:
    assert summary(TurnStart(), TurnEagerEnd("Yes please"), TurnEagerEnd("Yes please.")) == [
        (START, None),
        (PREFLIGHT, "Yes please"),
        (INTERIM, "Yes please."),
    ]


def test_the_same_words_in_another_turn_do_start_a_reply() -> None:
    turn = (TurnStart(), TurnEagerEnd("Yes"), TurnEnd("Yes"))
    assert summary(*turn, *turn).count((PREFLIGHT, "Yes")) == 2


def test_an_update_without_news_is_not_repeated() -> None:
    assert summary(TurnStart(), TurnUpdate(""), TurnUpdate("Hi"), TurnUpdate("Hi")) == [
        (START, None),
        (INTERIM, "Hi"),
    ]


def test_noise_ends_the_speech_but_has_no_final() -> None:
    assert summary(TurnStart(), TurnEagerEnd(""), TurnResume(), TurnEnd("")) == [
        (START, None),
        (END, None),
    ]


def test_text_is_verbatim() -> None:
    text = " Und, äh,  two "
    texts = [t for _, t in summary(TurnStart(), TurnUpdate(text), TurnEnd(text)) if t is not None]
    assert texts == [text, text]


def test_an_eager_end_may_leave_out_what_is_known() -> None:
    assert (PREFLIGHT, "Hello") in summary(TurnStart(), TurnUpdate("Hello"), TurnEagerEnd(""))


def test_times_ids_and_turn_numbers() -> None:
    start, interim, preflight, final, end = speech_of(
        TurnStart(), TurnUpdate("Hi"), TurnEagerEnd("Hi."), TurnEnd("Hi.")
    )
    assert start.speech_start_time == TIMING.speech_start
    assert interim.speech_end_time is None, "the user may still be speaking"
    assert preflight.speech_end_time == final.speech_end_time == TIMING.speech_end
    assert end.speech_end_time == TIMING.speech_end
    assert {speech.request_id for speech in (start, interim, preflight, final, end)} == {"r-1"}
    data = final.alternatives[0]
    assert (data.start_time, data.end_time) == (4.0, 6.5)
    metadata = {"request_id": "r-1", "turn": 3, "position": 9.0}
    for speech in (start, interim, preflight, final, end):
        assert isinstance(speech, InkSpeechEvent)
        assert speech.metadata == metadata
        assert [data.metadata for data in speech.alternatives] in ([], [metadata])
    assert data.language == "en"


def test_unknown_times_stay_unknown() -> None:
    events = mapping()
    events.of(TurnStart())
    final, end = events.of(TurnEnd("Hi"))
    assert final.alternatives[0].end_time == 0.0
    assert (final.speech_end_time, end.speech_end_time, end.request_id) == (None, None, "")


def test_min_delay_is_kept_by_leaving_the_end_of_speech_out() -> None:
    speech = speech_of(TurnStart(), TurnEnd("Hi"), keep_min_delay=True)
    assert speech[-1].type is END
    assert speech[-1].speech_end_time is None


@pytest.mark.parametrize("close", [True, False])
def test_it_knows_whether_a_turn_is_open(close: bool) -> None:
    events = mapping()
    events.of(TurnStart())
    if close:
        events.of(TurnEnd(""))
    assert events.speaking is not close


@dataclass(frozen=True, slots=True)
class NewEnd(TurnEnd):
    """As a later version of the core may define it."""

    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class NewTiming(Timing):
    """The same."""

    channel: int | None = None


def test_a_field_that_the_core_gains_reaches_the_event() -> None:
    timing = NewTiming(turn=1, position=2.0, channel=1)
    final, end = mapping().of(NewEnd("Hi.", timing=timing, confidence=0.9))
    for speech in (final, end):
        assert isinstance(speech, InkSpeechEvent)
        metadata = speech.metadata
        assert (metadata["confidence"], metadata["channel"]) == (0.9, 1)


def test_what_goes_on_in_another_stream_is_a_final_without_an_end() -> None:
    events = mapping()
    events.of(TurnStart())
    events.of(TurnUpdate("Book a table"))
    [final] = events.interrupted("Book a", "r-2")
    assert (final.type, final.request_id, final.alternatives[0].text) == (FINAL, "r-2", "Book a")
    assert events.interrupted("", None) == []


def test_a_prediction_that_the_policy_is_against_is_an_interim() -> None:
    asked: list[str] = []

    def once(text: str) -> bool:
        asked.append(text)
        return len(asked) > 1

    events_of = mapping(should_speculate=once)
    events_of.of(TurnStart())
    [refused] = events_of.of(TurnEagerEnd("A table"))
    assert (refused.type, refused.alternatives[0].text) == (INTERIM, "A table")
    assert events_of.of(TurnEagerEnd(""))[0].type is PREFLIGHT
    events_of.of(TurnEagerEnd("a table."))
    assert asked == ["A table", "A table"], "a reply that is there already is not asked for"
