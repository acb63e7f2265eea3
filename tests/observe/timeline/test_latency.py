"""Of what the wait for a reply was made, and the sentence about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartesia_ink_plugins.observe.reader import read_recording
from cartesia_ink_plugins.observe.timeline.latency import (
    explanation,
    latencies,
    latency_of,
    percentile,
    slowest,
)
from cartesia_ink_plugins.observe.timeline.model import CallTimeline, Turn, build_timeline
from tests.observe.timeline.planted import Planted, eventful_call


@pytest.fixture
def eventful(tmp_path: Path) -> CallTimeline:
    return build_timeline(read_recording(eventful_call().write(tmp_path / "call.ink")))


def turn(**times: float | None) -> Turn:
    made = Turn(1, 1, 0.0, end=3.0, speech_end=2.0, bot_started=4.0)
    for name, value in times.items():
        setattr(made, name, value)
    return made


def test_the_parts_are_the_total(eventful: CallTimeline) -> None:
    found = latencies(eventful)
    assert [one.turn.number for one in found] == [1, 2, 3]
    for one in found:
        assert sum(seconds for _, seconds in one.parts) == pytest.approx(one.total)


def test_what_was_ready_before_took_no_time() -> None:
    """The LLM of a reply that was begun early writes before the turn ends."""
    found = latency_of(turn(llm_output=2.5, tts_output=3.4))
    assert found is not None
    assert dict(found.parts) == {
        "the server waited for silence": 1.0,
        "the voice": pytest.approx(0.4),
        "the way to the caller": pytest.approx(0.6),
    }


@pytest.mark.parametrize(
    "times", [{"bot_started": 1.0}, {"end": None, "speech_end": None}], ids=str
)
def test_a_turn_of_which_nothing_is_known_has_no_latency(times: dict[str, float | None]) -> None:
    assert latency_of(turn(**times)) is None


@pytest.mark.parametrize(
    ("times", "total", "until"),
    [
        ({}, 1.0, " until the turn ended"),
        ({"llm_output": 3.5}, 1.5, " until the LLM wrote"),
        ({"tts_output": 3.7}, 1.7, " until the voice was ready"),
    ],
)
def test_where_the_bot_is_not_recorded_the_last_known_step_counts(
    times: dict[str, float], total: float, until: str
) -> None:
    found = latency_of(turn(bot_started=None, **times))
    assert found is not None
    assert found.total == pytest.approx(total)
    assert (found.until, found.is_whole) == (until, False)


def test_replies_are_not_compared_with_turns_without_one(tmp_path: Path) -> None:
    call = Planted()
    call.simple_turn(1.0, "one", reply=None)
    made = build_timeline(read_recording(call.write(tmp_path / "none.ink")))
    assert [explanation(one, made) for one in slowest(made)] == [
        "turn 1: 0.5 s until the turn ended, of which 0.5 s the server waited for silence"
    ]
    call.simple_turn(11.0, "two", reply=1.0)
    made = build_timeline(read_recording(call.write(tmp_path / "one.ink")))
    assert [one.turn.number for one in slowest(made)] == [2]


def test_without_the_end_of_speech_the_wait_begins_with_the_end_of_the_turn() -> None:
    found = latency_of(turn(speech_end=None, llm_output=3.5))
    assert found is not None
    assert (found.since, found.total, found.turn_end) == (3.0, 1.0, None)


def test_the_slowest_are_explained(eventful: CallTimeline) -> None:
    assert [explanation(one, eventful) for one in slowest(eventful)] == [
        "turn 2: 1.9 s, of which 1.1 s the server waited for silence, 0.6 s the LLM, 0.2 s the "
        "voice; kept audio was sent again meanwhile",
        "turn 1: 1.0 s, of which 0.8 s the server waited for silence, 0.1 s the voice, 0.1 s the "
        "way to the caller; a reply begun early could not be used",
        "turn 3: 0.8 s, of which 0.5 s the server waited for silence, 0.1 s the LLM, 0.1 s the "
        "voice, 0.1 s the way to the caller",
    ]


def test_only_three_are_explained(tmp_path: Path) -> None:
    call = Planted()
    for number, reply in enumerate([1.0, 3.0, 2.0, 4.0]):
        call.simple_turn(10.0 * number, f"{number}", reply=reply)
    timeline = build_timeline(read_recording(call.write(tmp_path / "call.ink")))
    assert [one.turn.number for one in slowest(timeline)] == [4, 2, 3]


def test_a_loss_in_the_wait_is_told(tmp_path: Path) -> None:
    call = Planted()
    call.simple_turn(1.0, "one", reply=3.0)
    call.line(4.0, "lost", event="disconnected", reason="reset", retry_in=0.0)
    timeline = build_timeline(read_recording(call.write(tmp_path / "call.ink")))
    [found] = latencies(timeline)
    assert explanation(found, timeline).endswith("; the connection was lost meanwhile")


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([3.0], 99, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([1.0, 2.0], 95, 2.0)],
)
def test_percentiles_are_values_that_occurred(
    values: list[float], percent: float, expected: float | None
) -> None:
    assert percentile(values, percent) == expected
