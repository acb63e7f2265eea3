"""One CLIENT span a turn, from its speech to its final text, with all that happened in it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import TurnEnd, TurnStart
from cartesia_ink_plugins.core.options import ManualOptions, TurnSettings, TurnsOptions
from cartesia_ink_plugins.core.tap import (
    Moment,
    MomentKind,
    SessionStart,
    Speculation,
    SpeculationOutcome,
)
from cartesia_ink_plugins.observe.telemetry import names
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.world import Timed, World
from tests.observe.playing import EPOCH, begin, play
from tests.observe.telemetry.telling import Telling, attributes_of, events_of

SCRIPT = Script("Hello there.", "A table ... for two.", Turn("Yes.", eager=False))


def seconds(nanoseconds: int | None) -> float:
    assert nanoseconds is not None
    return nanoseconds / 1e9 - EPOCH


def test_a_span_begins_with_the_speech_and_ends_with_the_final_text() -> None:
    telling = Telling()
    world = play(Script("Hello there.", lead_in=1.0), taps=[telling.tap()])
    [span] = telling.spans
    [end_at] = [at for at, event in world.history if isinstance(event, TurnEnd)]
    assert span.name == "speech_to_text ink-2"
    assert span.kind is SpanKind.CLIENT
    assert seconds(span.start_time) == pytest.approx(1.0, abs=0.03)
    assert seconds(span.end_time) == pytest.approx(end_at, abs=0.001)
    assert span.status.status_code is StatusCode.UNSET


def test_a_span_has_the_attributes_of_the_conventions_and_our_own() -> None:
    telling = Telling()
    options = TurnsOptions(
        base_url="https://ink.example:8443",
        turn=TurnSettings(turn_end_threshold=0.25, turn_end_timeout_ms=3000),
    )
    play(SCRIPT, taps=[telling.tap()], options=options)
    first, second, third = (attributes_of(span) for span in telling.spans)
    assert {name: value for name, value in first.items() if not name.startswith("cartesia")} == {
        "gen_ai.operation.name": "speech_to_text",
        "gen_ai.provider.name": "cartesia",
        "gen_ai.request.model": "ink-2",
        "server.address": "ink.example",
        "server.port": 8443,
    }
    assert first[names.END_LATENCY] == pytest.approx(0.96, abs=0.03)
    assert first[names.EAGER_LEAD] == pytest.approx(0.58, abs=0.03)
    assert first[names.SETTINGS + "turn_end_threshold"] == 0.25
    assert first[names.SETTINGS + "turn_end_timeout_ms"] == 3000
    assert first[names.SESSION_ID] == "ink-test"
    assert [one[names.TURN_INDEX] for one in (first, second, third)] == [1, 2, 3]
    assert (second[names.PREDICTIONS], second[names.RESUMES]) == (2, 1)
    assert names.EAGER_LEAD not in third
    assert first[names.SPECULATION] == "none"


def test_a_span_has_the_turns_events_in_their_order_and_at_their_time() -> None:
    telling = Telling()
    world = play(Script("A table ... for two."), taps=[telling.tap()])
    [span] = telling.spans
    assert events_of(span) == [
        "turn.start",
        "turn.eager_end",
        "turn.resume",
        "turn.eager_end",
        "turn.end",
    ]
    told = {event.type: at for at, event in world.history if isinstance(event, TurnStart | TurnEnd)}
    assert seconds(span.events[0].timestamp) == pytest.approx(told["turn.start"], abs=0.001)
    assert seconds(span.events[-1].timestamp) == pytest.approx(told["turn.end"], abs=0.001)


def test_a_lost_connection_and_its_replay_are_events_of_the_turn() -> None:
    telling = Telling()
    play(Script("Hello there my friends."), [Timed(1.0, Reset())], taps=[telling.tap()])
    [span] = telling.spans
    names_of_connection = [name for name in events_of(span) if not name.startswith("turn.")]
    assert names_of_connection == ["connection.lost", "connection.opened", "audio.replayed"]
    [lost] = [event for event in span.events if event.name == "connection.lost"]
    assert dict(lost.attributes or {}) == {names.CAUSE: "1006"}
    attributes = attributes_of(span)
    assert attributes[names.SECONDS_REPLAYED] > 0.5
    assert attributes[names.SECONDS_LOST] == 0
    # It began with the turn, whose beginning had been sent already.
    assert attributes[names.SECONDS_SENT] == pytest.approx(2.0, abs=0.5)


def test_the_id_of_the_request_is_the_id_of_the_response() -> None:
    telling = Telling()
    tap = telling.tap()
    tap.on(Moment(0.0, MomentKind.STARTED, 0, 0, SessionStart("s", ManualOptions(), EPOCH)))
    tap.on(Moment(1.0, MomentKind.EVENT, 1, 1, TurnEnd("Yes.", request_id="abc")))
    assert [attributes_of(span)[names.RESPONSE_ID] for span in telling.spans] == ["abc"]


def test_a_turn_that_a_rejection_ends_is_an_error() -> None:
    telling = Telling()
    tap = telling.tap()
    tap.on(Moment(0.0, MomentKind.STARTED, 0, 0, SessionStart("s", TurnsOptions(), EPOCH)))
    tap.on(Moment(1.0, MomentKind.EVENT, 1, 1, TurnStart()))
    error = RejectedError("no money", status=402, code=None, request_id=None)
    tap.on(Moment(2.0, MomentKind.REJECTED, 1, 1, error))
    tap.on(Moment(2.0, MomentKind.EVENT, 1, 1, TurnEnd("Yes.")))
    [span] = telling.spans
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)["error.type"] == "402"
    assert "no money" not in str(attributes_of(span))
    [(count, _)] = telling.values(names.DURATION_METRIC, **{"error.type": "402"})
    assert count == 1


@pytest.mark.parametrize("value", [None, "", "false", "no_content", "event_only"])
def test_no_text_of_the_user_is_told_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    else:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    telling = Telling()
    options = TurnsOptions(keyterms=["Ottoline"])
    play(Script("Hello there."), taps=[telling.tap()], options=options)
    told = "".join(span.to_json() for span in telling.spans) + repr(telling.points)
    assert "cartesia.ink.turn.index" in told
    assert "Hello" not in told and "Ottoline" not in told


@pytest.mark.parametrize("value", ["true", "1", "span_only", "SPAN_AND_EVENT"])
def test_a_transcript_is_told_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    telling = Telling()
    play(Script("Hello there."), taps=[telling.tap()])
    assert [attributes_of(span)[names.TRANSCRIPT] for span in telling.spans] == ["Hello there."]


# --- speculation ----------------------------------------------------------------------------------


def speculate(world: World, at: float, end: float, outcome: SpeculationOutcome) -> None:
    """Let the framework begin a reply at a time, and decide it at another."""
    tell = world.session.taps.on
    world.at(at, lambda: tell(world.now, MomentKind.SPECULATION_BEGAN))
    decided = Speculation(outcome, end - at, 10, 5)
    world.at(end, lambda: tell(world.now, MomentKind.SPECULATION_ENDED, decided))


def test_a_span_waits_until_it_is_known_what_became_of_the_reply() -> None:
    telling = Telling()
    world = begin(Script("Hello there."), taps=[telling.tap()])
    # The end is predicted 1.15 s into the call, and told 0.5 s later.
    speculate(world, 1.3, 2.2, SpeculationOutcome.KEPT)
    world.run()
    [span] = telling.spans
    assert attributes_of(span)[names.SPECULATION] == "kept"
    [turn_end] = [at for at, event in world.history if isinstance(event, TurnEnd)]
    assert 1.3 < turn_end < 2.2
    assert seconds(span.end_time) == pytest.approx(turn_end, abs=0.001)


def test_a_reply_that_is_withdrawn_belongs_to_its_turn_and_to_no_other() -> None:
    telling = Telling()
    world = begin(Script("A table ... for two.", "Yes."), taps=[telling.tap()])
    speculate(world, 0.9, 1.1, SpeculationOutcome.WITHDRAWN)
    world.run()
    outcomes = [attributes_of(span)[names.SPECULATION] for span in telling.spans]
    assert outcomes == ["withdrawn", "none"]


def test_a_reply_that_nobody_decides_does_not_hold_back_its_turn_for_ever() -> None:
    telling = Telling()
    world = begin(Script("Hello there.", "Yes."), taps=[telling.tap()])
    world.at(1.3, lambda: world.session.taps.on(world.now, MomentKind.SPECULATION_BEGAN, None))
    world.run()
    assert len(telling.spans) == 2


# --- the framework --------------------------------------------------------------------------------


class Framework:
    """What an adapter gives the client."""

    def __init__(self, telling: Telling, context: Context | None) -> None:
        self.context = context
        self.telling = telling

    def turn_context(self) -> Context | None:
        return self.context

    def tracer(self) -> trace.Tracer:
        return self.telling.tracers.get_tracer("framework")

    def attributes(self) -> Mapping[str, str]:
        return {"room": "blue"}


def framework_call(telling: Telling, framework: Framework) -> None:
    """A call of one turn, inside a framework."""
    tap = telling.tap()
    start = SessionStart("s", TurnsOptions(), EPOCH, None, lambda: framework)
    tap.on(Moment(0.0, MomentKind.STARTED, 0, 0, start))
    tap.on(Moment(1.0, MomentKind.EVENT, 1, 1, TurnStart()))
    tap.on(Moment(2.0, MomentKind.EVENT, 1, 1, TurnEnd("Yes.")))


def test_a_span_is_a_child_of_the_frameworks_turn_and_made_by_its_tracer() -> None:
    telling = Telling()
    turn = telling.tracers.get_tracer("framework").start_span("user_turn")
    framework_call(telling, Framework(telling, trace.set_span_in_context(turn)))
    [span] = telling.spans
    assert span.parent is not None
    assert span.parent.span_id == turn.get_span_context().span_id
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "framework"
    assert attributes_of(span)["room"] == "blue"


def test_without_a_turn_of_the_framework_a_span_is_a_child_of_the_current_one() -> None:
    telling = Telling()
    with telling.tracers.get_tracer("app").start_as_current_span("call") as call:
        framework_call(telling, Framework(telling, None))
    inner = next(span for span in telling.spans if span.name.startswith("speech_to_text"))
    assert inner.parent is not None
    assert inner.parent.span_id == call.get_span_context().span_id
