"""An exporter that raises or hangs costs the conversation nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from cartesia_ink_plugins.core.tap import MomentKind
from cartesia_ink_plugins.observe.stats import StatsTap
from cartesia_ink_plugins.observe.telemetry.worker import TelemetryWorker
from cartesia_ink_plugins.server.script import Script
from tests.observe.playing import begin, play
from tests.observe.telemetry.telling import Telling

SCRIPT = Script("Hello there.", "A table ... for two.", "Yes.")


class Hanging(SpanExporter):
    """An exporter that does not return before it is let go."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.let_go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        assert self.let_go.wait(60.0)
        return SpanExportResult.SUCCESS


class Raising(SpanExporter):
    """An exporter whose processor lets its exception through."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("the exporter is broken")


def test_an_exporter_that_hangs_delays_no_turn() -> None:
    exporter, stats = Hanging(), StatsTap()
    telling = Telling(exporter)
    try:
        world = play(SCRIPT, taps=[telling.tap(), stats])
        assert exporter.called.wait(30.0)
        assert world.finals == SCRIPT.transcripts
        assert stats.is_finished
    finally:
        exporter.let_go.set()
    assert telling.worker.flush(30.0)


def test_an_exporter_that_raises_costs_no_turn_and_no_metric() -> None:
    telling = Telling(Raising())
    world = play(SCRIPT, taps=[telling.tap()])
    assert world.finals == SCRIPT.transcripts
    assert telling.worker.flush(30.0)
    [(turns, _)] = telling.values("gen_ai.client.operation.duration")
    assert turns == 3


def test_a_task_that_raises_is_logged_and_the_next_one_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker, done = TelemetryWorker(), threading.Event()

    def fail() -> None:
        raise RuntimeError("broken")

    worker.do(fail)
    worker.do(done.set)
    assert done.wait(30.0)
    assert [record.getMessage() for record in caplog.records] == ["OpenTelemetry failed"]


def test_what_waits_behind_an_exporter_that_hangs_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    worker, let_go, started = TelemetryWorker(max_pending=10), threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        let_go.wait(60.0)

    worker.do(hang)
    assert started.wait(30.0)
    done: list[int] = []
    for number in range(100):
        worker.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert not worker.flush(0.01)
    let_go.set()
    assert worker.flush(30.0)
    assert (done, worker.dropped) == (list(range(10)), 90)
    assert [record.getMessage() for record in caplog.records] == [
        "an OpenTelemetry exporter hangs: telemetry is dropped"
    ]


def test_a_worker_without_a_task_has_no_thread() -> None:
    worker = TelemetryWorker()
    assert worker.flush(0.0)
    assert worker._thread is None


def test_a_numbers_reader_that_raises_costs_no_turn() -> None:
    telling = Telling()
    world = begin(SCRIPT, taps=[telling.tap()])
    world.session.snapshot = None  # type: ignore[assignment,method-assign]
    world.session.taps.on(0.0, MomentKind.INTERRUPTION, None)
    assert world.run().finals == SCRIPT.transcripts


PLAIN = """
import asyncio, sys, threading
from cartesia_ink_plugins import Credentials, InkTurnsClient, TurnsOptions
from cartesia_ink_plugins.testing import InkServer, Script
{before}
async def main():
    script = Script("Hello there.")
    async with InkServer(script) as server:
        options = TurnsOptions(base_url=server.url)
        async with InkTurnsClient(options, Credentials(api_key="any")) as ink:
            ink.send_audio(script.audio(options.format))
            await ink.finish()
            assert ink.stats().turns == 1
asyncio.run(main())
print("opentelemetry" in sys.modules, any(t.name == "ink_telemetry" for t in threading.enumerate()))
"""


@pytest.mark.parametrize(
    ("before", "printed"),
    [
        ("", "False False"),
        ("import opentelemetry.trace, opentelemetry.metrics", "True False"),
    ],
)
def test_where_nothing_is_configured_nothing_is_done(before: str, printed: str) -> None:
    code = PLAIN.format(before=before)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == printed
