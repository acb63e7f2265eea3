"""What Prometheus scrapes from OpenTelemetry's exporter has the expected names and values."""

from __future__ import annotations

import re
from collections.abc import Callable

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from cartesia_ink_plugins.core.tap import Moment, MomentKind, Speculation, SpeculationOutcome
from cartesia_ink_plugins.observe.telemetry.tap import TelemetryTap
from cartesia_ink_plugins.server.faults import Reset
from cartesia_ink_plugins.server.script import Script
from tests.core.world import Timed
from tests.observe.playing import play
from tests.observe.telemetry.telling import Telling


def scrape(*more: Callable[[TelemetryTap], None]) -> str:
    """Play a call, and what else a session can bring; return what Prometheus' text format says."""
    registry = CollectorRegistry()
    telling = Telling(None, PrometheusMetricReader(registry=registry))
    tap = telling.tap()
    play(Script("Hello there.", "Yes."), [Timed(1.0, Reset())], taps=[tap])
    speculation = Speculation(SpeculationOutcome.WITHDRAWN, 0.5, 200, 20)
    tap.on(Moment(9.0, MomentKind.SPECULATION_ENDED, 1, 1, speculation))
    for play_more in more:
        play_more(telling.tap())
    assert telling.worker.flush(30.0)
    return generate_latest(registry).decode()


def value(text: str, name: str, *labels: str) -> float:
    """The value of the one line with a name and labels."""
    found = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if re.match(rf"{name}[{{ ]", line) and all(label in line for label in labels)
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_the_text_format_has_every_metric() -> None:
    text = scrape()
    model = 'gen_ai_request_model="ink-2"'
    assert value(text, "gen_ai_client_operation_duration_seconds_count", model) == 2
    assert value(text, "cartesia_ink_turn_end_latency_seconds_count", model) == 2
    assert 1.7 < value(text, "cartesia_ink_turn_end_latency_seconds_sum", model) < 2.3
    assert value(text, "cartesia_ink_turn_eager_lead_seconds_count", model) == 2
    assert value(text, "cartesia_ink_speculations_total", 'outcome="withdrawn"') == 1
    wasted = "cartesia_ink_speculation_wasted_tokens_total"
    assert value(text, wasted, 'kind="prompt"') == 200
    assert value(text, wasted, 'kind="completion"') == 20
    events = "cartesia_ink_connection_events_total"
    assert value(text, events, 'event="lost"', 'cause="1006"') == 1
    assert value(text, "cartesia_ink_audio_seconds_total", 'kind="replayed"') > 0
    assert value(text, "cartesia_ink_audio_pending_seconds") == 0
