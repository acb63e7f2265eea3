"""Metrics have the names and the values of a scripted call."""

from __future__ import annotations

import pytest

from cartesia_ink_plugins.core.errors import RejectedError
from cartesia_ink_plugins.core.events import ConnectFailed, Disconnected
from cartesia_ink_plugins.core.tap import Moment, MomentKind, Speculation, SpeculationOutcome
from cartesia_ink_plugins.observe.telemetry import names
from cartesia_ink_plugins.observe.telemetry.tap import cause_of
from cartesia_ink_plugins.server.faults import Outage, Reset
from cartesia_ink_plugins.server.script import Script, Turn
from tests.core.world import Timed
from tests.observe.playing import begin, play
from tests.observe.telemetry.telling import Telling

SCRIPT = Script("Hello there.", "A table ... for two.", Turn(noise=0.5), "Yes.")


def test_every_turn_is_measured_and_latencies_are_those_of_turns_with_words() -> None:
    telling = Telling()
    play(SCRIPT, taps=[telling.tap()])
    common = {
        "gen_ai.operation.name": "speech_to_text",
        "gen_ai.provider.name": "cartesia",
        "gen_ai.request.model": "ink-2",
        "server.address": "api.cartesia.ai",
    }
    [(turns, seconds)] = telling.values(names.DURATION_METRIC, **common)
    assert turns == 4
    assert seconds == pytest.approx(6.3, abs=0.5)
    [(count, total)] = telling.values(names.END_LATENCY_METRIC, **common)
    assert (count, total / count) == (3, pytest.approx(0.88, abs=0.03))
    [(count, total)] = telling.values(names.EAGER_LEAD_METRIC, **common)
    assert (count, total / count) == (3, pytest.approx(0.5, abs=0.03))


def test_seconds_of_audio_are_told_by_kind_and_those_that_wait_by_a_gauge() -> None:
    telling = Telling()
    world = begin(SCRIPT, [Timed(2.0, Reset())], taps=[telling.tap()])
    seen: list[list[float]] = []
    world.at(2.05, lambda: seen.append(telling.values(names.PENDING_METRIC)))
    world.run()
    snapshot = world.session.snapshot()
    for kind, seconds in (
        ("sent", snapshot.sent),
        ("replayed", snapshot.replayed),
        ("lost", snapshot.lost),
        ("silent", snapshot.silence),
    ):
        assert telling.values(names.AUDIO_METRIC, kind=kind) == [pytest.approx(seconds)]
    assert snapshot.replayed > 0
    assert seen[0][0] > 0
    assert telling.values(names.PENDING_METRIC) == [0]


def test_the_seconds_of_several_sessions_are_added_up_also_when_they_are_over() -> None:
    telling = Telling()
    worlds = [play(Script("Yes."), taps=[telling.tap()]) for _ in range(3)]
    sent = sum(world.session.snapshot().sent for world in worlds)
    assert telling.values(names.AUDIO_METRIC, kind="sent") == [pytest.approx(sent)]
    assert not telling.instruments.audio._live


def test_a_counter_of_seconds_never_goes_back() -> None:
    """Audio that was sent can be given up later, and is lost then."""
    telling = Telling()
    play(Script("Yes."), taps=[telling.tap()])
    before = telling.values(names.AUDIO_METRIC, kind="sent")
    begin(Script("No."), taps=[telling.tap()]).session.sender.counts.sent = -32_000
    assert telling.values(names.AUDIO_METRIC, kind="sent") == before


def test_connections_are_counted_by_what_happened_and_why() -> None:
    telling = Telling()
    play(SCRIPT, [Timed(1.0, Reset()), Timed(4.0, Outage(1.0))], taps=[telling.tap()])

    def count(**attributes: str) -> int:
        return sum(telling.values(names.CONNECTION_METRIC, **attributes))

    assert count(event="opened", cause="start") == 1
    assert count(event="opened", cause="reconnect") == 2
    assert count(event="lost", cause="1006") == 2
    assert count(event="failed", cause="unreachable") >= 1
    assert count(event="rejected") == 0


def test_a_rejection_is_counted_with_its_status() -> None:
    telling = Telling()
    error = RejectedError("the key sk_1 is no key", status=401, code=None, request_id=None)
    telling.tap().on(Moment(1.0, MomentKind.REJECTED, 0, 0, error))
    assert telling.values(names.CONNECTION_METRIC, event="rejected", cause="401") == [1]
    assert "sk_1" not in repr(telling.points)


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (Disconnected("the server closed with 1011", 1011), "1011"),
        (Disconnected("no pong"), "unresponsive"),
        (Disconnected("new options"), "new_options"),
        (ConnectFailed("HTTP 503: <html> busy", 503), "503"),
        (ConnectFailed("no answer", timed_out=True), "timeout"),
        (ConnectFailed("cannot resolve evil.example"), "unreachable"),
    ],
)
def test_a_cause_is_one_of_few_and_has_no_text_of_others(
    event: Disconnected | ConnectFailed, cause: str
) -> None:
    assert cause_of(event) == cause


def test_speculations_are_counted_and_the_tokens_of_discarded_ones_priced() -> None:
    telling = Telling()
    tap = telling.tap()
    for outcome, prompt, completion in (
        (SpeculationOutcome.KEPT, 100, 10),
        (SpeculationOutcome.WITHDRAWN, 200, 20),
        (SpeculationOutcome.MISMATCHED, 400, None),
    ):
        speculation = Speculation(outcome, 0.5, prompt, completion)
        tap.on(Moment(1.0, MomentKind.SPECULATION_ENDED, 1, 1, speculation))
    for outcome in SpeculationOutcome:
        assert telling.values(names.SPECULATIONS_METRIC, outcome=outcome.value) == [1]
    assert telling.values(names.WASTED_TOKENS_METRIC, kind="prompt") == [600]
    assert telling.values(names.WASTED_TOKENS_METRIC, kind="completion") == [20]
