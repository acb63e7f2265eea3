"""An application with an OTLP collector beside it, and no line of code about us."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.needs import ROOT
from tests.observe.telemetry.collector import attributes, collector

CONFIG = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {debug: {verbosity: detailed}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [debug]}
    metrics: {receivers: [otlp], exporters: [debug]}
"""


# What `opentelemetry-instrument` has Python do before a program begins.
INSTRUMENT = """
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
_OTelSDKConfigurator().configure()
"""


def run_app(url: str, *program: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run an application with a collector beside it, and a folder before all that is imported."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "PYTHONPATH": os.pathsep.join([path, str(ROOT)]).lstrip(os.pathsep),
    }
    return subprocess.run(
        [sys.executable, "-m", *(program or ("tests.observe.telemetry.plain_app",))],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.needs("otel-collector")
def test_the_real_collector_takes_spans_and_metrics(tmp_path: Path) -> None:
    program = os.environ.get("INK_OTEL_COLLECTOR") or shutil.which("otelcol")
    assert program
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "config.yaml").write_text(CONFIG % port)
    with (tmp_path / "log").open("w") as log:
        command = [program, "--config", str(tmp_path / "config.yaml")]
        collecting = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(tmp_path / "log", "Everything is ready")
            ran = run_app(f"http://127.0.0.1:{port}")
            wait_for(tmp_path / "log", "speech_to_text ink-2")
        finally:
            collecting.terminate()
            collecting.wait(30.0)
    assert (ran.returncode, ran.stderr) == (0, "")
    told = (tmp_path / "log").read_text()
    for line in ("Name           : turn.eager_end", "Name: cartesia.ink.turn.end_latency"):
        assert re.search(line.replace(" ", r" *"), told), line


def wait_for(log: Path, text: str) -> None:
    """Wait until a log has a text."""
    for _ in range(600):
        if text in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_collector_receives_the_turn_under_the_span_of_the_application() -> None:
    with collector() as received:
        ran = run_app(received.url)
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


@pytest.mark.parametrize(("framework", "turn"), [("pipecat", "turn"), ("livekit", "user_turn")])
def test_a_bot_without_a_line_of_code_about_it_shows_everything(
    framework: str, turn: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INSTRUMENT)
    app = "tests.observe.telemetry.framework_app"
    with collector() as received:
        ran = run_app(received.url, app, framework, path=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    [ours] = received.named("speech_to_text ink-2")
    parents = {span.span_id: span.name for span in received.spans}
    assert parents[ours.parent_span_id] == turn
    told = attributes(ours)
    assert told["cartesia.ink.turn.predictions"] == 2
    assert told["cartesia.ink.turn.end_latency"] > 0.2
    assert [event.name for event in ours.events] == [
        *("turn.start", "turn.eager_end", "turn.resume", "turn.eager_end", "turn.end")
    ]
    outcomes = received.metrics["cartesia.ink.speculations"].sum.data_points
    assert {attributes(point)["outcome"] for point in outcomes} == {"withdrawn", "kept"}
    assert received.metrics.keys() >= {
        "gen_ai.client.operation.duration",
        "cartesia.ink.turn.end_latency",
        "cartesia.ink.turn.eager_lead",
        "cartesia.ink.connection.events",
        "cartesia.ink.audio.seconds",
        "cartesia.ink.audio.pending",
    }
    if framework == "pipecat":
        [whole] = [span for span in received.spans if span.span_id == ours.parent_span_id]
        assert attributes(whole)["turn.user_bot_latency_seconds"] > 0
