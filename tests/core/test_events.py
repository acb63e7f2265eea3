"""Events are values, and a field that is added reaches every application."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from cartesia_ink_plugins.core import events
from cartesia_ink_plugins.core.events import (
    Timing,
    TurnEagerEnd,
    TurnEnd,
    TurnEvent,
    TurnResume,
    TurnStart,
    TurnUpdate,
    converted,
)

WITH_TEXT: list[type[TurnUpdate] | type[TurnEagerEnd] | type[TurnEnd]] = [
    TurnUpdate,
    TurnEagerEnd,
    TurnEnd,
]
WITHOUT_TEXT: list[type[TurnStart] | type[TurnResume]] = [TurnStart, TurnResume]
TIMING = Timing(3, 1.5, speech_start=7.0)


def test_events_are_values() -> None:
    event = TurnUpdate("Hi")
    with pytest.raises(FrozenInstanceError):
        event.transcript = "Ho"  # type: ignore[misc]
    assert {event: 1}[TurnUpdate("Hi")] == 1


def test_an_event_with_unknown_fields_is_a_value_too() -> None:
    event = TurnUpdate("Hi", extra={"speaker": {"id": 7}})
    assert event != TurnUpdate("Hi")
    assert {event: 1}[TurnUpdate("Hi", extra={"speaker": {"id": 7}})] == 1


@pytest.mark.parametrize("kind", WITH_TEXT)
def test_only_the_text_is_positional(kind: Any) -> None:
    assert kind("Hi").transcript == "Hi"
    with pytest.raises(TypeError):
        kind("Hi", "r")


@pytest.mark.parametrize("kind", WITHOUT_TEXT)
def test_a_turn_event_without_text_has_keywords_only(kind: Any) -> None:
    assert kind(request_id="r").request_id == "r"
    with pytest.raises(TypeError):
        kind("r")


def test_every_message_of_the_api_has_its_type() -> None:
    names = (getattr(cls, "type", None) for cls in vars(events).values() if isinstance(cls, type))
    assert sorted(name for name in names if isinstance(name, str)) == [
        "connected",
        "done",
        "error",
        "flush_done",
        "transcript",
        "turn.eager_end",
        "turn.end",
        "turn.resume",
        "turn.start",
        "turn.update",
    ]


class TestConverted:
    @pytest.mark.parametrize("before", WITH_TEXT)
    @pytest.mark.parametrize("after", WITH_TEXT)
    def test_between_events_with_text_every_attribute_is_kept(
        self,
        before: type[TurnUpdate] | type[TurnEagerEnd] | type[TurnEnd],
        after: type[TurnUpdate],
    ) -> None:
        attributes: dict[str, Any] = {
            "request_id": "r",
            "timing": TIMING,
            "extra": {"confidence": 0.9},
        }
        event = converted(before("Hi", **attributes), after)
        assert type(event) is after
        assert event == after("Hi", **attributes)
        assert {field.name for field in fields(event)} == {"transcript", *attributes}

    @pytest.mark.parametrize("after", WITHOUT_TEXT)
    def test_the_text_is_dropped_where_there_is_none(self, after: type[TurnStart]) -> None:
        event = converted(TurnEnd("Hi", request_id="r", timing=TIMING), after)
        assert event == after(request_id="r", timing=TIMING)


@pytest.mark.parametrize(
    "event", [TurnStart(extra={"a": 1}), TurnEnd("Hi", request_id="r", extra={"a": 1})]
)
def test_replacing_one_attribute_keeps_the_others(event: TurnEvent) -> None:
    changed = replace(event, timing=TIMING)
    assert changed.timing == TIMING
    assert replace(changed, timing=None) == event
    assert changed.extra == {"a": 1}
