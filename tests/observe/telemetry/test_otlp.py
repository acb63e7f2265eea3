"""An application with an OTLP collector beside it, and no line of code about us."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.needs import ROOT
from tests.observe.telemetry.collector import attributes, collector


def test_a_collector_receives_the_turn_under_the_span_of_the_application() -> None:
    with collector() as received:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.observe.telemetry.plain_app"],
            env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    [call] = received.named("call")
    [turn] = received.named("speech_to_text")
    assert (turn.trace_id, turn.parent_span_id) == (call.trace_id, call.span_id)
    assert turn.kind == turn.SPAN_KIND_CLIENT
    assert attributes(turn)["gen_ai.provider.name"] == "cartesia"
    assert len(attributes(turn)["gen_ai.response.id"]) == 36
    names = [event.name for event in turn.events]
    assert names == ["turn.start", "turn.eager_end", "turn.end"]
    assert turn.start_time_unix_nano < turn.events[0].time_unix_nano
    [latency] = received.metrics["cartesia.ink.turn.end_latency"].histogram.data_points
    assert latency.count == 1
    seconds = received.metrics["cartesia.ink.audio.seconds"].sum
    sent = {attributes(point)["kind"]: point.as_double for point in seconds.data_points}
    assert sent["sent"] > 1.0
    assert seconds.is_monotonic
