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


def run_app(url: str) -> subprocess.CompletedProcess[str]:
    """Run the application with a collector beside it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.observe.telemetry.plain_app"],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": url},
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
