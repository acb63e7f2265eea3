"""One side of `telemetry`, as a script of its own: plain clients, with or without OpenTelemetry.

off     OpenTelemetry is not imported
idle    it is imported, as by a framework, and not configured
on      it is configured: spans and metrics are batched, encoded as OTLP, and dropped
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from cartesia_ink_plugins import Connected, Credentials, Event, InkTurnsClient, TurnsOptions

FRAME_SECONDS = 0.02
EXPORT_SECONDS = 5.0
"""Between two exports, as OpenTelemetry's own default for spans."""


def configure() -> Callable[[], bool]:
    """Configure OpenTelemetry; return what exports the rest, and tells whether anything was."""
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        MetricExporter,
        MetricExportResult,
        MetricsData,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    spans: list[int] = []
    exports: list[int] = []

    class Spans(SpanExporter):
        def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
            spans.append(len(batch))
            encode_spans(batch).SerializeToString()
            return SpanExportResult.SUCCESS

    class Metrics(MetricExporter):
        def export(
            self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any
        ) -> MetricExportResult:
            exports.append(len(encode_metrics(metrics_data).SerializeToString()))
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
            pass

    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(Spans()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(Metrics(), EXPORT_SECONDS * 1000)
    meters = MeterProvider(metric_readers=[reader])
    metrics.set_meter_provider(meters)

    def flush() -> bool:
        return tracers.force_flush() and meters.force_flush() and bool(spans and exports)

    return flush


async def run(streams: int, seconds: float, port: str) -> float:
    """Speak on so many streams; return the CPU time per second of one stream, milliseconds."""
    options = TurnsOptions(base_url=f"http://127.0.0.1:{port}")
    connected = asyncio.Semaphore(0)

    def note(event: Event) -> None:
        if isinstance(event, Connected):
            connected.release()

    clients = [
        InkTurnsClient(options, Credentials(api_key="any"), on_event=note) for _ in range(streams)
    ]
    for client in clients:
        client.start()
    for _ in clients:
        await connected.acquire()
    frame = options.format.silence(FRAME_SECONDS)
    loop, count = asyncio.get_running_loop(), int(seconds / FRAME_SECONDS)
    cpu, began = time.process_time(), loop.time()
    for number in range(count):
        await asyncio.sleep(began + number * FRAME_SECONDS - loop.time())
        for client in clients:
            client.send_audio(frame)
    spent = time.process_time() - cpu
    turns = sum(client.stats().turns for client in clients)
    assert turns >= streams * (seconds // 5), f"only {turns} turns"
    for client in clients:
        await client.aclose()
    return spent * 1000 / (count * FRAME_SECONDS) / streams


def main(side: str, streams: str, seconds: str, port: str) -> None:
    """Measure one side, and print what it cost as JSON."""
    if side != "off":
        import opentelemetry.metrics
        import opentelemetry.trace  # noqa: F401
    flush = configure() if side == "on" else lambda: True
    cpu = asyncio.run(run(int(streams), float(seconds), port))
    assert flush(), "nothing was exported"
    sys.stdout.write(json.dumps({"cpu": cpu}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
